"""`make bench`: every benchmark, which writes docs/reference/performance.md; or some: `python -m bench hub watch --only get burst`."""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from bench.page import ROOT, write
from bench.report import Report, hardware

ALL = ("hub", "watch", "store", "node", "events", "fleet", "cli")
WITH_ROWS = frozenset(("hub", "watch"))  # these can measure some of their rows alone


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(ALL)}")
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[], help="only the rows of hub and watch whose names contain a word")
    parser.add_argument("--write", action="store_true", help="write the page also when not everything was measured")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(ALL):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    print(f"hardware: {hardware()}\ncommand:  python -m bench {' '.join(sys.argv[1:])}")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled: a start does not pay for that
    compileall.compile_dir(ROOT / "src", quiet=1)
    names = asked.names or [n for n in ALL if not asked.only or n in WITH_ROWS]
    reports, failed = measure(names, asked.only)
    if asked.write or (not asked.names and not asked.only):
        print(f"\nwrote {write(reports, failed)}")
    return 1 if failed else 0


def measure(names: Sequence[str], only: Sequence[str]) -> tuple[list[Report], dict[str, str]]:
    """Run benchmarks; one that fails does not take the others along."""
    reports: list[Report] = []
    failed = {}
    for name in names:
        run = importlib.import_module(f"bench.{name}").main
        try:
            reports += run(only) if name in WITH_ROWS else run()
        except Exception as error:
            traceback.print_exc()
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return reports, failed


if __name__ == "__main__":
    sys.exit(main())
