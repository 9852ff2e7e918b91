"""How often anonymous requests are looked at. Pure: the caller says what time it is."""

from __future__ import annotations


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
