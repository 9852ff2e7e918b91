"""How many lines one user gets for what changes nothing: refusals, failures, reads. Pure: times are arguments, in seconds.

The log keeps so many lines and no more, so whoever could write lines without end could push everybody's out. What is over a share is
counted, and the count stands on the user's next line.
"""

from __future__ import annotations

import msgspec

from skerry.model.rate import Bucket, Latest

PER_S, BURST = 10.0, 500.0
STRANGERS_PER_S, STRANGERS_BURST = 5.0, 100.0
"""Of all people without credentials together."""
Who = tuple[str, bool]
"""A user, and whether the request failed: no flood of refusals hides what was not refused."""
MAX_USERS = 1024
"""Users that are remembered, those who asked last; who is forgotten begins with a whole share."""
BEGINS = "more than {:g} lines a second of this user that tell of no change: from here on they are counted"
ENDS = "{} requests of this user before this one were counted and have no line"


class _Share(msgspec.Struct):
    bucket: Bucket
    counted: int = 0


class Shares:
    """Everybody's share."""

    def __init__(self) -> None:
        self._of: Latest[Who, _Share] = Latest(MAX_USERS)

    def take(self, user: Who, now: float, *, stranger: bool) -> str | None:
        """Take one line of *user*: return what to note on it ("" for nothing), None when it gets no line."""
        per_s, burst = (STRANGERS_PER_S, STRANGERS_BURST) if stranger else (PER_S, BURST)
        share = self._of.of(user, lambda: _Share(Bucket(per_second=per_s, burst=burst)))
        counted = share.counted
        if share.bucket.take(now) == 0:
            share.counted = 0
            return ENDS.format(counted) if counted else ""
        share.counted += 1
        return None if counted else BEGINS.format(per_s)
