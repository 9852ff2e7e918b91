"""Named points at which a test may kill the process, as a power cut or the OOM killer would.

`SKERRY_FAILPOINT=durable.before_commit:3` kills at the third time the point is reached; without the variable a point does
nothing. The kill is SIGKILL: no handler, no flush, no `finally` runs.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "SKERRY_FAILPOINT"


def parse(text: str) -> tuple[str, int]:
    """Return the point's name and the count of `name:N`; `name` alone means the first time. ValueError when N is not one."""
    name, colon, count = text.partition(":")
    if not name or (colon and not (count.isdecimal() and int(count) > 0)):
        raise ValueError(f"{VARIABLE}={text!r} is not NAME or NAME:COUNT with a count from 1")
    return name, int(count) if colon else 1


class _Armed:
    """The one point that kills, and how often it may still be reached before it does."""

    def __init__(self, text: str | None) -> None:
        self.name, self.left = parse(text) if text else ("", 0)


_armed = _Armed(os.environ.get(VARIABLE))


def reach(name: str) -> None:
    """Say that the point *name* was reached; the process may end here."""
    if name != _armed.name:
        return
    _armed.left -= 1
    if _armed.left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
