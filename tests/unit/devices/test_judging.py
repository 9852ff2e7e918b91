"""What a device's word is worth: ranges, types, monsters, deadbands, and when an event begins."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.drivers import Quality, Sample
from skerry.model.profiles import Property
from skerry.node.devices.judging import firing, is_news, judge
from skerry.node.devices.schedule import Schedule, reconnect_after_s
from skerry.node.devices.twin import Reported
from tests.unit.devices.profiles_given import typed

FLOW = Property("flow", "number", range=(0, 120), deadband=0.5)


@pytest.mark.parametrize(
    ("kind", "value", "shown", "quality"),
    [
        ("number", 42, 42.0, Quality.GOOD),
        ("number", 142.0, 142.0, Quality.BAD),
        ("number", math.nan, None, Quality.BAD),
        ("number", math.inf, None, Quality.BAD),
        ("number", 1e308, None, Quality.BAD),
        ("number", 2**53, 2.0**53, Quality.BAD),
        ("number", "42", None, Quality.BAD),
        ("number", True, None, Quality.BAD),
        ("integer", 42.0, 42, Quality.GOOD),
        ("integer", 42.5, None, Quality.BAD),
        ("integer", 2**64, None, Quality.BAD),
        ("boolean", 1, None, Quality.BAD),
        ("boolean", True, True, Quality.GOOD),
        ("enum", "off", None, Quality.BAD),
        ("string", "x" * 5000, None, Quality.BAD),
        ("string", "a\0b", None, Quality.BAD),
    ],
)
def test_a_value_is_judged_by_the_profile(kind: str, value: Any, shown: Any, quality: Quality) -> None:
    limits = (0, 120) if kind in ("number", "integer") else None
    prop = Property("x", kind, range=limits, values=("auto",) if kind == "enum" else ())

    found = judge(prop, Sample(value, 1.0))

    assert (found.value, type(found.value), found.quality) == (shown, type(shown), quality)
    assert bool(found.detail) is (quality is Quality.BAD)


@settings(deadline=None)
@given(
    st.one_of(st.floats(), st.integers(), st.text(max_size=20), st.booleans(), st.none()),
    st.sampled_from(["number", "integer", "boolean", "string", "enum"]),
)
def test_nothing_that_a_device_says_gets_past_its_type(value: Any, kind: str) -> None:
    found = judge(Property("x", kind, values=("a",)), Sample(value, 1.0))

    python = {"number": float, "integer": int, "boolean": bool}.get(kind, str)
    assert found.value is None or type(found.value) is python
    assert not isinstance(found.value, float) or math.isfinite(found.value)


@pytest.mark.parametrize(
    ("told", "now", "news"),
    [
        (None, Reported(1.0, 0), True),
        (Reported(1.0, 0), Reported(1.5, 1), False),
        (Reported(1.0, 0), Reported(1.6, 1), True),
        (Reported(1.0, 0), Reported(1.0, 1, Quality.BAD), True),
        (Reported(1.0, 0), Reported(None, 1, Quality.BAD), False),
    ],
)
def test_news_is_what_moved_beyond_the_deadband(told: Reported | None, now: Reported, news: bool) -> None:
    assert is_news(FLOW, told, now) is news


def test_an_event_begins_once_and_again_only_after_it_ended() -> None:
    rules, begun = typed().rules, []
    held: list[str] = []
    for flow in (50.0, 110.0, 115.0, None, 90.0, 101.0):
        quality = Quality.GOOD if flow is not None else Quality.BAD
        reported = {"flow": Reported(flow, 0.0, quality), "mode": Reported("auto", 0.0)}
        started, held = firing(rules, reported, held)
        begun.append([r.name for r in started])

    assert begun == [[], ["leak"], [], [], [], ["leak"]]


def test_what_is_due_together_is_read_together_and_no_read_is_made_up_for() -> None:
    fast, slow = Property("fast", "number", every_s=1.0), Property("slow", "number", every_s=5.0)
    schedule = Schedule([fast, slow, Property("blind", "number", access="write")], now=0.0)
    reads = [(t, [p.name for p in schedule.due(t)]) for t in (0.0, 0.5, 0.99, 1.0, 2.0, 4.99, 5.0, 60.0, 60.1)]

    assert reads == [
        (0.0, ["fast", "slow"]),
        (0.5, []),
        (0.99, []),
        (1.0, ["fast"]),
        (2.0, ["fast"]),
        (4.99, ["fast", "slow"]),
        (5.0, ["fast"]),
        (60.0, ["fast", "slow"]),
        (60.1, []),
    ]


def test_a_device_that_stays_away_is_asked_less_often() -> None:
    assert [reconnect_after_s(n, 0.0) for n in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert reconnect_after_s(0, 1.0) == 1.25
