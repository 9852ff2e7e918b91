"""`make bench`: every benchmark, or those named: `python -m bench hub node events store`."""

from __future__ import annotations

import importlib
import sys

from bench.report import hardware

ALL = ("hub", "watch", "store", "node", "events", "cli")


def main() -> int:
    print(f"hardware: {hardware()}\ncommand:  python -m bench {' '.join(sys.argv[1:])}")
    for name in sys.argv[1:] or ALL:
        importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
