"""How long each node has not been heard, counted while we listened. Pure: time comes in as ticks.

Only what the hub itself observed counts: a change of the node's Lease or status. No time stamp of a node is compared with
anything, and a hub that slept, or was just started, has not listened: it counts at most `longest_tick_s` for one tick.
"""

from __future__ import annotations

from collections.abc import Iterable


class Silence:
    """Seconds of silence by node."""

    def __init__(self, *, grace_s: float, longest_tick_s: float) -> None:
        self.grace_s = grace_s
        self._longest_tick_s = longest_tick_s
        self._silent_s: dict[str, float] = {}
        self._last_tick: float | None = None

    def heard(self, node: str) -> None:
        """The node gave a sign of life."""
        self._silent_s[node] = 0.0

    def forget(self, node: str) -> None:
        self._silent_s.pop(node, None)

    def tick(self, now: float, nodes: Iterable[str], *, listening: bool = True) -> None:
        """Let time pass up to *now* (monotonic seconds); nodes seen first begin with their whole grace."""
        passed = 0.0 if self._last_tick is None or not listening else min(now - self._last_tick, self._longest_tick_s)
        self._last_tick = now
        for node in nodes:
            self._silent_s[node] = self._silent_s[node] + passed if node in self._silent_s else 0.0

    def is_silent(self, node: str) -> bool:
        """Whether the node was not heard for its grace."""
        return self._silent_s.get(node, 0.0) >= self.grace_s
