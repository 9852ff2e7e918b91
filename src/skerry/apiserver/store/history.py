"""The newest changes of each resource: what watches resume from, and what an older list is reckoned from.

Pure. A resource can be resumed from its floor on: every change above the floor is held, none at or below it. Busy resources
(Leases) do not push out the history of quiet ones. What leaves the history makes rows superfluous on the disk; their
revisions are the garbage, in an order in which any prefix may be deleted: an object's tombstone comes after its older rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter

from skerry.apiserver.store.errors import TooOldError
from skerry.apiserver.store.records import Change, Record
from skerry.apiserver.store.shelf import Place, Shelf, place

_revision = attrgetter("revision")
_CACHED_CHANGES = 256  # the newest changes keep their encoded forms
_CHANGE_BYTES = 200  # a change's own size in memory, roughly
_CUT = 256  # so many forgotten changes are freed together


class Ring:
    """The changes of one resource, oldest first."""

    def __init__(self, resource: str, floor: int) -> None:
        self.resource = resource
        self.floor = floor
        self.bytes = 0
        self._changes: list[Change] = []
        self._start = 0  # what lies before it is gone; the list is cut now and then

    def __len__(self) -> int:
        return len(self._changes) - self._start

    def append(self, change: Change) -> None:
        self._changes.append(change)
        self.bytes += _cost(change)
        if len(self) > _CACHED_CHANGES:
            self._changes[-_CACHED_CHANGES - 1].drop_cache()

    def begin(self, revision: int) -> None:
        """Let the history begin at *revision* when it is empty."""
        if not len(self):
            self.floor = max(self.floor, revision)

    def after(self, revision: int, *, limit: int) -> Sequence[Change]:
        """Return the changes above *revision*, at most *limit*, oldest first; TooOldError when some of them are gone."""
        self.require(revision)
        first = bisect_right(self._changes, revision, self._start, key=_revision)
        return self._changes[first : first + limit]

    def moved_since(self, revision: int) -> bool:
        """Say whether there were changes above *revision*, held or not."""
        return (self._changes[-1].revision if len(self) else self.floor) > revision

    def require(self, revision: int) -> None:
        """Raise TooOldError unless every change above *revision* is held."""
        if revision < self.floor:
            raise TooOldError(self.resource, revision=revision, oldest=self.floor)

    def drop_oldest(self) -> list[int]:
        """Forget one change; returns the revisions whose rows nothing needs any more."""
        change = self._changes[self._start]
        self._start += 1
        if self._start >= _CUT:
            del self._changes[: self._start]
            self._start = 0
        self.floor = change.revision
        self.bytes -= _cost(change)
        return superseded_by(change)

    def records(self) -> Iterator[Record]:
        """Yield the records that the history holds, some of them more than once."""
        for change in self._changes[self._start :]:
            yield change.record
            if change.previous is not None:
                yield change.previous

    def undo(self, shelf: Shelf, revision: int) -> dict[Place, Record]:
        """Return the state as it was at *revision*, from the present one."""
        state = shelf.by_place()
        for change in reversed(self.after(revision, limit=len(self))):
            if change.previous is None:
                state.pop(place(change.record.key), None)
            else:
                state[place(change.record.key)] = change.previous
        return state


class History:
    """The rings of all resources under one bound of changes each and one of bytes together."""

    def __init__(self, *, limit: int, limit_bytes: int, floor: int = 0) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._floor = floor
        self._bytes = 0
        self._rings: dict[str, Ring] = {}
        self.garbage: list[int] = []
        self.moved: dict[str, int] = {}  # floors that are not on the disk yet

    def ring(self, resource: str) -> Ring:
        ring = self._rings.get(resource)
        if ring is None:
            ring = self._rings[resource] = Ring(resource, self._floor)
        return ring

    def append(self, change: Change) -> None:
        """Add the newest change and forget the oldest ones beyond the bounds."""
        ring = self.ring(change.record.key.resource)
        ring.append(change)
        self._bytes += _cost(change)
        if len(ring) > self._limit:
            self._drop_from(ring)
        while self._bytes > self._limit_bytes:
            self._cut(max(self._rings.values(), key=attrgetter("bytes")))

    def take_garbage(self, limit: int) -> tuple[list[int], dict[str, int]]:
        """Return rows to delete, at most *limit*, and the floors to be on the disk no later than that."""
        rows, self.garbage = self.garbage[:limit], self.garbage[limit:]
        floors, self.moved = self.moved, {}
        return rows, floors

    def put_back(self, rows: Sequence[int], floors: dict[str, int]) -> None:
        """Take garbage back that could not be deleted."""
        self.garbage[:0] = rows
        self.moved = {**floors, **self.moved}

    def _cut(self, largest: Ring) -> None:
        """Forget the oldest changes of the largest ring, a little more than is over: which it is need not be asked at every write."""
        enough = largest.bytes - max(self._bytes - self._limit_bytes, self._limit_bytes // 256)
        while len(largest) and largest.bytes > enough:
            self._drop_from(largest)

    def _drop_from(self, ring: Ring) -> None:
        before = ring.bytes
        self.garbage += ring.drop_oldest()
        self._bytes -= before - ring.bytes
        self.moved[ring.resource] = ring.floor


def superseded_by(change: Change) -> list[int]:
    """Return the revisions of rows that nobody needs once *change* is below the floor."""
    rows = [] if change.previous is None else [change.previous.revision]
    return [*rows, change.revision] if change.type == "DELETED" else rows


def _cost(change: Change) -> int:
    """Return the bytes that the history alone keeps in memory because of *change*."""
    kept = 0 if change.previous is None else len(change.previous.value)
    return _CHANGE_BYTES + kept + (len(change.record.value) if change.type == "DELETED" else 0)
