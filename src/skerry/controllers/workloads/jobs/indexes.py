"""Sets of completion indexes as a Job's status writes them: `0-2,5`. Pure.

A set costs as much as it has gaps, not as much as it has members.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Indexes:
    """An immutable set of indexes below `limit`, held as intervals."""

    __slots__ = ("_spans",)

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._spans = _merged(spans)

    @classmethod
    def parse(cls, text: str | None, *, limit: int) -> Indexes:
        """Read what a status says; what is malformed, or not below *limit*, is left out."""
        spans = []
        for part in (text or "").split(","):
            first, _, last = part.partition("-")
            if first.isdigit() and (not last or last.isdigit()) and int(first) < limit:
                spans.append((int(first), min(int(last or first), limit - 1)))
        return cls(s for s in spans if s[0] <= s[1])

    @classmethod
    def of(cls, members: Iterable[int]) -> Indexes:
        return cls((i, i) for i in members)

    def __contains__(self, index: int) -> bool:
        return any(first <= index <= last for first, last in self._spans)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._spans)

    def __iter__(self) -> Iterator[int]:
        for first, last in self._spans:
            yield from range(first, last + 1)

    def __or__(self, other: Indexes) -> Indexes:
        return Indexes((*self._spans, *other._spans))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Indexes) and self._spans == other._spans

    def __hash__(self) -> int:
        return hash(self._spans)

    def __str__(self) -> str:
        """Return the text of a status: two neighbours stand apart (`1,2`), three and more as a range (`1-3`)."""
        return ",".join(_text(first, last) for first, last in self._spans)

    def __repr__(self) -> str:
        return f"Indexes({self})"

    def missing(self, limit: int) -> Iterator[int]:
        """Yield the indexes below *limit* that are not in the set, ascending."""
        at = 0
        for first, last in self._spans:
            yield from range(at, min(first, limit))
            at = last + 1
        yield from range(at, limit)


def _merged(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def _text(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
