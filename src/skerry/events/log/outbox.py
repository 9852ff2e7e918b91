"""The node's outbox: events are on disk before anybody hears that they were taken, and stay until everybody has them.

What must stay true: `append` returns after fsync; numbers are given in the order of the calls and never twice in one stream; an event
leaves the disk only when the hub acknowledged it and each local Trigger is past it, or when a bound is reached, oldest first, and
then it is counted. The age of an event is measured in time this software ran, so no wrong clock makes it old.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Self

import apsw
import msgspec

from skerry.durable import StoreError, Writer
from skerry.durable.failpoints import reach
from skerry.events.cloudevents import Event, EventError
from skerry.events.log import _outbox_sql as sql
from skerry.events.log.batch import MAX_EVENT_BYTES

log = logging.getLogger(__name__)

_RECOVER_S = 5.0

Done = Callable[[Exception | None], None]


class EventTooLargeError(ValueError):
    """The event has more bytes than an outbox takes; make it smaller, or send a reference (`dataref`)."""


class OutboxBusyError(Exception):
    """More waits for the disk than memory should hold: try again later."""


class OutboxLimits(msgspec.Struct, frozen=True):
    """`max_bytes` and `max_age_s` bound what is kept, oldest out first; `max_waiting_bytes` what waits for the disk in memory."""

    max_bytes: int = 256 * 1024 * 1024
    max_age_s: float = 7 * 86400.0
    max_waiting_bytes: int = 8 * 1024 * 1024


class _Group(msgspec.Struct):
    """Events that share one commit, and who waits for it."""

    offers: list[sql.Offer] = msgspec.field(default_factory=list)
    waiters: list[Done] = msgspec.field(default_factory=list)
    bytes: int = 0


class Outbox:
    """One node's events, in order. One process opens it at a time."""

    def __init__(self, writer: Writer, facts: sql.Facts, limits: OutboxLimits, open_again: Callable[[], Awaitable[Writer]]) -> None:
        """Use `Outbox.open`."""
        self._writer = writer
        self._open_again = open_again
        self._recovering: asyncio.Task[None] | None = None
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._stream = facts.stream
        self._newest = facts.newest
        self._acknowledged = facts.acknowledged
        self._dropped = facts.dropped
        self._cursors = dict(facts.cursors)
        self._born_s = self._loop.time() - facts.running_s
        self._group = _Group()
        self._pump: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._settle_timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, limits: OutboxLimits | None = None, vfs: str | None = None) -> Self:
        """Open or create the outbox at *path*, through SQLite's VFS *vfs* if not the usual one."""

        async def open_writer() -> Writer:
            return await Writer.open(path, sql.MIGRATIONS, vfs=vfs)

        writer = await open_writer()
        try:
            facts = await writer.write(sql.load)
        except BaseException:
            await writer.close()
            raise
        return cls(writer, facts, limits or OutboxLimits(), open_writer)

    @property
    def stream(self) -> str:
        """The identity of this outbox's numbers; the hub keeps one mark for each."""
        return self._stream

    @property
    def newest(self) -> int:
        """The number of the newest event on disk, 0 before the first."""
        return self._newest

    @property
    def acknowledged(self) -> int:
        """The hub has everything up to this number."""
        return self._acknowledged

    @property
    def dropped(self) -> int:
        """How many events were given up for a bound before the hub had them, in this outbox's whole life."""
        return self._dropped

    @property
    def failed(self) -> Exception | None:
        """Why nothing is taken any more (the disk lied or broke: open the outbox again), or None."""
        return self._writer.failed

    @property
    def cursors(self) -> Mapping[str, int]:
        """Trigger UID -> the number up to which it is done."""
        return self._cursors

    async def append(self, *events: Event, key: str, broker: str = "") -> None:
        """Store *events* in this order and return after fsync.

        Events of one *key* stay in order on their whole way. One with the extension `sequence` (the source's own number) that was among
        the key's last 64 is not stored again: a device may send what it has no answer for, and nothing is twice. *broker* is
        `namespace/name` of the Broker that they enter; without it it is `default` of the device's namespace.

        Raises EventError, EventTooLargeError, or a StoreError when the disk refused.
        """
        while self._group.bytes > self._limits.max_waiting_bytes:
            await self._drained()
        future: asyncio.Future[None] = self._loop.create_future()
        self.offer(*events, key=key, broker=broker, done=lambda error: _resolve(future, error))
        await future

    async def _drained(self) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._group.waiters.append(lambda error: _resolve(future, error))
        await future

    def offer(self, *events: Event, key: str, done: Done, broker: str = "") -> None:
        """Like `append` without a task: *done* is called on the loop after fsync, or with the error. Raises OutboxBusyError."""
        if self._closed:
            raise OutboxBusyError("the outbox is closed")
        if self._group.bytes > self._limits.max_waiting_bytes:
            raise OutboxBusyError(f"{self._group.bytes} bytes of events wait for the disk; the limit is {self._limits.max_waiting_bytes}")
        at = self._running_s()
        offers = [sql.Offer((at, broker or _broker_of(e), key, _bounded(e)), _mark(e)) for e in events]
        self._group.offers += offers
        self._group.bytes += sum(len(o.row[3]) for o in offers)
        self._group.waiters.append(done)
        if self._pump is None:
            self._pump = self._loop.create_task(self._commit_groups(), name="outbox commits")

    async def _commit_groups(self) -> None:
        try:
            while self._group.waiters:
                group, self._group = self._group, _Group()
                error = await self._commit(group)
                for done in group.waiters:
                    done(error)
        finally:
            self._pump = None

    async def _commit(self, group: _Group) -> Exception | None:
        bound = sql.Bound(self._limits.max_bytes, self._running_s() - self._limits.max_age_s, self._acknowledged)
        try:
            newest, dropped = await self._writer.write(lambda db: sql.append(db, group.offers, bound))
        except Exception as error:
            self._recover_if_failed()
            return error
        reach("outbox.after_commit")
        self._newest = newest
        if dropped:
            self._dropped += dropped
            log.warning("events dropped for the outbox's bound", extra={"dropped": dropped, "max_bytes": self._limits.max_bytes})
        self._wake()
        return None

    def _recover_if_failed(self) -> None:
        """After a failed fsync nothing is believed until the file was opened again, which writes and syncs what the log still holds."""
        if self._writer.failed is not None and self._recovering is None and not self._closed:
            self._recovering = self._loop.create_task(self._recover(), name="outbox recovers")

    async def _recover(self) -> None:
        log.error("the outbox failed: no event is taken until it is open again", extra={"cause": str(self._writer.failed)})
        try:
            while self._writer.failed is not None:
                await self._writer.close()
                try:
                    self._writer = await self._open_again()
                    self._newest = await self._writer.read(sql.newest)
                except (StoreError, apsw.Error, OSError) as error:
                    log.warning("the outbox cannot be opened", extra={"cause": str(error), "again_in_s": _RECOVER_S})
                    await asyncio.sleep(_RECOVER_S)
            log.info("the outbox takes events again", extra={"newest": self._newest})
            self._wake()
        finally:
            self._recovering = None

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _running_s(self) -> float:
        return self._loop.time() - self._born_s

    async def wait_newer(self, than: int) -> None:
        """Return when an event with a number above *than* is on disk."""
        while self._newest <= than:
            await self._changed.wait()

    async def read(self, after: int, *, max_events: int, max_bytes: int) -> list[tuple[int, bytes]]:
        """Return what is held after *after*, in order; a hole in the numbers is what was dropped."""
        return await self._writer.read(lambda db: sql.read(db, after, max_events, max_bytes))

    async def read_broker(self, broker: str, after: int, last: int, *, limit: int) -> list[tuple[int, str, bytes]]:
        """Return (number, key, event) of one Broker with after < number <= last, in order."""
        return await self._writer.read(lambda db: sql.read_broker(db, broker, after, last, limit))

    async def oldest(self) -> int:
        """Return the oldest number still held, 0 when there is none."""
        return await self._writer.read(sql.oldest)

    def acknowledge(self, seq: int) -> None:
        """The hub has everything up to *seq*: it may be forgotten once the Triggers are past it too."""
        if seq > self._acknowledged:
            self._acknowledged = min(seq, self._newest)
            self._settle_soon()

    async def begin_stream(self) -> None:
        """Take a new identity: the hub knows other events by our numbers, so this disk is an older copy, or there are two of it."""
        self._stream = await self._writer.write(sql.new_stream)

    async def register(self, trigger: str) -> int:
        """Return the durable cursor of *trigger* (a UID); a new one starts at the newest event."""
        newest = self._newest
        self._cursors[trigger] = await self._writer.write(lambda db: sql.register(db, trigger, newest))
        return self._cursors[trigger]

    def advance(self, trigger: str, seq: int) -> None:
        """*trigger* is done with everything up to *seq*; saved within a second, so a crash delivers that second again."""
        if seq > self._cursors.get(trigger, seq):
            self._cursors[trigger] = seq
            self._settle_soon()

    async def forget(self, trigger: str) -> None:
        """Remove the cursor of a Trigger that is gone."""
        self._cursors.pop(trigger, None)
        await self._writer.write(lambda db: sql.forget(db, trigger))
        self._settle_soon()

    def _settle_soon(self) -> None:
        """Save marks and delete what everybody has, at most once a second: each time costs flash."""
        if self._settle_timer is None and not self._closed:
            self._settle_timer = self._loop.call_later(1.0, self._start_settling)

    def _start_settling(self) -> None:
        self._settling = self._loop.create_task(self._settle(), name="outbox settles")

    async def _settle(self) -> None:
        try:
            more = True
            while more:
                acknowledged, cursors = self._acknowledged, dict(self._cursors)
                keep_after = min([acknowledged, *cursors.values()])
                reach("outbox.before_settle")
                more = await self._writer.write(lambda db: sql.settle(db, acknowledged, cursors, keep_after))  # noqa: B023
        except Exception:
            log.exception("the outbox could not forget what the hub has")
        finally:
            self._settle_timer = None

    async def close(self) -> None:
        """Write what waits and save the marks."""
        self._closed = True
        if self._pump is not None:
            await self._pump
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.gather(self._recovering, return_exceptions=True)
        if self._settle_timer is not None:
            self._settle_timer.cancel()
            await (self._settling if self._settling is not None and not self._settling.done() else self._settle())
        await self._writer.close()


def _resolve(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _broker_of(event: Event) -> str:
    namespace = event.extensions.get("devicenamespace")
    return f"{namespace}/default" if namespace else ""


def _mark(event: Event) -> bytes:
    """Return by what a repetition of *event* is recognised; not its id and time, which the node may have made."""
    sequence = event.extensions.get("sequence")
    if sequence is None:
        return b""
    said = msgspec.json.encode((sequence, event.type, event.subject, event.data))
    return hashlib.blake2b(said, digest_size=sql.MARK_BYTES).digest()


def _bounded(event: Event) -> bytes:
    if not (0 < len(event.id) <= 2048 and 0 < len(event.source) <= 2048 and 0 < len(event.type) <= 2048):
        raise EventError(f"event {event.id[:64]!r} of {event.source[:64]!r}: id, source and type have 1 to 2048 characters")
    raw = event.to_json()
    if len(raw) > MAX_EVENT_BYTES:
        raise EventTooLargeError(f"event {event.id!r} of {event.source!r} has {len(raw)} bytes; the limit is {MAX_EVENT_BYTES}")
    return raw
