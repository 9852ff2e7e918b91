"""Buckets that empty and fill up again, and who is remembered."""

from __future__ import annotations

import pytest

from skerry.model.rate import Bucket, Latest


def test_a_bucket_gives_its_burst_and_then_what_fills_up() -> None:
    bucket = Bucket(per_second=0.5, burst=3)

    waits = [bucket.take(0.0) for _ in range(4)]

    assert waits[:3] == [0.0, 0.0, 0.0]
    assert waits[3] == pytest.approx(2.0)
    assert bucket.take(2.1) == 0.0


def test_what_is_lacking_is_told_in_seconds() -> None:
    bucket = Bucket(per_second=2, burst=2)

    assert [bucket.take(0.0), bucket.take(0.0)] == [0.0, 0.0]
    assert bucket.take(0.0) == pytest.approx(0.5)
    assert bucket.take(0.6) == 0.0


def test_what_was_not_there_is_not_taken_and_costs_differ() -> None:
    bucket = Bucket(per_second=10, burst=100)

    assert bucket.take(0.0, 60) == 0.0
    assert bucket.take(0.0, 60) == pytest.approx(2.0)
    assert bucket.take(0.0, 40) == 0.0


def test_a_clock_that_goes_back_fills_and_empties_nothing() -> None:
    bucket = Bucket(per_second=1, burst=2)
    bucket.take(100.0)

    assert bucket.take(50.0) == 0.0
    assert bucket.take(50.0) == pytest.approx(1.0)


def test_whoever_came_longest_ago_is_forgotten_first() -> None:
    latest: Latest[str, list[str]] = Latest(2)
    for who in ("ann", "bob", "ann", "eve"):
        latest.of(who, list).append(who)

    assert len(latest) == 2
    assert latest.of("ann", list) == ["ann", "ann"]
    assert latest.of("bob", list) == []
