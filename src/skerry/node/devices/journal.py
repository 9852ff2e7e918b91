"""Numbers what devices say and puts it into the outbox.

What must stay true: the running number of a source has no gap and never comes twice, also after SIGKILL: what was committed
is read back from the outbox, whose rows live longer than the half second in which numbers are saved; what a device sends
again because it missed the answer is recognised and not stored twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from skerry.events.cloudevents import SAMPLE_TYPE, Event
from skerry.model.profiles import Scalar
from skerry.model.unreadable import NOT_JSON
from skerry.node.devices.cloudevents import Identity, device_event, sample_event
from skerry.node.devices.repetitions import Repetitions
from skerry.node.devices.store import Numbers, TwinStore

log = logging.getLogger(__name__)

SAVE_S = 0.5
LOOK_BACK = 8192
"""Events before the last save that are read again at start: a device may repeat what it had in flight."""
_PAGE_EVENTS, _PAGE_BYTES = 1000, 4 << 20

Done = Callable[[Exception | None], None]


class Outbox(Protocol):
    """Where events rest until the hub has them (`skerry.events.log.Outbox`)."""

    @property
    def stream(self) -> str: ...
    @property
    def newest(self) -> int: ...

    def offer(self, *events: Event, key: str, done: Done, broker: str = "") -> None: ...

    async def read(self, after: int, *, max_events: int, max_bytes: int) -> list[tuple[int, bytes]]: ...


class _Counter(msgspec.Struct):
    """Numbers of one source. `own` is the last number that the device gave itself, -1 while it gives none."""

    given: int = 0
    committed: int = 0
    own: int = -1
    repeats: Repetitions | None = None
    pending: dict[int, _Pending] = msgspec.field(default_factory=dict)

    def stored(self, own: int, digest: int, *, in_flight: int) -> None:
        self.repeats = self.repeats or Repetitions()
        self.repeats.keep(own, digest, in_flight=in_flight)


class _Pending(msgspec.Struct):
    """A message on its way to the disk, and who else waits for it because it came twice."""

    digest: int
    waiting: list[Done] = msgspec.field(default_factory=list)


class Journal:
    """The way of all devices' events into the outbox."""

    def __init__(self, outbox: Outbox, store: TwinStore) -> None:
        self._outbox = outbox
        self._store = store
        self._counters: dict[str, _Counter] = {}
        self._dirty: set[str] = set()
        self._something = asyncio.Event()
        self._failing = False

    async def load(self) -> None:
        """Find the last number of every source: what was saved, and what the outbox got after that."""
        saved = await self._store.numbers()
        for source, (number, own) in saved.last.items():
            self._counters[source] = _Counter(number, number, own)
        after = max(0, saved.seq - LOOK_BACK) if saved.stream == self._outbox.stream else 0
        seen = Counter[str]()
        while rows := await self._outbox.read(after, max_events=_PAGE_EVENTS, max_bytes=_PAGE_BYTES):
            for after, raw in rows:  # noqa: B007 - the last number is where the next page begins
                with contextlib.suppress(*NOT_JSON):  # damaged on the disk: it gives no number
                    self._read_back(msgspec.json.decode(raw), seen)

    def _read_back(self, event: dict[str, Any], seen: Counter[str]) -> None:
        number, sequence = str(event.get("id")), str(event.get("sequence") or "")
        if "devicename" not in event or not number.isdecimal():
            return
        source = event["source"]
        counter = self._counters.setdefault(source, _Counter())
        counter.given = counter.committed = max(counter.committed, int(number))
        if event["type"] == SAMPLE_TYPE and sequence.isdecimal():
            # Whether the device counts itself shows when it speaks; until then every number is kept as if it did.
            seen[source] += 1
            counter.stored(int(sequence), _digest(event.get("data") or {}), in_flight=seen[source])
            counter.own = int(sequence) if sequence != number else counter.own
        self._dirty.add(source)
        self._something.set()

    def is_repetition(self, identity: Identity, own: int, values: Mapping[str, Scalar], done: Done) -> bool:
        """Say whether a device's message *own* with just these values came before; then *done* is called once that one is stored."""
        counter = self._counters.get(identity.source)
        if counter is None:
            return False
        digest, pending = _digest(values), counter.pending.get(own)
        if pending is not None and pending.digest == digest:
            pending.waiting.append(done)
            return True
        if counter.repeats is not None and counter.repeats.has(own, digest):
            done(None)
            return True
        return False

    def sample(
        self, identity: Identity, broker: str, values: Mapping[str, Scalar], *, at: float, quality: str, own: int | None = None, done: Done
    ) -> None:
        """Store values that were read at one time; *own* is the device's number for them. OutboxBusyError when it is not taken."""
        counter = self._counters.setdefault(identity.source, _Counter())
        number = counter.given + 1
        event = sample_event(identity, number, str(number if own is None else own), values, at=at, quality=quality)
        if own is None:
            counter.repeats = counter.repeats if counter.own >= 0 else None
            self._offer(identity.source, broker, event, counter, done)
            return
        digest, pending = _digest(values), _Pending(_digest(values))

        def stored(error: Exception | None) -> None:
            if counter.pending.get(own) is pending:
                del counter.pending[own]
            if error is None:
                counter.stored(own, digest, in_flight=counter.given - counter.committed)
            for tell in (done, *pending.waiting):
                tell(error)

        counter.pending[own] = pending
        try:
            self._offer(identity.source, broker, event, counter, stored)
        except BaseException:
            del counter.pending[own]
            raise
        counter.own = own

    def event(
        self, identity: Identity, broker: str, name: str, data: Mapping[str, object], *, at: float, severity: int, done: Done
    ) -> None:
        """Store a device event; it has no `sequence` when the device numbers its own messages."""
        counter = self._counters.setdefault(identity.source, _Counter())
        number = counter.given + 1
        event = device_event(identity, number, "" if counter.own >= 0 else str(number), name, data, at=at, severity=severity)
        self._offer(identity.source, broker, event, counter, done)

    def _offer(self, source: str, broker: str, event: Event, counter: _Counter, done: Done) -> None:
        number = counter.given + 1

        def stored(error: Exception | None) -> None:
            # Called in the same step in which the outbox moves `newest`: both are saved as one state.
            if error is None:
                counter.committed = max(counter.committed, number)
                self._dirty.add(source)
                self._something.set()
            self._report(error)
            done(error)

        self._outbox.offer(event, key=source, broker=broker, done=stored)
        counter.given = number

    def _report(self, error: Exception | None) -> None:
        if (error is not None) == self._failing:
            return
        self._failing = error is not None
        if error is not None:
            log.error("events of devices cannot be stored", extra={"error": str(error)})
        else:
            log.info("events of devices are stored again")

    async def run(self) -> None:
        """Save numbers while devices speak, not more often than twice a second."""
        while True:
            await self._something.wait()
            await asyncio.sleep(SAVE_S)
            try:
                await self.save()
            except Exception:
                log.exception("running numbers of devices could not be saved")

    async def save(self) -> None:
        """Save what changed since the last time."""
        self._something.clear()
        changed, self._dirty = self._dirty, set()
        if not changed:
            return
        last = {s: (self._counters[s].committed, self._counters[s].own) for s in changed}
        try:
            await self._store.save_numbers(Numbers(self._outbox.stream, self._outbox.newest, last))
        except Exception:
            self._dirty |= changed
            raise


def _digest(values: Mapping[str, Scalar]) -> int:
    return zlib.crc32(msgspec.json.encode(values, order="sorted"))
