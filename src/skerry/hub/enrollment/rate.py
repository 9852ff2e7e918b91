"""How often anonymous requests are looked at. Pure: the caller says what time it is."""

from __future__ import annotations

MAX_NETWORKS = 1024
"""How many are remembered; who did not ask for longest is forgotten, and begins with a whole share."""


class Allowance:
    """A bucket of *burst* requests that fills up with *per_second*; what it lacks is told in seconds."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._rate = per_second
        self._burst = float(burst)
        self._left = float(burst)
        self._at: float | None = None

    def take(self, now: float) -> float:
        """Take one; returns 0 when it was there, else the seconds until it will be."""
        if self._at is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate


class Shares:
    """An allowance for everybody together, of which one network gets half at most: who asks without end leaves the others theirs."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._all = Allowance(per_second=per_second, burst=burst)
        self._half = (per_second / 2, max(1, burst // 2))
        self._of: dict[str, Allowance] = {}

    def take(self, network: str, now: float) -> float:
        """Take one for *network*; returns 0 when it was there, else the seconds until it will be."""
        mine = self._of.pop(network, None) or Allowance(per_second=self._half[0], burst=self._half[1])
        self._of[network] = mine  # the one that asked last comes last
        if len(self._of) > MAX_NETWORKS:
            del self._of[next(iter(self._of))]
        return mine.take(now) or self._all.take(now)
