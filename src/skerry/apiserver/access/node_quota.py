"""How much a node may write: a stolen credential must not fill the hub's memory or keep it busy. Pure: the time is an argument.

Bytes are counted, each write as at least `MIN_BYTES`; Events, which pile up, have a smaller bucket of their own beside it.
"""

from __future__ import annotations

from functools import partial

from skerry.apiserver.access.attributes import Attributes
from skerry.model.errors import ApiError, too_large, too_many_requests
from skerry.model.rate import Bucket, Latest

WRITES = frozenset(("create", "update", "patch"))
MAX_BYTES = {"events": 16 << 10, "leases": 16 << 10}
MAX_OTHER_BYTES = 1 << 20
"""One write of a node; the status of a Device with 500 properties is a tenth of it."""
MIN_BYTES = 512
MAX_BUCKETS = 10_000
"""A node has two: of its Events, and of all that it writes."""

_ALL = partial(Bucket, burst=64 << 20, per_second=1 << 20)
"""Bucket and bytes a second: five hundred Devices may tell their status at once when the hub is back."""
_EVENTS = partial(Bucket, burst=1 << 20, per_second=4 << 10)
"""A thousand Events at once, then six a second: 16 MB in the hour that the hub keeps them."""


class NodeQuota:
    """The buckets of every node."""

    def __init__(self) -> None:
        self._buckets: Latest[tuple[str, bool], Bucket] = Latest(MAX_BUCKETS)

    def refusal(self, asked: Attributes, size: int, now: float) -> ApiError | None:
        """Take *size* bytes for what a node asks; return the 413 or 429 when that is more than it may write."""
        if asked.verb not in WRITES:
            return None
        limit = MAX_BYTES.get(asked.resource, MAX_OTHER_BYTES)
        if size > limit:
            return too_large(limit)
        node, cost = asked.user.node, max(size, MIN_BYTES)
        waits = [self._buckets.of((node, False), _ALL).take(now, cost)]
        if asked.resource == "events":
            waits.append(self._buckets.of((node, True), _EVENTS).take(now, cost))
        wait_s = max(waits)
        if not wait_s:
            return None
        return too_many_requests(f"node {node} writes more than it may: try again in {wait_s:.0f} s", retry_after_s=max(1, round(wait_s)))
