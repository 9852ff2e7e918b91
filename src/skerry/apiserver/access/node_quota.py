"""How much a node may write: a stolen credential must not fill the hub's memory or keep it busy. Pure: the time is an argument.

Bytes are counted, each write as at least `MIN_BYTES`; Events, which pile up, have a smaller bucket of their own beside it.
"""

from __future__ import annotations

from skerry.apiserver.access.attributes import Attributes
from skerry.model.errors import ApiError, too_large, too_many_requests

WRITES = frozenset(("create", "update", "patch"))
MAX_BYTES = {"events": 16 << 10, "leases": 16 << 10}
MAX_OTHER_BYTES = 1 << 20
"""One write of a node; the status of a Device with 500 properties is a tenth of it."""
MIN_BYTES = 512
MAX_NODES = 10_000

_ALL = (64 << 20, 1 << 20)
"""Bucket and bytes a second: five hundred Devices may tell their status at once when the hub is back."""
_EVENTS = (1 << 20, 4 << 10)
"""A thousand Events at once, then six a second: 16 MB in the hour that the hub keeps them."""


class NodeQuota:
    """The buckets of every node."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, bool], tuple[float, float]] = {}  # (node, is for Events) -> (bytes, at)

    def refusal(self, asked: Attributes, size: int, now: float) -> ApiError | None:
        """Take *size* bytes for what a node asks; return the 413 or 429 when that is more than it may write."""
        if asked.verb not in WRITES:
            return None
        limit = MAX_BYTES.get(asked.resource, MAX_OTHER_BYTES)
        if size > limit:
            return too_large(limit)
        node, cost = asked.user.node, max(size, MIN_BYTES)
        waits = [self._take((node, False), cost, *_ALL, now)]
        if asked.resource == "events":
            waits.append(self._take((node, True), cost, *_EVENTS, now))
        wait_s = max(waits)
        if not wait_s:
            return None
        return too_many_requests(f"node {node} writes more than it may: try again in {wait_s:.0f} s", retry_after_s=max(1, round(wait_s)))

    def _take(self, key: tuple[str, bool], cost: int, burst: int, per_second: int, now: float) -> float:
        """Take *cost* and return 0, or the seconds until there is as much."""
        left, at = self._left.get(key, (float(burst), now))
        left = min(float(burst), left + max(0.0, now - at) * per_second)
        enough = left >= cost
        if key not in self._left and len(self._left) >= MAX_NODES:
            del self._left[next(iter(self._left))]
        self._left[key] = (left - cost if enough else left, now)
        return 0.0 if enough else (cost - left) / per_second
