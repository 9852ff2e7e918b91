"""Runs one Trigger: takes its Broker's events from the outbox, in order, and delivers those that match.

What must stay true: events of one key (a device, a source) are delivered in the order in which they came, each waiting for the one before
it, and up to eight keys at a time; the cursor moves past a page only when every event of it was taken, dead-lettered or counted as
dropped, so a crash delivers that page again and loses none.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from skerry.events.cloudevents import Event, EventError, from_json
from skerry.events.delivery import Reply, Sink, Verdict, answer_event, dead_letter, delivery_of, describe, verdict
from skerry.events.filters import compile_trigger
from skerry.events.log import EventTooLargeError, Outbox
from skerry.events.sinks import HttpSender, UnsendableError
from skerry.node.eventing.triggers import RunningTrigger

log = logging.getLogger(__name__)

LANES = 8
_PAGE_EVENTS = 100
_SCAN_NUMBERS = 5000


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one attempt came to: `why` is "" when the event was taken; `final` when trying again changes nothing."""

    reply: Reply | None = None
    why: str = ""
    final: bool = True


@dataclass(slots=True)
class TriggerCounts:
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
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._trigger = trigger
        self._outbox = outbox
        self._sender = sender
        self._counts = counts
        self._jitter = jitter
        self._matches = compile_trigger(trigger.spec)
        self._delivery = delivery_of(trigger.spec, trigger.broker_spec)
        self._lanes = asyncio.Semaphore(LANES)
        self._failing = False

    async def run(self) -> None:
        """Deliver for ever, from the Trigger's cursor on."""
        uid = self._trigger.uid
        cursor = await self._outbox.register(uid)
        while True:
            await self._outbox.wait_newer(cursor)
            last = min(self._outbox.newest, cursor + _SCAN_NUMBERS)
            rows = await self._outbox.read_broker(str(self._trigger.broker), cursor, last, limit=_PAGE_EVENTS)
            if len(rows) == _PAGE_EVENTS:
                last = rows[-1][0]
            await self._deliver_page(self._select(rows))
            cursor = last
            self._outbox.advance(uid, cursor)

    def _select(self, rows: list[tuple[int, str, bytes]]) -> Mapping[str, list[Event]]:
        """Return the matching events by key, in order."""
        found: dict[str, list[Event]] = {}
        for seq, key, raw in rows:
            try:
                event = from_json(raw)
            except EventError as error:
                log.warning("an event on disk is damaged", extra={"seq": seq, "cause": str(error)})
                continue
            if self._matches(event.attributes()):
                found.setdefault(key, []).append(event)
        return found

    async def _deliver_page(self, lanes: Mapping[str, list[Event]]) -> None:
        if not lanes:
            return
        async with asyncio.TaskGroup() as group:
            for events in lanes.values():
                group.create_task(self._deliver_lane(events))

    async def _deliver_lane(self, events: list[Event]) -> None:
        async with self._lanes:
            for event in events:
                await self._deliver(event)

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
        return _Outcome(reply, why, final=not why)

    async def _take_answer(self, reply: Reply, delivered: Event) -> str:
        """Send an answered event back into the Broker; returns why the outbox could not take it."""
        event = answer_event(reply, delivered)
        if event is None:
            return ""
        key = str(event.extensions.get("partitionkey") or event.source)
        try:
            await self._outbox.append(event, key=key, broker=str(self._trigger.broker))
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
