"""The audit folder: files of lines, oldest first, and `head.json`, which says where the chain ends and where it begins.

Lines are synced before the head is written, so after a crash the head may be behind the lines and never before them.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import msgspec

from skerry.apiserver.access.audit.chain import FIRST, follows
from skerry.model.unreadable import NOT_JSON
from skerry.trust import replace_private

log = logging.getLogger(__name__)

HEAD = "head.json"
MAX_LINE = 64 << 10
_NAME = re.compile(r"audit-[0-9]{12,18}\.jsonl", re.ASCII)


class Head(msgspec.Struct, frozen=True):
    """The last line that was synced, and the first that is kept (with the hash of the one before it)."""

    sequence: int = 0
    hash: str = FIRST
    first: int = 1
    first_previous: str = FIRST


class Position(msgspec.Struct):
    """Where the next line goes: its number, the hash that it follows, and the file."""

    sequence: int
    hash: str
    path: Path
    size: int


def file_of(folder: Path, sequence: int) -> Path:
    """Return the file whose first line has this number."""
    return folder / f"audit-{sequence:012d}.jsonl"


def files_in(folder: Path) -> list[Path]:
    """Return the files, oldest first; what somebody else put there is none of them."""
    return sorted(path for path in folder.glob("audit-*.jsonl") if _NAME.fullmatch(path.name) and path.is_file())


def read_head(folder: Path) -> Head | None:
    """Return the head; None where there is none. Raises ValueError for one that cannot be read."""
    try:
        return msgspec.json.decode((folder / HEAD).read_bytes(), type=Head)
    except FileNotFoundError:
        return None
    except NOT_JSON as error:
        raise ValueError(f"{folder / HEAD} cannot be read: {error}") from error


def write_head(folder: Path, head: Head) -> None:
    replace_private(folder / HEAD, msgspec.json.encode(head))


def open_head(folder: Path) -> Head:
    """Return the head to go on from. Where there are lines and no head, the chain begins anew, which `verify` shows for ever."""
    try:
        head = read_head(folder)
    except ValueError as error:
        log.error("the head of the audit log is damaged", extra={"reason": str(error)})
        head = None
    files = files_in(folder)
    if head is not None or not files:
        return head or Head()
    log.error("the head of the audit log is missing: its chain begins anew", extra={"folder": str(folder)})
    return Head(_last_number(files[-1]), FIRST, _first_number(files[0]))


def recover(folder: Path, head: Head) -> Position:
    """Return where to go on after any end: behind what follows the head in the last file.

    What was being written at a crash and does not follow is cut off: it was never promised. Where the last file does not lead to
    the head, somebody changed it: it stays for `verify` to find, and a new file begins.
    """
    fresh = Position(head.sequence, head.hash, file_of(folder, head.sequence + 1), 0)
    files = files_in(folder)
    if not files:
        return fresh
    sequence, digest, size = _follow(files[-1], head)
    if sequence < head.sequence or not digest:
        return fresh
    if size < files[-1].stat().st_size:
        os.truncate(files[-1], size)
    return Position(sequence, digest, files[-1], size)


def _follow(path: Path, head: Head) -> tuple[int, str, int]:
    """Go through a file; return the number and hash of the last good line from the head on, and where it ends."""
    start = _first_number(path)
    found, size, at_head = (start - 1, "", 0), 0, start == head.sequence + 1
    previous = head.hash if at_head else ""
    if at_head:
        found = (head.sequence, head.hash, 0)
    with path.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE), b""), start):
            size += len(line)
            if not line.endswith(b"\n"):
                break
            if number <= head.sequence:
                if number == head.sequence and line.endswith(f'{head.hash}"}}\n'.encode()):
                    found, previous = (number, head.hash, size), head.hash
                continue
            digest = follows(previous, line[:-1]) if previous else ""
            if not digest:
                break
            found, previous = (number, digest, size), digest
    return found


def _first_number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _last_number(path: Path) -> int:
    with path.open("rb") as lines:
        return _first_number(path) - 1 + sum(1 for _ in lines)
