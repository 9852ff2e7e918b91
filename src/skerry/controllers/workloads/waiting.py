"""The Pods that wait to be scheduled: the most important first, then the oldest. Pure."""

from __future__ import annotations

import heapq

from skerry.model.objects import Name

_Order = tuple[int, str, Name]


class Waiting:
    """A queue by priority; a Pod that is put again keeps its place."""

    def __init__(self) -> None:
        self._heap: list[_Order] = []
        self._there: set[Name] = set()

    def __len__(self) -> int:
        return len(self._there)

    def put(self, name: Name, *, priority: int, created: str) -> None:
        if name not in self._there:
            self._there.add(name)
            heapq.heappush(self._heap, (-priority, created, name))

    def pop(self) -> Name | None:
        """Return the first, which no longer waits; None when there is none."""
        while self._heap:
            name = heapq.heappop(self._heap)[2]
            if name in self._there:
                self._there.discard(name)
                return name
        return None

    def first(self) -> Name | None:
        return self._heap[0][2] if self._heap else None
