"""Goes through an audit folder and says whether the chain is whole. Shares the chain's arithmetic with the writer, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from skerry.apiserver.access.audit.chain import FIRST, follows, unlink
from skerry.apiserver.access.audit.events import SEQUENCE
from skerry.apiserver.access.audit.files import MAX_LINE, Head, files_in, read_head
from skerry.model.unreadable import NOT_JSON

MAX_PROBLEMS = 20


class Verdict(msgspec.Struct):
    """What was found: how many good lines, from which to which number, the last hash, and every problem (bounded)."""

    files: int = 0
    lines: int = 0
    first: int = 0
    last: int = 0
    hash: str = FIRST
    problems: list[str] = msgspec.field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not self.problems

    def blame(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def verify(folder: Path, *, expect: tuple[int, str] | None = None) -> Verdict:
    """Check every line; *expect* is a number and hash that somebody noted elsewhere. A log that is being written may be verified."""
    verdict = Verdict()
    try:
        head = read_head(folder)
    except ValueError as error:
        verdict.blame(str(error))
        head = None
    files = files_in(folder)
    verdict.files = len(files)
    if head is None:
        if files:
            verdict.blame(f"{folder / 'head.json'} is missing: nothing says where the log ends")
        head = Head(first=_first_number(files))
    seen_head = head.sequence < head.first
    seen_expected = expect is None
    previous, number = head.first_previous, head.first - 1
    for name, at, line in _lines(files):
        number += 1
        if verdict.first == 0:
            verdict.first = number
        digest = follows(previous, line)
        said = _number(line)
        if not digest or said != number:
            verdict.blame(_what(name, at, said, number, known=bool(unlink(line))))
            parts = unlink(line)  # go on from what the line says, to tell one wrong line from many
            previous, number = (parts[1], said or number) if parts else (previous, number - 1)
            continue
        verdict.lines, verdict.last, verdict.hash, previous = verdict.lines + 1, number, digest, digest
        seen_head = seen_head or (number, digest) == (head.sequence, head.hash)
        seen_expected = seen_expected or (number, digest) == expect
    if not seen_head:
        verdict.blame(f"line {head.sequence}, which was the last one synced, is missing or another: the end was cut off or rewritten")
    if not seen_expected and expect is not None:
        verdict.blame(f"line {expect[0]} with the hash {expect[1][:12]}... that was expected is not there")
    return verdict


def _what(name: str, at: int, said: int | None, number: int, *, known: bool) -> str:
    where = f"{name}, line {at}"
    if not known:
        return f"{where}: not a line of the log"
    if said is not None and said > number:
        return f"{where}: has number {said}, expected was {number}: {said - number} lines are missing before it"
    if said is not None and said < number:
        return f"{where}: has number {said}, expected was {number}: it was moved or repeated"
    return f"{where}: number {number} was changed, or what was before it"


def _lines(files: list[Path]) -> Iterator[tuple[str, int, bytes]]:
    for path in files:
        with path.open("rb") as lines:
            for at, line in enumerate(iter(lambda f=lines: f.readline(MAX_LINE), b""), 1):  # type: ignore[misc]
                if line.endswith(b"\n") or path is not files[-1]:
                    yield path.name, at, line.rstrip(b"\n")  # half a line at the very end is being written


def _first_number(files: list[Path]) -> int:
    return int(files[0].stem.rpartition("-")[2]) if files else 1


class _Annotated(msgspec.Struct):
    annotations: dict[str, str] = {}


def _number(line: bytes) -> int | None:
    try:
        return int(msgspec.json.decode(line, type=_Annotated).annotations[SEQUENCE])
    except (*NOT_JSON, KeyError, ValueError):
        return None
