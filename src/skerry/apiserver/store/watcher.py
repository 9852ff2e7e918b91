"""One watch: a place in the history that moves forward.

It has no buffer of its own: the changes it has not taken yet are those in the resource's history above its place, so a
watcher that stands still costs nothing, and one that is left behind by the history gets TooOldError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from skerry.apiserver.store.history import Ring
from skerry.apiserver.store.records import Change

_BATCH = 1_000  # changes handed out at once


class Watcher:
    """An async iterator of lists of changes: strictly above where it began, in order, none left out, none twice."""

    def __init__(self, ring: Ring, namespace: str, after: int, *, committed: Callable[[], int], closed: Callable[[Watcher], None]) -> None:
        ring.require(after)
        self._ring = ring
        self._namespace = namespace
        self._place = after
        self._committed = committed
        self._on_close = closed
        self._open = True
        self._wakeup: asyncio.Future[None] | None = None

    @property
    def revision(self) -> int:
        """Everything up to here was handed out: what a bookmark may say."""
        return self._place if self._ring.after(self._place, limit=1) else max(self._place, self._committed())

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> list[Change]:
        """Wait for changes and return them; one caller at a time. TooOldError when some were forgotten before they were taken."""
        while self._open:
            found = self.take()
            if found:
                return found
            self._wakeup = asyncio.get_running_loop().create_future()
            await self._wakeup
        raise StopAsyncIteration

    def take(self) -> list[Change]:
        """Return what is there now, perhaps nothing."""
        while news := self._ring.after(self._place, limit=_BATCH):
            self._place = news[-1].revision
            found = self._matching(news)
            if found:
                return found
        self._place = max(self._place, self._committed())
        return []

    def wake(self) -> None:
        """Say that the resource changed."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def close(self) -> None:
        """End the iteration; a second call does nothing."""
        if self._open:
            self._open = False
            self.wake()
            self._on_close(self)

    def _matching(self, news: Sequence[Change]) -> list[Change]:
        if not self._namespace:
            return list(news)
        return [change for change in news if change.record.key.namespace == self._namespace]
