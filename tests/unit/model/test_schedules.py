"""Cron schedules: what can be read, and the times that come of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.model.schedules import Cron, Schedule, ScheduleError, parse_schedule

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def times(schedule: Schedule, start: str, count: int) -> list[str]:
    """Return the next times, written in the schedule's own zone."""
    at, found = datetime.fromisoformat(start), []
    zone = schedule.zone if isinstance(schedule, Cron) else UTC
    for _ in range(count):
        step = schedule.after(at)
        if step is None:
            break
        found.append(step.astimezone(zone).strftime("%Y-%m-%d %H:%M%z"))
        at = step
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", ["2026-11-23 10:00+0000", "2026-11-23 10:01+0000"]),
        ("*/15 * * * *", ["2026-11-23 10:00+0000", "2026-11-23 10:15+0000"]),
        ("5/20 * * * *", ["2026-11-23 10:05+0000", "2026-11-23 10:25+0000"]),
        ("0 0 * * *", ["2026-11-24 00:00+0000", "2026-11-25 00:00+0000"]),
        ("30 8-10/2 * * *", ["2026-11-23 10:30+0000", "2026-11-24 08:30+0000"]),
        ("0 12 * * mon-wed", ["2026-11-23 12:00+0000", "2026-11-24 12:00+0000"]),
        ("0 12 * * SUN", ["2026-11-29 12:00+0000", "2026-12-06 12:00+0000"]),
        ("0 0 1 * *", ["2026-12-01 00:00+0000", "2027-01-01 00:00+0000"]),
        ("0 0 29 2 *", ["2028-02-29 00:00+0000"]),
        ("0 0 13 * 5", ["2026-11-27 00:00+0000", "2026-12-04 00:00+0000"]),
        ("0 0 */10 * 5", ["2026-11-27 00:00+0000", "2026-12-01 00:00+0000"]),
        ("0 0 ? * 5", ["2026-11-27 00:00+0000", "2026-12-04 00:00+0000"]),
        ("1,3 10 * jan,nov *", ["2026-11-23 10:01+0000", "2026-11-23 10:03+0000"]),
        ("@hourly", ["2026-11-23 10:00+0000", "2026-11-23 11:00+0000"]),
        ("@weekly", ["2026-11-29 00:00+0000", "2026-12-06 00:00+0000"]),
        ("@yearly", ["2027-01-01 00:00+0000", "2028-01-01 00:00+0000"]),
        ("@every 90m", ["2026-11-23 11:29+0000", "2026-11-23 12:59+0000"]),
        ("0 0 30 2 *", []),
    ],
)
def test_the_next_times(text: str, expected: list[str]) -> None:
    assert times(parse_schedule(text), "2026-11-23T09:59:30+00:00", len(expected) or 1) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "exactly 5 fields"),
        ("* * * *", "found 4"),
        ("60 * * * *", "above maximum (59)"),
        ("* * 0 * *", "below minimum (1)"),
        ("5-2 * * * *", "beyond end"),
        ("*/0 * * * *", "positive"),
        ("1-2-3 * * * *", "hyphens"),
        ("x * * * *", "parse int from x"),
        ("* * * * 7", "above maximum (6)"),
        ("@often", "unrecognized descriptor"),
        ("CRON_TZ=UTC * * * * *", "timeZone"),
        ("*/x * * * *", "parse int from x"),
        ("\u0661 * * * *", "parse int"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, word: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(text)

    assert word in str(caught.value)


def test_a_time_that_daylight_saving_skips_is_skipped() -> None:
    found = times(parse_schedule("30 2 * * *", NEW_YORK), "2026-03-07T12:00:00+00:00", 2)

    assert found == ["2026-03-09 02:30-0400", "2026-03-10 02:30-0400"]


def test_a_time_that_comes_twice_is_named_twice() -> None:
    found = times(parse_schedule("30 1 * * *", NEW_YORK), "2026-10-31T12:00:00+00:00", 3)

    assert found == ["2026-11-01 01:30-0400", "2026-11-01 01:30-0500", "2026-11-02 01:30-0500"]


def test_a_daily_time_keeps_its_hour_over_the_change_of_clocks() -> None:
    found = times(parse_schedule("0 12 * * *", BERLIN), "2026-03-28T00:00:00+00:00", 2)

    assert found == ["2026-03-28 12:00+0100", "2026-03-29 12:00+0200"]


FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "59", "10-20"]),
    st.sampled_from(["*", "2", "*/5", "0,23"]),
    st.sampled_from(["*", "31", "1-7", "*/9"]),
    st.sampled_from(["*", "2", "feb-apr", "*/6"]),
    st.sampled_from(["*", "0", "mon-fri", "6"]),
)


@given(FIELDS, st.sampled_from([UTC, BERLIN, NEW_YORK]), st.integers(0, 10 * 366 * 24 * 60 * 60))
def test_the_next_time_is_named_and_none_before_it_is(fields: tuple[str, ...], zone: ZoneInfo, seconds: int) -> None:
    schedule, at = parse_schedule(" ".join(fields), zone), datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)

    found = schedule.after(at)

    assert isinstance(schedule, Cron)
    if found is None:
        return
    assert found > at
    assert _names(schedule, found)
    earlier = (found - timedelta(minutes=m) for m in range(1, 600))
    assert not any(_names(schedule, t) for t in earlier if t > at)


def _names(schedule: Cron, at: datetime) -> bool:
    """Say it without the search: look at the calendar of one minute."""
    local = at.astimezone(schedule.zone)
    date, weekday = local.day in schedule.days, local.isoweekday() % 7 in schedule.weekdays
    day = (date or weekday) if schedule.either_day else (date and weekday)
    return day and local.month in schedule.months and local.hour in schedule.hours and local.minute in schedule.minutes
