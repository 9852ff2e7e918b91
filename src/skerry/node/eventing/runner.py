"""Runs one Trigger: takes its Broker's events from the outbox, in order, and delivers those that match.

What must stay true: events of one key (a device, a source) are delivered in the order in which they came, each once the one before it was
taken, dead-lettered or counted as dropped; one key does not hold up the others until 200 events wait; the cursor never passes an event
that is not finished, so a crash loses none, and delivers again what came after the oldest unfinished one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from skerry.events.cloudevents import Event, EventError, from_json, key_of_apps
from skerry.events.delivery import Reply, Sink, Verdict, answer_event, dead_letter, delivery_of, describe, verdict
from skerry.events.filters import compile_trigger
from skerry.events.log import EventTooLargeError, Outbox
from skerry.events.sinks import HttpSender, UnsendableError
from skerry.model.chance import fraction
from skerry.node.eventing.triggers import RunningTrigger

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Requests of one Trigger under way at once."""
MAX_UNFINISHED = 200
_PAGE_EVENTS = 100
_SCAN_NUMBERS = 5000


class _Outcome(msgspec.Struct, frozen=True):
    """What one attempt came to: `why` is "" when the event was taken; `final` when trying again changes nothing."""

    reply: Reply | None = None
    why: str = ""
    final: bool = True


class TriggerCounts(msgspec.Struct):
    """What became of a Trigger's events since this process started; `matched` = taken + dead_lettered + dropped + under way."""

    matched: int = 0
    taken: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    retries: int = 0


class TriggerRunner:
    """One Trigger at work; `run` never ends."""

    def __init__(
        self,
        trigger: RunningTrigger,
        outbox: Outbox,
        sender: HttpSender,
        *,
        counts: TriggerCounts,
        jitter: Callable[[], float] = fraction,
    ) -> None:
        self._trigger = trigger
        self._outbox = outbox
        self._sender = sender
        self._counts = counts
        self._jitter = jitter
        self._matches = compile_trigger(trigger.spec)
        self._delivery = delivery_of(trigger.spec, trigger.broker_spec)
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._unfinished: dict[int, None] = {}  # in order
        self._lanes: dict[str, deque[tuple[int, Event]]] = {}
        self._room = asyncio.Event()
        self._scanned = 0
        self._failing = False

    async def run(self) -> None:
        """Deliver for ever, from the Trigger's cursor on."""
        self._scanned = await self._outbox.register(self._trigger.uid)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._outbox.wait_newer(self._scanned)
                while len(self._unfinished) >= MAX_UNFINISHED:
                    self._room.clear()
                    await self._room.wait()
                for key in await self._scan():
                    group.create_task(self._run_lane(key))

    async def _scan(self) -> list[str]:
        """Put the next matching events into their lanes; returns the keys whose lanes are new."""
        last = min(self._outbox.newest, self._scanned + _SCAN_NUMBERS)
        rows = await self._outbox.read_broker(str(self._trigger.broker), self._scanned, last, limit=_PAGE_EVENTS)
        new: list[str] = []
        for seq, key, event in self._select(rows):
            self._unfinished[seq] = None
            if key not in self._lanes:
                self._lanes[key] = deque()
                new.append(key)
            self._lanes[key].append((seq, event))
        self._scanned = rows[-1][0] if len(rows) == _PAGE_EVENTS else last
        self._move_cursor()
        return new

    def _select(self, rows: list[tuple[int, str, bytes]]) -> Iterator[tuple[int, str, Event]]:
        for seq, key, raw in rows:
            try:
                event = from_json(raw)
            except EventError as error:
                log.warning("an event on disk is damaged", extra={"seq": seq, "cause": str(error)})
                continue
            if self._matches(event.attributes()):
                yield seq, key, event

    async def _run_lane(self, key: str) -> None:
        lane = self._lanes[key]
        while lane:
            seq, event = lane[0]
            await self._deliver(event)
            lane.popleft()
            del self._unfinished[seq]
            self._move_cursor()
            self._room.set()
        del self._lanes[key]

    def _move_cursor(self) -> None:
        self._outbox.advance(self._trigger.uid, next(iter(self._unfinished), self._scanned + 1) - 1)

    async def _deliver(self, event: Event) -> None:
        """Deliver one event; afterwards it is taken, dead-lettered or counted as dropped."""
        self._counts.matched += 1
        outcome = await self._attempts(self._delivery.subscriber, event)
        if not outcome.why:
            self._counts.taken += 1
            self._end_trouble()
            return
        self._begin_trouble(outcome.why)
        sink = self._delivery.dead_letter
        if sink is not None and not (await self._attempts(sink, dead_letter(event, self._delivery, outcome.reply))).why:
            self._counts.dead_lettered += 1
            return
        self._counts.dropped += 1

    async def _attempts(self, sink: Sink, event: Event) -> _Outcome:
        """Try until it is taken or hopeless; returns the last outcome."""
        for attempt in range(1, self._delivery.retry + 1):
            outcome = await self._attempt(sink, event)
            if outcome.final:
                return outcome
            self._counts.retries += 1
            self._begin_trouble(outcome.why)
            asked = outcome.reply.headers.get("retry-after", "") if outcome.reply else ""
            await asyncio.sleep(self._delivery.pause_s(attempt, asked) * (1.0 + self._jitter() / 10))
        return await self._attempt(sink, event)

    async def _attempt(self, sink: Sink, event: Event) -> _Outcome:
        headers, body = self._delivery.message(event)
        try:
            async with self._at_once:
                reply = await self._sender.post(sink, headers, body, timeout_s=self._delivery.timeout_s)
        except UnsendableError as error:
            return _Outcome(None, str(error))
        except TimeoutError:
            return _Outcome(None, f"no answer within {self._delivery.timeout_s} s", final=False)
        except ConnectionError as error:
            return _Outcome(None, str(error), final=False)
        judged = verdict(reply)
        if judged is not Verdict.TAKEN:
            return _Outcome(reply, describe(reply), final=judged is Verdict.REFUSED)
        why = await self._take_answer(reply, event) if sink == self._delivery.subscriber else ""
        return _Outcome(reply, why)  # asked again it would do its work again, and answer the same

    async def _take_answer(self, reply: Reply, delivered: Event) -> str:
        """Send an answered event back into the Broker; returns why no outbox will ever take it."""
        event = answer_event(reply, delivered)
        if event is None:
            return ""
        try:
            await self._outbox.append(event, key=key_of_apps(event), broker=str(self._trigger.broker))
        except (EventTooLargeError, EventError) as error:
            return f"answered with an event that cannot be kept: {error}"
        return ""

    def _begin_trouble(self, why: str) -> None:
        if not self._failing:
            facts = {"trigger": str(self._trigger.name), "subscriber": self._delivery.subscriber.uri, "cause": why}
            log.warning("a subscriber does not take events", extra=facts)
        self._failing = True

    def _end_trouble(self) -> None:
        if self._failing:
            log.info("a subscriber takes events again", extra={"trigger": str(self._trigger.name)})
        self._failing = False
