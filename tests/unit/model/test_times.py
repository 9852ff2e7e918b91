from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from skerry.model.times import human_duration, parse_duration, parse_time, rfc3339, rfc3339_micro

AT = datetime(2026, 1, 5, 10, 0, 2, 500, tzinfo=UTC)


def test_times_are_written_as_kubernetes_writes_them() -> None:
    assert rfc3339(AT) == "2026-01-05T10:00:02Z"
    assert rfc3339_micro(AT) == "2026-01-05T10:00:02.000500Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        parse_time("2026-01-05T10:00:02")


@pytest.mark.parametrize(("text", "seconds"), [("1m30s", 90), ("250ms", 0.25), ("1h", 3600), ("0.5s", 0.5)])
def test_durations_are_go_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1x", "m1", "1m 2s"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "want"),
    [
        (5, "5s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (3600, "60m"),
        (11000, "3h3m"),
        (90000, "25h"),
        (200000, "2d7h"),
        (86400 * 9, "9d"),
    ],
)
def test_ages_read_as_in_kubectl(seconds: int, want: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == want
