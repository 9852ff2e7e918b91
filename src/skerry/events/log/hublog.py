"""The hub's event log: every node's events, each once, in the order of the node, under one sequence of the hub.

What must stay true: a batch and its stream's high-water mark are one transaction, and the answer comes after its fsync; a number at or
below the mark is ignored, a batch that would leave a hole is refused; numbers that a node declares dropped are stored as one event of
type `dev.skerry.outbox.dropped`, so that whoever reads the log sees the hole too. A page whose checksum is wrong is never read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Self

import apsw
import msgspec

from skerry.durable import StoreFailedError, StoreFormatError, Writer, is_damage
from skerry.durable.failpoints import reach
from skerry.events.cloudevents import Event
from skerry.events.log import _hub_sql as sql
from skerry.events.log.batch import Dropped, Entry, Stored, bounds, decode

log = logging.getLogger(__name__)

DROPPED_TYPE = "dev.skerry.outbox.dropped"
MAX_PAGE_EVENTS = 1000
MAX_PAGE_BYTES = 4 * 1024 * 1024
_EARLY_WAIT_S = 5.0
"""How long a batch waits for the one before it: a node has a few under way, and they may overtake each other."""
_MAX_EARLY = 8
_MAX_KNOWN_MARKS = 16_384


class HubLogLimits(msgspec.Struct, frozen=True):
    """How much the log keeps, oldest out first."""

    max_events: int = 1_000_000
    max_bytes: int = 1024 * 1024 * 1024


class LogEntry(msgspec.Struct, frozen=True):
    """One stored event: `sequence` is the hub's, `seq` the node's; `raw` its structured JSON, as the node sent it."""

    sequence: int
    node: str
    seq: int
    raw: bytes


class LogExpiredError(Exception):
    """What was asked for is no longer held; read on after `resume_after`, and count what lies between as missed."""

    def __init__(self, after: int, resume_after: int) -> None:
        super().__init__(f"events up to {resume_after} are no longer held; the oldest after {after} is {resume_after + 1}")
        self.resume_after = resume_after


class HubLog:
    """All events of all nodes. One process opens it at a time."""

    def __init__(self, writer: Writer, newest: int, limits: HubLogLimits) -> None:
        """Use `HubLog.open`."""
        self._writer = writer
        self._limits = limits
        self._newest = newest
        self._changed = asyncio.Event()
        self._marks: dict[tuple[str, str], int] = {}
        self._early: dict[tuple[str, str], int] = {}

    @classmethod
    async def open(cls, path: Path, *, limits: HubLogLimits | None = None, vfs: str | None = None) -> Self:
        """Open or create the log at *path*, through SQLite's VFS *vfs* (which has to compare checksums) if not the usual one."""
        writer = await Writer.open(path, sql.MIGRATIONS, vfs=vfs, rebuild=sql.REBUILD)
        return cls(writer, await writer.read(sql.newest), limits or HubLogLimits())

    @property
    def newest(self) -> int:
        """The hub sequence of the newest event, 0 before the first."""
        return self._newest

    async def store(self, node: str, stream: str, batch: bytes) -> int:
        """Store one uploaded batch and return the stream's mark, after fsync.

        Raises BatchError when it is not a batch, GapError (with the mark) when it leaves a hole.
        """
        entries = decode(batch)
        await self._turn((node, stream), bounds(entries[0])[0])
        kept = [(e, _event(node, stream, e)) for e in entries]
        limits = self._limits
        accepted = await self._writer.write(lambda db: _store(db, node, stream, kept, limits))
        reach("hublog.after_commit")
        self._note(node, stream, accepted)
        return accepted.mark

    async def _turn(self, stream: tuple[str, str], first: int) -> None:
        """Wait for the batch before this one, if it is under way."""
        if stream not in self._marks or first <= self._marks[stream] + 1 or self._early.get(stream, 0) >= _MAX_EARLY:
            return
        self._early[stream] = self._early.get(stream, 0) + 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EARLY_WAIT_S):
                    while first > self._marks.get(stream, first) + 1:
                        await self._changed.wait()
        finally:
            self._early[stream] -= 1
            if not self._early[stream]:
                del self._early[stream]

    def _note(self, node: str, stream: str, accepted: sql.Accepted) -> None:
        self._know(node, stream, accepted.mark)
        self._newest = max(self._newest, accepted.newest)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if accepted.discarded:
            log.info("old events left the log", extra={"discarded": accepted.discarded, "max_events": self._limits.max_events})

    def _know(self, node: str, stream: str, mark: int) -> None:
        if len(self._marks) >= _MAX_KNOWN_MARKS:
            self._marks.clear()  # only a hint: without it an early batch is refused instead of waiting
        self._marks[node, stream] = max(mark, self._marks.get((node, stream), 0))

    async def mark(self, node: str, stream: str) -> int:
        """Return the number up to which everything of this stream is accounted for; 0 for one never seen."""
        found = await self._writer.read(lambda db: sql.mark(db, node, stream))
        self._know(node, stream, found)
        return found

    async def position(self, node: str, stream: str) -> tuple[int, str]:
        """Return the mark and the digest of the event at it ("" when it was dropped): a node compares it with its own."""
        mark, digest = await self._writer.read(lambda db: (sql.mark(db, node, stream), sql.digest_at_mark(db, node, stream)))
        self._know(node, stream, mark)
        return mark, digest

    async def accounts(self) -> list[sql.Account]:
        """Return every stream's books: numbers up to `mark` = `stored` + `dropped`."""
        return await self._writer.read(sql.accounts)

    async def page(self, after: int | None = None, *, limit: int = MAX_PAGE_EVENTS) -> list[LogEntry]:
        """Return up to *limit* entries after *after* (None: from the oldest held); raises LogExpiredError."""
        start = -1 if after is None else after
        limit = min(limit, MAX_PAGE_EVENTS)
        try:
            rows, oldest = await self._writer.read(lambda db: (sql.read(db, start, limit, MAX_PAGE_BYTES), sql.oldest(db)))
        except apsw.Error as error:
            if not is_damage(error):
                raise
            raise StoreFormatError(f"{self._writer.path} is damaged ({error}): restore a backup") from error
        first = oldest or self._newest + 1
        if after is not None and after + 1 < first:
            raise LogExpiredError(after, first - 1)
        return [LogEntry(*row) for row in rows]

    async def oldest(self) -> int:
        """Return the oldest hub sequence still held, 0 when there is none."""
        return await self._writer.read(sql.oldest)

    async def wait_newer(self, than: int) -> None:
        """Return when the log has an event after *than*."""
        while self._newest <= than:
            await self._changed.wait()

    async def wait_failed(self) -> StoreFailedError:
        """Return when the log takes no events any more: the hub then best ends, and is started again."""
        return await self._writer.wait_failed()

    async def close(self) -> None:
        await self._writer.close()


def _store(db: apsw.Connection, node: str, stream: str, kept: list[tuple[Entry, bytes]], limits: HubLogLimits) -> sql.Accepted:
    accepted = sql.store(db, node, stream, kept, limits.max_events, limits.max_bytes)
    reach("hublog.before_commit")
    return accepted


def _event(node: str, stream: str, entry: Entry) -> bytes:
    """Return the event to keep for *entry*: its own bytes, or the one that tells of dropped numbers."""
    return entry.raw if isinstance(entry, Stored) else _told(node, stream, entry)


def _told(node: str, stream: str, gap: Dropped) -> bytes:
    data = {"first": gap.first, "last": gap.last, "count": gap.last - gap.first + 1, "reason": gap.reason}
    return Event(
        id=f"{stream}-{gap.first}-{gap.last}", source=f"/nodes/{node}/outbox", type=DROPPED_TYPE, data=data, extensions={"node": node}
    ).to_json()
