"""CrashLoopBackOff: how long a container waits before it is started again. Pure; times are monotonic seconds.

It is kept in memory only: a node that was restarted tries at once, and no clock is asked.
"""

from __future__ import annotations

import msgspec

FIRST_S = 10.0
LIMIT_S = 300.0
FORGET_AFTER_S = 600.0
"""Who ran so long is well again. As the kubelet has it: twice the longest wait."""


class Restarts(msgspec.Struct, frozen=True):
    """`delay_s` is the last wait, 0 before the first; `until` when it ends."""

    delay_s: float = 0.0
    until: float = 0.0


def after_exit(before: Restarts, *, ran_s: float, now: float, first: bool) -> Restarts:
    """Return the wait after an attempt that ran *ran_s*; the first restart of all comes at once."""
    if ran_s >= FORGET_AFTER_S:
        before = Restarts()
    if before.delay_s == 0.0 and first:
        return Restarts(FIRST_S / 2, now)
    delay = min(LIMIT_S, max(FIRST_S, before.delay_s * 2))
    return Restarts(delay, now + delay)


def after_failed_start(before: Restarts, *, now: float) -> Restarts:
    """Return the wait after an attempt that could not even be made (image, configuration)."""
    delay = min(LIMIT_S, max(FIRST_S, before.delay_s * 2))
    return Restarts(delay, now + delay)
