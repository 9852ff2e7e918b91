"""How often somebody may do something: a bucket that empties and fills up again, and who came last. Pure: times are arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bucket:
    """Full with *burst* at first; it fills up with *per_second*. A clock that goes back fills nothing."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, float(burst)
        self._left = self._burst
        self._at: float | None = None

    def take(self, now: float, cost: float = 1.0) -> float:
        """Take *cost* at *now* (seconds); returns 0 when it was there, else nothing is taken, and it is the seconds until it will be."""
        if self._at is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        if self._left < cost:
            return (cost - self._left) / self._per_second if self._per_second else math.inf
        self._left -= cost
        return 0.0


class Latest(Generic[K, V]):
    """What is kept for each of those who came last, *most* of them: who is forgotten begins anew."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[K, V] = {}

    def of(self, who: K, make: Callable[[], V]) -> V:
        """Return what is kept for *who*, made at need; whoever came longest ago makes room."""
        found = self._of.pop(who, None)
        if found is None:
            found = make()
        self._of[who] = found
        if len(self._of) > self._most:
            del self._of[next(iter(self._of))]
        return found

    def __len__(self) -> int:
        return len(self._of)
