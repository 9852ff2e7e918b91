"""`make demo` and `make demo-check`: a whole edge on one machine."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time

from demo.invitation import Host, invitation
from demo.stage import Stage, StageError
from demo.tour import walk

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `kill`, and a terminal that is closed: all of them end everything."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="walk the tour without a person, print a line a step, end, and fail if a step failed"
    )
    args = parser.parse_args()
    stop_on_signals()
    began = time.monotonic()
    for left_over in Stage.abandoned(say):
        say(f"an earlier demo was killed: ending what it left in {left_over.folder}")
        left_over.down()
    stage = Stage.new(say)
    failed = 0
    try:
        say("bringing up a hub, two nodes at two sites, a Modbus meter, a MicroPython sensor and two apps ...")
        stage.up()
        say(f"all started after {time.monotonic() - began:.1f} s")
        if args.check:
            failed = walk(stage)
        else:
            say(invitation(stage))
            Host(stage, say).stay()
    except KeyboardInterrupt:
        say("\nending everything ...")
        failed += args.check
    except (StageError, OSError, subprocess.TimeoutExpired) as error:
        failed += 1
        print(f"FAIL {error}", file=sys.stderr)
    finally:
        no_more_signals()
        left = stage.down()
    if left:
        failed += 1
        print("FAIL still running after the end:\n  " + "\n  ".join(left), file=sys.stderr)
    if args.check:
        passed = "FAILED" if failed else "all steps passed"
        say(f"{passed} in {time.monotonic() - began:.0f} s; {'something is still' if left else 'nothing is left'} running")
    else:
        say("ended: nothing is left running" if not left else "ended")
    return 1 if failed else 0


def stop_on_signals() -> None:
    """Turn each of ENDS into a clean end, also where a shell that started this in the background had them ignored."""

    def raise_interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for each in ENDS:
        signal.signal(each, raise_interrupt)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")


def no_more_signals() -> None:
    """An impatient second Ctrl-C does not leave half of it running; ending takes seconds."""
    for each in ENDS:
        signal.signal(each, signal.SIG_IGN)


def say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
