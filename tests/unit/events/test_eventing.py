"""Triggers at work on a node: real outbox, real sockets, no hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from skerry.events.cloudevents import Event
from skerry.events.log import Outbox
from skerry.model.objects import Name, Object, name_of
from skerry.node.eventing import EventingSubsystem
from tests.unit.events.subscriber import Request, Subscriber, answering
from tests.unit.events.test_triggers import a_broker, a_trigger

FAST: dict[str, Any] = {"retry": 3, "backoffDelay": "PT0.001S", "timeout": "PT2S"}


class NoHub:
    """A hub that is never there."""

    async def wait_connected(self) -> None:
        await asyncio.Event().wait()

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> NoReturn:
        raise ConnectionError("there is no hub")


class Told:
    """What the node was told: a mirror without a hub."""

    def __init__(self) -> None:
        self.objects: dict[Name, Object] = {}
        self.callbacks: list[Callable[[Name], None]] = []

    def items(self) -> Mapping[Name, Object]:
        return self.objects

    def subscribe(self, callback: Callable[[Name], None], /) -> None:
        self.callbacks.append(callback)

    def put(self, obj: Object) -> None:
        self.objects[name_of(obj)] = obj
        self._tell(name_of(obj))

    def drop(self, obj: Object) -> None:
        del self.objects[name_of(obj)]
        self._tell(name_of(obj))

    def _tell(self, name: Name) -> None:
        for callback in self.callbacks:
            callback(name)


class World:
    """One node's eventing and a subscriber."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.brokers, self.triggers, self.subscriber = Told(), Told(), Subscriber()
        self.brokers.put(a_broker())

    async def start(self) -> None:
        self.outbox = await Outbox.open(self.path)
        self.eventing = EventingSubsystem(self.outbox, NoHub(), brokers=[self.brokers], triggers=[self.triggers])
        await self.eventing.start()

    async def stop(self) -> None:
        await self.eventing.stop()
        await self.outbox.close()

    def a_trigger(self, uid: str = "u1", **spec: Any) -> Object:
        return a_trigger(uid, **{"subscriber": {"uri": self.subscriber.uri}, "delivery": FAST, **spec})

    async def run_trigger(self, uid: str = "u1", **spec: Any) -> None:
        self.triggers.put(self.a_trigger(uid, **spec))
        await until(lambda: uid in self.outbox.cursors)

    async def emit(self, *numbers: int, device: str = "d", type: str = "t") -> None:  # noqa: A002
        for n in numbers:
            extensions: dict[str, str | int | bool] = {"devicenamespace": "plant", "devicename": device}
            event = Event(id=f"{device}-{n}", source=f"/nodes/n/devices/plant/{device}", type=type, data={"n": n}, extensions=extensions)
            await self.outbox.append(event, key=f"plant/{device}")

    @property
    def received(self) -> list[str]:
        return [r.headers["ce-id"] for r in self.subscriber.requests]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "events.sqlite")
    await made.subscriber.start()
    await made.start()
    yield made
    await made.stop()
    await made.subscriber.stop()


async def test_matching_events_arrive_in_order_with_no_hub(world: World) -> None:
    await world.run_trigger(filter={"attributes": {"type": "alarm"}})

    await world.emit(1, 2, type="alarm")
    await world.emit(3)
    await world.emit(4, type="alarm")
    await until(lambda: len(world.received) == 3)

    assert world.received == ["d-1", "d-2", "d-4"]
    assert world.subscriber.requests[0].body == b'{"n":1}'


async def test_events_before_the_trigger_are_not_delivered(world: World) -> None:
    await world.emit(1)
    await world.run_trigger()
    await world.emit(2)
    await until(lambda: bool(world.received))

    assert world.received == ["d-2"]


async def test_a_failing_subscriber_is_tried_again_and_order_is_kept(world: World) -> None:
    failures = iter([503, 429, 503])
    world.subscriber.answer = lambda r: answering(next(failures, 202))
    await world.run_trigger()

    await world.emit(1, 2)
    await until(lambda: world.eventing.counts["u1"].taken == 2)

    assert world.received == ["d-1"] * 4 + ["d-2"]
    assert world.eventing.counts["u1"].retries == 3


async def test_one_device_does_not_hold_up_another(world: World) -> None:
    stuck = asyncio.Event()

    def answer(request: Request) -> bytes:
        return answering(503 if request.headers["ce-devicename"] == "bad" and not stuck.is_set() else 202)

    world.subscriber.answer = answer
    await world.run_trigger(delivery={**FAST, "retry": 1000})
    await asyncio.gather(world.emit(1, device="bad"), *(world.emit(1, 2, device=f"good-{i}") for i in range(3)))
    await until(lambda: world.eventing.counts["u1"].taken == 6)
    stuck.set()
    await until(lambda: world.eventing.counts["u1"].taken == 7)


async def test_an_event_that_nobody_takes_goes_to_the_dead_letters(world: World) -> None:
    dead = Subscriber()
    await dead.start()
    world.subscriber.answer = lambda r: answering(500, b"no")
    await world.run_trigger(delivery={**FAST, "retry": 1, "deadLetterSink": {"uri": dead.uri}})

    await world.emit(1)
    await until(lambda: world.eventing.counts["u1"].dead_lettered == 1)

    (letter,) = dead.requests
    assert (letter.headers["ce-id"], letter.headers["ce-knativeerrorcode"], letter.body) == ("d-1", "500", b'{"n":1}')
    assert len(world.subscriber.requests) == 2
    await dead.stop()


async def test_a_refused_event_is_not_tried_again_and_is_counted(world: World) -> None:
    world.subscriber.answer = lambda r: answering(400)
    await world.run_trigger()

    await world.emit(1, 2)
    await until(lambda: world.eventing.counts["u1"].dropped == 2)

    assert world.received == ["d-1", "d-2"]


async def test_a_restart_loses_nothing(world: World) -> None:
    await world.run_trigger()
    await world.emit(1, 2)
    await until(lambda: len(world.received) == 2)
    world.subscriber.answer = lambda r: b""  # silent: number 3 is under way when the node ends
    await world.emit(3)
    await until(lambda: len(world.received) == 3)
    await world.stop()

    world.subscriber.answer = lambda r: answering(202)
    await world.start()
    await world.emit(4)
    await until(lambda: len(world.received) >= 5)

    assert world.received == ["d-1", "d-2", "d-3", "d-3", "d-4"]


async def test_a_deleted_trigger_stops_and_holds_nothing_back(world: World) -> None:
    await world.run_trigger()
    world.triggers.drop(world.a_trigger())
    await until(lambda: not world.outbox.cursors)

    await world.emit(1)
    await world.run_trigger("u2")
    await world.emit(2)
    await until(lambda: bool(world.received))

    assert world.received == ["d-2"]


async def test_a_changed_trigger_goes_on_where_it_was(world: World) -> None:
    world.subscriber.answer = lambda r: answering(503)
    await world.run_trigger(delivery={**FAST, "retry": 1000, "backoffDelay": "PT10S"})
    await world.emit(1, 2)
    await until(lambda: bool(world.received))

    world.subscriber.answer = lambda r: answering(202)
    world.triggers.put(world.a_trigger())
    await until(lambda: len(world.received) == 3)

    assert world.received == ["d-1", "d-1", "d-2"]


async def test_an_answered_event_enters_the_broker(world: World) -> None:
    def answer(request: Request) -> bytes:
        if request.headers["ce-type"] == "question":
            reply = ["ce-specversion: 1.0", "ce-id: a1", "ce-source: /app", "ce-type: answer", "content-type: application/json"]
            return answering(200, b"42", *reply)
        return answering(202)

    world.subscriber.answer = answer
    await world.run_trigger()

    await world.emit(1, type="question")
    await until(lambda: len(world.received) == 2)

    assert world.received == ["d-1", "a1"]
    assert "ce-knativebrokerttl" not in world.subscriber.requests[1].headers


async def test_an_answer_that_claims_to_come_from_a_device_enters_no_broker(world: World) -> None:
    reply = ["ce-specversion: 1.0", "ce-id: a1", "ce-source: /nodes/n/devices/plant/door", "ce-type: answer"]
    answers = iter([answering(200, b"x", *reply, "content-type: text/plain")])
    world.subscriber.answer = lambda r: next(answers, answering(202))
    await world.run_trigger()

    await world.emit(1)
    await world.emit(2)
    await until(lambda: len(world.received) == 2)
    await until(lambda: world.eventing.counts["u1"].taken == 1)

    assert world.received == ["d-1", "d-2"]  # asked again, the subscriber would do its work again and answer the same
    assert world.eventing.counts["u1"].dropped == 1


async def test_a_subscriber_that_answers_its_own_events_for_ever_is_stopped_by_the_loop_guard(world: World) -> None:
    reply = ["ce-specversion: 1.0", "ce-id: again", "ce-source: /app", "ce-type: loop"]
    world.subscriber.answer = lambda r: answering(200, b"x", *reply, "content-type: text/plain")
    await world.run_trigger()

    await world.emit(1)
    await until(lambda: world.eventing.counts["u1"].taken == 255)
    await asyncio.sleep(0.02)

    assert len(world.received) == 255


async def test_two_triggers_each_get_their_own_delivery(world: World) -> None:
    await world.run_trigger("u1")
    await world.run_trigger("u2")

    await world.emit(1)
    await until(lambda: len(world.received) == 2)

    assert world.received == ["d-1", "d-1"]
