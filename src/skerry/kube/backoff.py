"""How long to wait before the next attempt: doubling, capped, and jittered so that a thousand nodes do not come at once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from skerry.model.chance import fraction


class Backoff(msgspec.Struct, frozen=True):
    """Attempt n (from 0) waits between half and the whole of `first_s * 2**n`, at most `limit_s`."""

    first_s: float
    limit_s: float
    jitter: Callable[[], float] = fraction

    def delay_s(self, attempt: int) -> float:
        whole = min(self.limit_s, self.first_s * 2.0 ** min(attempt, 32))
        return whole * (0.5 + 0.5 * self.jitter())
