"""Run the long trials at their full counts, and write what came out to docs/reference/soak.md with its date.

The trials are the tests that read SKERRY_SOAK; without it they run a fixed share with rotating seeds, as CI does.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "soak.md"


def trials() -> list[str]:
    """Return the test files that have a full count of their own."""
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("test_*.py") if "SKERRY_SOAK" in p.read_text())


class Row(NamedTuple):
    """One trial, how it ended, and the run that says so."""

    trial: str
    outcome: str
    seconds: float
    when: str
    commit: str


def main(chosen: list[str]) -> int:
    """Run all trials, or those whose files are named; the page keeps what earlier runs said of the others."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *(chosen or trials())]
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, "SKERRY_SOAK": "1"}, check=False).returncode
        rows = results(report, f"{datetime.now(UTC):%Y-%m-%d %H:%M}", commit())
    old = {row.trial: row for row in earlier()} if chosen else {}
    PAGE.write_text(page(list((old | {row.trial: row for row in rows}).values())))
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return code


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def results(report: Path, when: str, commit: str) -> list[Row]:
    """Return a row for each test; the report is our own pytest's."""
    found = []
    for case in ET.parse(report).iter("testcase"):
        outcome = next((tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None), "passed")
        found.append(Row(f"{case.get('classname')}: {case.get('name')}", outcome, float(case.get("time") or 0), when, commit))
    return found


def earlier() -> list[Row]:
    """Return the rows of the page as it is."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| tests.")]
    return [Row(c[0], c[1], float(c[2]), c[3], c[4]) for c in cells if len(c) == 5]


def page(rows: list[Row]) -> str:
    host = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    passed = sum(1 for row in rows if row.outcome == "passed")
    lines = [
        "# The long trials",
        "",
        "Written by `make soak`, which runs every trial at its full count; `make soak TRIALS=tests/...` runs some again. CI runs a fixed",
        "share of each with rotating seeds.",
        "",
        f"{passed} of {len(rows)} passed, in {sum(row.seconds for row in rows):.0f} s on {host}.",
        "",
        "| trial | outcome | seconds | when (UTC) | commit |",
        "|---|---|---|---|---|",
        *(f"| {row.trial} | {row.outcome} | {row.seconds:.0f} | {row.when} | {row.commit} |" for row in sorted(rows)),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
