"""When which property is read: those that are due at about the same time are read together. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from skerry.model.profiles import Property

SLACK_S = 0.05
"""Reading a property this much early, with one that is due, costs less than a request of its own."""


class Schedule:
    """Next times of all readable properties, in monotonic seconds."""

    def __init__(self, properties: Iterable[Property], *, now: float) -> None:
        self._properties = {p.name: p for p in properties if p.readable}
        self._due = dict.fromkeys(self._properties, now)

    def due(self, now: float) -> list[Property]:
        """Return what to read now; each is due again one period later, counted from when it was due, not from when it was read."""
        found = [p for n, p in self._properties.items() if self._due[n] <= now + SLACK_S] if self.next_at() <= now else []
        for prop in found:
            missed = int((now - self._due[prop.name]) / prop.every_s)
            self._due[prop.name] += prop.every_s * (max(missed, 0) + 1)
        return found

    def next_at(self) -> float:
        """Return when something is due next; infinity when nothing is read."""
        return min(self._due.values(), default=float("inf"))


def reconnect_after_s(failures: int, fraction: float) -> float:
    """Return the wait before the next try to reach a device that is offline: 1 s doubling to 30 s, up to 25 % more at random."""
    return min(30.0, 2.0 ** min(failures, 5)) * (1 + 0.25 * fraction)
