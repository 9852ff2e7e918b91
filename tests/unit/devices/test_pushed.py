"""A device that speaks by itself: what is kept of its word, what is stored once, and what becomes of its acknowledgements."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.drivers import Quality, Target
from skerry.drivers.mqtt import Topic
from skerry.events.cloudevents import Event
from skerry.node.devices.device import ManagedDevice
from skerry.node.devices.journal import Done, Journal
from skerry.node.devices.pushed import PushedDevice
from skerry.node.devices.store import Numbers, TwinStore
from skerry.node.devices.twin import Twin
from tests.unit.devices.profiles_given import a_device, typed

SPEC: dict[str, Any] = {
    "protocol": "mqtt",
    "properties": {
        "flow": {"type": "number", "range": [0, 120]},
        "steady": {"type": "number", "read": {"deadband": 5}},
        "on": {"type": "boolean"},
        "interval": {"type": "integer", "range": [1, 3600], "access": "readWrite", "binding": {"mqtt": {"name": "every"}}},
    },
    "events": {"high": {"when": "flow > 100.0", "severity": 13}},
}
NOW = 1_800_000_000.0


class MemoryOutbox:
    """Takes events and stores them when the test says so."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.waiting: list[Done] = []
        self.hold = False
        self.stream, self.newest = "s", 0

    def offer(self, *events: Event, key: str, done: Done, broker: str = "") -> None:
        self.events += events
        self.waiting.append(done)
        if not self.hold:
            self.commit()

    def commit(self, error: Exception | None = None) -> None:
        waiting, self.waiting = self.waiting, []
        self.newest = len(self.events)
        for done in waiting:
            done(error)

    async def read(self, after: int, *, max_events: int, max_bytes: int) -> list[tuple[int, bytes]]:
        return [(i, e.to_json()) for i, e in enumerate(self.events, 1) if i > after][:max_events]


class MemoryStore:
    """Stands for TwinStore where only numbers are kept."""

    def __init__(self) -> None:
        self.saved = Numbers()

    async def numbers(self) -> Numbers:
        return self.saved

    async def save_numbers(self, numbers: Numbers) -> None:
        self.saved = Numbers(numbers.stream, numbers.seq, {**self.saved.last, **numbers.last})


class Board:
    """One pushed device with everything around it in memory."""

    def __init__(self, desired: Mapping[str, Any] | None = None) -> None:
        self.outbox, self.store = MemoryOutbox(), MemoryStore()
        self.listener = Listening()
        self.begin(desired or {})

    def begin(self, desired: Mapping[str, Any]) -> None:
        obj = a_device(name="sensor-1", generation=3, desired=dict(desired))
        self.journal = Journal(self.outbox, self.store)  # type: ignore[arg-type]
        self.managed = ManagedDevice(
            obj, Twin("uid"), self.journal, node="gw", site="", clock=lambda: NOW, changed=lambda device, urgent: None
        )
        profile = typed(SPEC)
        self.managed.update(obj)
        self.managed.use_profile(profile)
        target = Target({}, "default/sensor-1", {"password": "p"})
        self.device = PushedDevice(self.managed, profile, target, self.listener, clock=lambda: NOW)

    def say(self, doc: Any, kind: Any = "telemetry", *, event: str = "") -> list[Exception | None]:
        """Have the device publish; returns what its acknowledgement waits for, once it came."""
        payload = doc if isinstance(doc, bytes) else msgspec.json.encode(doc)
        answers: list[Exception | None] = []
        self.device.message(Topic(kind, event), payload, again=False, done=answers.append)
        return answers

    def samples(self) -> list[tuple[str, Any, str]]:
        return [(e.extensions["sequence"], e.data, e.extensions["quality"]) for e in self.outbox.events if e.type.endswith("sample")]  # type: ignore[misc]


class Listening:
    problem = ""

    def __init__(self) -> None:
        self.desired: list[str] = []

    def serve(self, device: str, password: str, handler: Any) -> None: ...

    def dismiss(self, device: str) -> None: ...

    def desire(self, device: str) -> None:
        self.desired.append(device)


@pytest.fixture
async def board() -> Board:
    return Board()


async def test_telemetry_is_stored_with_the_devices_own_number(board: Board) -> None:
    assert board.say({"flow": 42, "on": True, "seq": 7}) == [None]
    assert board.say({"flow": 42, "on": True, "seq": 8}) == [None]

    assert board.samples() == [("7", {"flow": 42.0, "on": True}, "Good"), ("8", {"flow": 42.0, "on": True}, "Good")]
    assert [e.id for e in board.outbox.events] == ["1", "2"]


async def test_a_repetition_is_stored_once_and_answered_when_the_first_is_stored(board: Board) -> None:
    board.outbox.hold = True
    first, again = board.say({"flow": 42, "seq": 7}), board.say({"flow": 42, "seq": 7})
    assert (first, again) == ([], [])

    board.outbox.commit()

    assert (first, again) == ([None], [None])
    assert board.say({"flow": 42, "seq": 7}) == [None]
    assert len(board.outbox.events) == 1


async def test_a_repetition_after_a_restart_is_known_although_nothing_was_saved(board: Board) -> None:
    board.say({"flow": 42, "seq": 7})
    board.begin({})
    await board.journal.load()

    board.say({"flow": 42, "seq": 7})
    board.say({"flow": 43, "seq": 8})

    assert [(e.id, s[0]) for e, s in zip(board.outbox.events, board.samples(), strict=True)] == [("1", "7"), ("2", "8")]


async def test_a_device_that_counts_anew_loses_nothing(board: Board) -> None:
    for flow in (1, 2, 3):
        board.say({"flow": flow, "seq": flow})

    board.say({"flow": 9, "seq": 1})

    assert len(board.outbox.events) == 4


async def test_what_could_not_be_stored_is_not_taken_for_stored(board: Board) -> None:
    board.outbox.hold = True
    first = board.say({"flow": 42, "seq": 7})
    board.outbox.commit(OSError("disk"))
    assert isinstance(first[0], OSError)

    board.outbox.hold = False
    assert board.say({"flow": 42, "seq": 7}) == [None]
    assert len(board.outbox.events) == 2


async def test_numbers_go_on_without_a_gap_from_what_was_saved_and_what_came_after() -> None:
    board = Board()
    board.say({"flow": 1})
    await board.journal.save()
    board.say({"flow": 2})
    board.begin({})
    await board.journal.load()
    board.say({"flow": 3})

    assert [e.id for e in board.outbox.events] == ["1", "2", "3"]
    assert [s[0] for s in board.samples()] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"flow": NaN}',
        b"[" * 5000,
        b'"text"',
        b'{"flow": "\xb0"}',
        b'{"unknown": 1}',
        b'{"flow": null}',
        b'{"flow": [1]}',
    ],
)
async def test_what_is_no_message_is_answered_and_stores_nothing(board: Board, payload: bytes) -> None:
    assert board.say(payload) == [None]
    assert board.outbox.events == []


@pytest.mark.parametrize(
    ("value", "events"),
    [(142.0, [("1", {"flow": 142.0}, "Bad")]), (1e308, []), ("42", []), (True, []), (2**64, [("1", {"flow": 2.0**64}, "Bad")])],
)
async def test_a_value_that_cannot_be_is_shown_as_bad_or_not_at_all(board: Board, value: Any, events: Any) -> None:
    board.say({"flow": value})

    assert board.samples() == events
    assert board.managed.twin.reported["flow"].quality is Quality.BAD


@pytest.mark.parametrize("at", [0, 253402300800, 1.8e18, -1, "yesterday", "1970-01-01T00:00:00Z", True, None, [1]])
async def test_a_time_that_cannot_be_is_ours(board: Board, at: Any) -> None:
    board.say({"flow": 1, "at": at})

    assert board.managed.twin.reported["flow"].at == NOW


@pytest.mark.parametrize(("at", "seen"), [(NOW - 60, NOW - 60), ("2027-01-15T07:59:00Z", NOW - 60)])
async def test_a_plausible_time_is_the_devices(board: Board, at: Any, seen: float) -> None:
    board.say({"flow": 1, "at": at})

    assert board.managed.twin.reported["flow"].at == seen


async def test_without_numbers_a_deadband_thins_and_with_numbers_nothing_is_thinned(board: Board) -> None:
    board.say({"steady": 1.0})
    board.say({"steady": 2.0})
    assert len(board.outbox.events) == 1

    board.say({"steady": 2.5, "seq": 1})
    board.say({"steady": 2.6, "seq": 2})
    assert [s[1] for s in board.samples()] == [{"steady": 1.0}, {"steady": 2.5}, {"steady": 2.6}]


async def test_an_event_of_the_profile_and_one_of_the_device_go_out(board: Board) -> None:
    board.say({"flow": 110})
    board.say({"why": "door"}, "events", event="opened")

    told = [(e.subject, e.data, e.extensions["severity"]) for e in board.outbox.events if e.type.endswith("event")]
    assert told == [("high", {"flow": 110.0}, 13), ("opened", {"why": "door"}, 9)]


async def test_the_device_is_told_what_its_profile_allows_under_its_own_keys() -> None:
    board = Board({"interval": 5, "flow": 3, "ghost": 1})

    assert msgspec.json.decode(board.device.desired()) == {"generation": 3, "values": {"every": 5}}


async def test_an_acknowledgement_counts_for_its_generation() -> None:
    board = Board({"interval": 5})
    twin = board.managed.twin
    board.say({"generation": 2, "values": {"every": 4}, "acks": {"every": {"code": "Accepted"}}}, "reported")
    assert twin.acks == {}

    board.say({"generation": 3, "values": {"every": 5}, "acks": {"every": {"code": "Accepted"}, "ghost": {"code": "Accepted"}}}, "reported")

    assert (twin.acks["interval"].code, twin.acks["interval"].generation, set(twin.acks)) == ("Accepted", 3, {"interval"})
    assert next(c for c in board.managed.conditions() if c.type == "InSync").status is None, "accepted, but not connected"


async def test_accepted_with_another_value_is_not_in_sync() -> None:
    board = Board({"interval": 5})
    board.managed.connection(True, "Connected")

    board.say({"generation": 3, "values": {"every": 4}, "acks": {"every": {"code": "Accepted"}}}, "reported")

    found = next(c for c in board.managed.conditions() if c.type == "InSync")
    assert (found.status, found.reason) == (False, "WritePending")


async def test_a_wish_is_told_again_only_when_it_is_new_or_long_unanswered(board: Board) -> None:
    running = asyncio.create_task(board.device.run())
    await asyncio.sleep(0)
    assert board.listener.desired == ["default/sensor-1"]
    board.device.desired()
    for _ in range(5):
        board.say({"generation": 3, "values": {}, "acks": {}}, "reported")
        await asyncio.sleep(0)

    assert len(board.listener.desired) == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["flow", "every", "seq", "at", "values", "acks", "generation", "code", "on"]), inner, max_size=5
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(["telemetry", "reported", "events"]),
)
async def test_whatever_a_device_says_is_answered_and_judged(doc: Any, kind: str) -> None:
    board = Board({"interval": 5})

    assert board.say(doc, kind, event="x") == [None]

    for name, reported in board.managed.twin.reported.items():
        value = reported.value
        assert value is None or type(value) is {"flow": float, "steady": float, "on": bool, "interval": int}[name]
        assert not isinstance(value, float) or math.isfinite(value)
    assert set(board.managed.twin.acks) <= {"interval"}


async def test_twins_and_numbers_survive_on_disk(tmp_path: Path) -> None:
    store = await TwinStore.open(tmp_path / "devices.sqlite")
    await store.save([Twin("u", 3, {"a": 1.5, "b": True, "c": "x", "d": 7})])
    await store.save_numbers(Numbers("s", 9, {"x": (5, -1)}))
    await store.save_numbers(Numbers("s", 11, {"y": (2, 40)}))
    await store.close()

    store = await TwinStore.open(tmp_path / "devices.sqlite")
    twins, numbers = await store.twins(), await store.numbers()
    await store.forget("u")
    assert await store.twins() == {}
    await store.close()

    assert twins["u"].desired == {"a": 1.5, "b": True, "c": "x", "d": 7}
    assert [type(v) for v in twins["u"].desired.values()] == [float, bool, str, int]
    assert (numbers.stream, numbers.seq, dict(numbers.last)) == ("s", 11, {"x": (5, -1), "y": (2, 40)})
