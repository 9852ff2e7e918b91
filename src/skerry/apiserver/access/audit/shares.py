"""How many lines one user gets for what changes nothing: refusals, failures, reads. Pure: times are arguments, in seconds.

The log keeps so many lines and no more, so whoever could write lines without end could push everybody's out. What is over a share is
counted, and the count stands on the user's next line.
"""

from __future__ import annotations

from typing import NamedTuple

PER_S, BURST = 10.0, 500.0
STRANGERS_PER_S, STRANGERS_BURST = 5.0, 100.0
"""Of all people without credentials together."""
Who = tuple[str, bool]
"""A user, and whether the request failed: no flood of refusals hides what was not refused."""
MAX_USERS = 1024
"""Users that are remembered, those who asked last; who is forgotten begins with a whole share."""
BEGINS = "more than {:g} lines a second of this user that tell of no change: from here on they are counted"
ENDS = "{} requests of this user before this one were counted and have no line"


class _Share(NamedTuple):
    left: float
    at: float
    counted: int = 0


class Shares:
    """Everybody's share."""

    def __init__(self) -> None:
        self._of: dict[Who, _Share] = {}

    def take(self, user: Who, now: float, *, stranger: bool) -> str | None:
        """Take one line of *user*: return what to note on it ("" for nothing), None when it gets no line."""
        per_s, burst = (STRANGERS_PER_S, STRANGERS_BURST) if stranger else (PER_S, BURST)
        share = self._of.pop(user, None) or _Share(burst, now)
        note: str | None
        left = min(burst, share.left + max(0.0, now - share.at) * per_s)
        if left >= 1:
            share, note = _Share(left - 1, now), ENDS.format(share.counted) if share.counted else ""
        else:
            share, note = _Share(left, now, share.counted + 1), None if share.counted else BEGINS.format(per_s)
        self._of[user] = share
        if len(self._of) > MAX_USERS:
            del self._of[next(iter(self._of))]
        return note
