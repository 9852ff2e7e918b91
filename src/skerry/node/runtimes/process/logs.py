"""A container's log: the file it writes itself, read as `kubectl logs` asks, and kept from growing for ever.

The container writes without the node, so nothing stamps its lines. While the node runs it notes once a second how long
the log was (`log.times`); a line's time is the first note after it. Old bytes are given back to the disk by punching a
hole into the front of the file: offsets stay, the writer notices nothing, no line is lost in a rename. Some disk is taken ahead
of each log, so that a container that prints does not fail when something else has filled the disk.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import os
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from skerry.node.runtimes.contract import LogOptions

CHUNK_BYTES = 64 * 1024
MAX_LINE_BYTES = 1 << 20
MAX_BACK_BYTES = 128 << 20
"""How far back a log is read: several times what is kept of one."""
FOLLOW_EVERY_S = 0.2
RESERVE_BYTES = 512 * 1024
"""Disk taken ahead of a log: what a container may print while the disk is full, until its own old lines make room."""
RESERVE_AGAIN_BYTES = RESERVE_BYTES // 2
KEEP_WHEN_FULL_BYTES = 128 * 1024
"""Of a log, when the disk is full and the log needs the space of its own old lines."""
RESERVE_WHEN_FULL_BYTES = RESERVE_BYTES - KEEP_WHEN_FULL_BYTES - 64 * 1024
"""So much less, so that what a log had ahead when the disk filled is enough for what it keeps and what it has ahead then."""
MAX_NOTES = 1 << 16
_NOTE = struct.Struct("<dQ")


class Times:
    """When the log had which length, oldest first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last = -1

    def note(self, length: int, now: float) -> None:
        """Remember that the log is *length* bytes long at *now*; nothing is written when it did not grow."""
        if length == self._last or length == 0:
            return
        self._last = length
        with self._file.open("ab") as file:
            file.write(_NOTE.pack(now, length))
            too_long = file.tell() > MAX_NOTES * _NOTE.size
        if too_long:
            kept = self._file.read_bytes()[-(MAX_NOTES // 2) * _NOTE.size :]
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(kept)
            fresh.replace(self._file)

    def read(self) -> list[tuple[float, int]]:
        try:
            data = self._file.read_bytes()
        except OSError:
            return []
        return [_NOTE.unpack_from(data, i) for i in range(0, len(data) - _NOTE.size + 1, _NOTE.size)]


def offset_since(notes: list[tuple[float, int]], at: float) -> int:
    """Return where the log went on after *at*, rounded to the note before."""
    i = bisect.bisect_right(notes, at, key=lambda n: n[0])
    return notes[i - 1][1] if i else 0


def time_at(notes: list[tuple[float, int]], offset: int, now: float) -> float:
    """Return when the line at *offset* was written, rounded up to the next note; *now* when there is none yet."""
    i = bisect.bisect_right(notes, offset, key=lambda n: n[1])
    return notes[i][0] if i < len(notes) else now


def stamp(at: float) -> bytes:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ").encode()


def tail_offset(fd: int, start: int, end: int, lines: int) -> int:
    """Return where the last *lines* lines begin, not before *start*."""
    if lines <= 0:
        return end
    position, wanted = end - 1, lines  # the newline of the last line begins none
    while position > start:
        size = min(CHUNK_BYTES, position - start)
        position -= size
        block = os.pread(fd, size, position)
        there = block.count(b"\n")
        if there < wanted:
            wanted -= there
            continue
        at = len(block)
        for _ in range(wanted):
            at = block.rindex(b"\n", 0, at)
        return position + at + 1
    return start


def first_kept(fd: int) -> int:
    """Return where the log begins that was not given back: the start of a whole line.

    A container can make its log as long as it likes, of nothing: what is further back than `MAX_BACK_BYTES` is not looked for.
    """
    furthest = max(0, os.fstat(fd).st_size - MAX_BACK_BYTES)
    try:
        start = max(os.lseek(fd, furthest, os.SEEK_DATA), furthest)
    except OSError:
        return furthest
    if start == 0:
        return 0
    newline = os.pread(fd, CHUNK_BYTES, start).find(b"\n")
    return start + newline + 1


async def read_log(
    log: Path, times: Path, options: LogOptions, *, lives: Callable[[], bool], now: Callable[[], float] = time.time
) -> AsyncIterator[bytes]:
    """Yield the log's bytes; with `follow`, until the container is no more."""
    try:
        fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        notes = Times(times)
        position = _begin(fd, notes, options)
        left = options.limit_bytes
        rest = b""
        while left is None or left > 0:
            living = options.follow and lives()  # asked first: what a container wrote before it ended is all there then
            block = os.pread(fd, CHUNK_BYTES, position)
            if not block:
                if not living:
                    break
                await asyncio.sleep(FOLLOW_EVERY_S)
                continue
            if options.timestamps:
                data, used = _stamped(rest + block, position - len(rest), notes.read(), now())
                rest = (rest + block)[used:]
            else:
                data = block
            position += len(block)
            if data:
                yield data if left is None else data[:left]
                left = None if left is None else left - len(data)
            await asyncio.sleep(0)
        if rest and (left is None or left > 0):
            data = stamp(time_at(notes.read(), position - len(rest), now())) + rest
            yield data if left is None else data[:left]
    finally:
        os.close(fd)


def _begin(fd: int, times: Times, options: LogOptions) -> int:
    start, end = first_kept(fd), os.fstat(fd).st_size
    if options.since_at is not None:
        start = max(start, min(end, offset_since(times.read(), options.since_at)))
    if options.tail_lines is not None:
        start = tail_offset(fd, start, end, options.tail_lines)
    return start


def _stamped(data: bytes, offset: int, notes: list[tuple[float, int]], now: float) -> tuple[bytes, int]:
    """Return the whole lines of *data* with their times, and how many bytes they were."""
    found: list[bytes] = []
    used = 0
    while True:
        end = data.find(b"\n", used)
        if end < 0 and len(data) - used < MAX_LINE_BYTES:
            return b"".join(found), used
        end = len(data) - 1 if end < 0 else end
        found.append(stamp(time_at(notes, offset + used, now)) + data[used : end + 1])
        used = end + 1


def give_back(log: Path, *, keep_bytes: int) -> None:
    """Let the disk have all but the last *keep_bytes* once the log is twice as long."""
    with log.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            start = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        except OSError:
            return
        end = (size - keep_bytes) // 4096 * 4096
        if size - start < 2 * keep_bytes or end <= 0:
            return
    if not _fallocate(log, "--punch-hole", 0, end):  # a filesystem that cannot: losing old lines beats filling the disk
        with contextlib.suppress(OSError):
            os.truncate(log, 0)


def reserve_due(size: int, reserved: int) -> bool:
    """Whether a log of *size* bytes needs more disk ahead, when it has some up to *reserved*."""
    return size + RESERVE_AGAIN_BYTES > reserved


def reserve(log: Path, size: int) -> int:
    """Take disk for what is written after *size*, on a full disk that of the log's own old lines; return up to where there is some."""
    if _fallocate(log, "--keep-size", size, RESERVE_BYTES):
        return size + RESERVE_BYTES
    old = (size - KEEP_WHEN_FULL_BYTES) // 4096 * 4096
    if old > 0 and _fallocate(log, "--punch-hole", 0, old) and _fallocate(log, "--keep-size", size, RESERVE_WHEN_FULL_BYTES):
        return size + RESERVE_WHEN_FULL_BYTES
    return size + RESERVE_AGAIN_BYTES  # tried again once it has grown


def _fallocate(log: Path, what: str, offset: int, length: int) -> bool:
    command = ["fallocate", what, "--offset", str(offset), "--length", str(length), str(log)]
    return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 0
