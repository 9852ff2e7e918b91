"""What to look at next: each key at most once, never twice at a time, later when asked to, and less often while it fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from skerry.kube.backoff import Backoff

K = TypeVar("K", bound=Hashable)

RETRY = Backoff(first_s=0.05, limit_s=60.0)
"""The first retry within 50 ms (mostly a write conflict), a lasting fault once a minute."""


class WorkQueue(Generic[K]):
    """A key added while it is worked on comes again afterwards; adding it twice is adding it once."""

    def __init__(self, *, backoff: Backoff = RETRY) -> None:
        self._backoff = backoff
        self._waiting: deque[K] = deque()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys wait now; those with a timer do not count."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._waiting.append(key)
            self._wake.set()

    def add_after(self, key: K, delay_s: float) -> None:
        """Add *key* in *delay_s* seconds; of two timers for one key the earlier stays."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0.0, delay_s)
        old = self._timers.get(key)
        if old is not None:
            if old.when() <= at:
                return
            old.cancel()
        self._timers[key] = loop.call_at(at, self._due, key)

    def retry(self, key: K) -> float:
        """Add *key* after its back-off; returns the seconds it waits."""
        attempt = self._failures.get(key, 0)
        self._failures[key] = attempt + 1
        delay_s = self._backoff.delay_s(attempt)
        self.add_after(key, delay_s)
        return delay_s

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """End the back-off of *key*: it went well."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Return the next key, which is worked on until `done`."""
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        key = self._waiting.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        self._working.discard(key)
        if key in self._dirty:
            self._waiting.append(key)
            self._wake.set()

    def close(self) -> None:
        """Drop every timer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)
