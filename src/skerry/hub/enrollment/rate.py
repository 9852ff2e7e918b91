"""How often anonymous requests are looked at. Pure: the caller says what time it is."""

from __future__ import annotations

from functools import partial

from skerry.model.rate import Bucket, Latest

MAX_NETWORKS = 1024
"""How many are remembered; who did not ask for longest is forgotten, and begins with a whole share."""


class Shares:
    """A bucket for everybody together, of which one network gets half at most: who asks without end leaves the others theirs."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._all = Bucket(per_second=per_second, burst=burst)
        self._half = partial(Bucket, per_second=per_second / 2, burst=max(1, burst // 2))
        self._of: Latest[str, Bucket] = Latest(MAX_NETWORKS)

    def take(self, network: str, now: float) -> float:
        """Take one for *network*; returns 0 when it was there, else the seconds until it will be."""
        return self._of.of(network, self._half).take(now) or self._all.take(now)
