"""When to try the hub again: soon at first, never more than a twentieth of the outage later, and not all nodes at once. Pure."""

from __future__ import annotations

SHORTEST_S, LONGEST_S = 0.2, 30.0
AFTER_REFUSAL_S = 1.0
"""A hub that answered and then sent us away paid for a handshake: at most one a second."""


def retry_delay_s(outage_s: float, *, refused: bool, jitter: float) -> float:
    """Return seconds to wait after the link has been down for *outage_s*; *jitter* is a random number from 0 to 1.

    A twentieth of the outage, so that the time lost after it is in proportion, at most 30 s; the lower half of it is random, so that
    a thousand nodes that lost their hub together come back one by one.
    """
    shortest = AFTER_REFUSAL_S if refused else SHORTEST_S
    longest = min(max(outage_s / 20, shortest), LONGEST_S)
    return longest * (0.5 + jitter / 2) if not refused else max(longest * (0.5 + jitter / 2), shortest)
