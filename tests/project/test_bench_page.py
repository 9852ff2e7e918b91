"""docs/reference/performance.md says what was measured, and does not hide what falls short."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.page import lines, short_of
from bench.report import Report, Row

AT = datetime(2026, 11, 23, tzinfo=UTC)


def test_a_row_stands_beside_its_budget_and_the_peer() -> None:
    report = Report("Hub", [Row("GET", 0.06, "ms/op", 0.09, peer=0.74, note="client 1 ms"), Row("rate", 5_000, "/s", 10_000, True)])

    page = "\n".join(lines([report], {}, AT))

    assert "| GET | 0.060 ms/op | ≤ 0.09 | 0.67 | 0.74 | 12.3x | client 1 ms |" in page
    assert "| rate | 5,000 /s | ≥ 10,000 | **2.00** |  |  |  |" in page
    assert "2026-11-23 00:00 UTC" in page


def test_what_falls_short_is_named_and_why() -> None:
    rows = [Row("GET, 32 clients: hub CPU", 0.1, "ms/op", 0.09), Row("idle", 80, "MiB", 72), Row("LIST", 10, "ms", 40)]

    told = list(short_of(rows, {"node": "no bubblewrap"}))

    assert [line.split("**")[1] for line in told] == ["GET, 32 clients: hub CPU", "idle", "node"]
    assert "TLS and the HTTP framework" in told[0]
    assert told[1].endswith("not looked into yet.")
    assert "no bubblewrap" in told[2]


def test_nothing_short_is_said_so() -> None:
    assert list(short_of([Row("LIST", 10, "ms", 40)], {})) == ["Nothing that was measured."]
