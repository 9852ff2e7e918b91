"""docs/reference/performance.md: what was measured, beside the budgets and the peer, and what falls short."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.in_the_way import IN_THE_WAY
from bench.report import Report, Row, hardware

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "performance.md"
BUSY = 0.5
"""Above this load, before the run, its rates say little; CPU per operation does."""
_LOAD_AT_START = os.getloadavg()[0]


def write(reports: Sequence[Report], failed: Mapping[str, str]) -> Path:
    """Write the page and return where it is."""
    PAGE.write_text("\n".join(lines(reports, failed, datetime.now(UTC))) + "\n")
    return PAGE.relative_to(ROOT)


def lines(reports: Sequence[Report], failed: Mapping[str, str], at: datetime) -> Iterable[str]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    quiet = _LOAD_AT_START <= BUSY
    yield from (
        "# Performance",
        "",
        "Written by `make bench` (`python -m bench`); `python -m bench hub --only get` measures one row. The budgets are the design's;",
        "the peer is kube-apiserver 1.32 with etcd 3.5 over TLS with JSON, on the same kind of machine. A ratio is how much of the budget",
        "was used: below 1 is within it. CPU per operation is the budget proper, and counts all threads of the hub; the load client is a",
        "process of its own, on the same machine, and its CPU stands apart.",
        "",
        "Of a node's memory, the design asks for the proportional set size of all its processes. That is in the notes, and flatters: a hub",
        "and this benchmark share pages with it. What is held against the budget is what it takes alone on its machine. The design's MB",
        "are taken as MiB; the notes have millions of bytes, too. The node runs with what `skerry[node,modbus]` installs and nothing else.",
        "",
        "The nodes of the fleet are a real node's parts (link, registration, memory, watches, outbox), hundreds in a process, on the hub's",
        "own two cores; only their containers are not real. They join, connect and come back at the same moment and from one address.",
        "",
        f"Last run: {at:%Y-%m-%d %H:%M} UTC at commit {commit}, {hardware()}.",
        "The machine was quiet."
        if quiet
        else f"The machine was busy (load {_LOAD_AT_START:.1f} before the run): rates and times say less than CPU.",
    )
    for report in reports:
        yield from (
            "",
            f"## {report.title}",
            "",
            "| what | measured | budget | ratio | peer | better than the peer | |",
            "|--|--:|--:|--:|--:|--:|--|",
        )
        yield from map(line, report.rows)
    yield from ("", "## What falls short", "")
    yield from short_of([row for report in reports for row in report.rows], failed)


def line(row: Row) -> str:
    sign = "≥" if row.more_is_better else "≤"
    budget = "" if row.budget is None else f"{sign} {row.budget:,g}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio <= 1 else f"**{row.ratio:.2f}**"
    peer = "" if row.peer is None else f"{row.peer:,g}"
    gain = "" if row.gain is None else f"{row.gain:.1f}x"
    return f"| {row.what.strip()} | {number(row.measured)} {row.unit} | {budget} | {ratio} | {peer} | {gain} | {row.note} |"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def short_of(rows: Sequence[Row], failed: Mapping[str, str]) -> Iterable[str]:
    short = [row for row in rows if row.ratio is not None and row.ratio > 1]
    if not short and not failed:
        yield "Nothing that was measured."
    for row in short:
        why = next((text for words, text in IN_THE_WAY.items() if words in row.what), "not looked into yet")
        yield f"- **{row.what.strip()}**: {number(row.measured)} {row.unit} of {row.budget:,g}. In the way: {why}."
    for name, why in failed.items():
        yield f"- **{name}** could not be measured: {why}"
