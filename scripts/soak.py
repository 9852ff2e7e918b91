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

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "soak.md"


def trials() -> list[str]:
    """Return the test files that have a full count of their own."""
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("test_*.py") if "SKERRY_SOAK" in p.read_text())


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *trials()]
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, "SKERRY_SOAK": "1"}, check=False).returncode
        rows = results(report)
    PAGE.write_text(page(rows, datetime.now(UTC)))
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return code


def results(report: Path) -> list[tuple[str, str, float]]:
    """Return name, outcome and seconds of each test; the report is our own pytest's."""
    found = []
    for case in ET.parse(report).iter("testcase"):
        outcome = next((tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None), "passed")
        found.append((f"{case.get('classname')}: {case.get('name')}", outcome, float(case.get("time") or 0)))
    return found


def page(rows: list[tuple[str, str, float]], at: datetime) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    host = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    passed = sum(1 for _, outcome, _ in rows if outcome == "passed")
    lines = [
        "# The long trials",
        "",
        "Written by `make soak`, which runs every trial at its full count. CI runs a fixed share of each with rotating seeds.",
        "",
        f"Last run: {at:%Y-%m-%d %H:%M} UTC at commit {commit}, {host}.",
        f"{passed} of {len(rows)} passed in {sum(s for _, _, s in rows):.0f} s.",
        "",
        "| trial | outcome | seconds |",
        "|---|---|---|",
        *(f"| {name} | {outcome} | {seconds:.0f} |" for name, outcome, seconds in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
