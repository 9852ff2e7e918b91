"""How long `skerry --help` takes."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.report import Report


def main() -> list[Report]:
    report = Report("Command line")
    took = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "skerry", "--help"], stdout=subprocess.DEVNULL, check=True)
        took.append((time.perf_counter() - began) * 1e3)
    report.row("skerry --help, median of 7", sorted(took)[3], "ms", 150)
    return [report]
