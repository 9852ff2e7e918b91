"""One watch: a place in the history that moves forward; and who watches a resource.

A watch has no buffer of its own: the changes it has not taken yet are those in the resource's history above its place, so a
watcher that stands still costs nothing, and one that is left behind by the history gets TooOldError. One that sleeps is not left
behind: it is woken by the first change that may concern it, and what came before that did not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from skerry.apiserver.store.history import Ring
from skerry.apiserver.store.records import Change, Record

_BATCH = 1_000  # changes handed out at once
NAME = "metadata.name"


class Only(NamedTuple):
    """The value that a field label has, before or after, in every change that concerns a watch: a Pod's node, an object's name."""

    path: str
    value: str

    def concerns(self, change: Change) -> bool:
        return any(found is None or found == self.value for found in _values(change, self.path))


def _values(change: Change, path: str) -> Iterator[str | None]:
    """Yield what a field label was and is; None when it was not indexed, so that nobody knows."""
    yield _value(change.record, path)
    if change.previous is not None:
        yield _value(change.previous, path)


def _value(record: Record, path: str) -> str | None:
    return record.key.name if path == NAME else record.fields.get(path)


class Watcher:
    """An async iterator of lists of changes: strictly above where it began, in order, none left out, none twice."""

    def __init__(
        self,
        ring: Ring,
        namespace: str,
        after: int,
        *,
        only: Only | None = None,
        committed: Callable[[], int],
        closed: Callable[[Watcher], None],
    ) -> None:
        ring.require(after)
        self.only = only
        self._ring = ring
        self._namespace = namespace
        self._place = after
        self._committed = committed
        self._on_close = closed
        self._open = True
        self._asleep = False
        self._wakeup: asyncio.Future[None] | None = None

    @property
    def revision(self) -> int:
        """Everything up to here was handed out: what a bookmark may say."""
        if not self._asleep and self._ring.moved_since(self._place):
            return self._place
        return max(self._place, self._committed())

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> list[Change]:
        """Wait for changes and return them; one caller at a time. TooOldError when some were forgotten before they were taken."""
        while self._open:
            found = self.take()
            if found:
                return found
            await self._sleep()
        raise StopAsyncIteration

    async def _sleep(self) -> None:
        self._wakeup = asyncio.get_running_loop().create_future()
        self._asleep = True
        try:
            await self._wakeup
        finally:
            if self._asleep:  # nobody woke us: until now nothing concerned us
                self._asleep = False
                self._place = max(self._place, self._committed())

    def take(self) -> list[Change]:
        """Return what is there now, perhaps nothing."""
        while news := self._ring.after(self._place, limit=_BATCH):
            self._place = news[-1].revision
            found = self._matching(news)
            if found:
                return found
        self._place = max(self._place, self._committed())
        return []

    def wake(self, revision: int = 0) -> None:
        """Say that the resource changed at *revision*, which may concern it."""
        if self._asleep:
            self._asleep = False
            self._place = max(self._place, revision - 1)
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def close(self) -> None:
        """End the iteration; a second call does nothing."""
        if self._open:
            self._open = False
            self.wake()
            self._on_close(self)

    def _matching(self, news: Sequence[Change]) -> list[Change]:
        if self._namespace:
            news = [change for change in news if change.record.key.namespace == self._namespace]
        if self.only is not None:
            return [change for change in news if self.only.concerns(change)]
        return list(news)


class Audience:
    """Who watches one resource. Who wants one value of a field is found by it: a change of a Pod wakes its node, not a thousand."""

    def __init__(self) -> None:
        self._all: set[Watcher] = set()
        self._by: dict[str, dict[str, set[Watcher]]] = {}  # path -> value -> who wants it

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Watcher]:
        yield from self._all
        for of_value in self._by.values():
            for watchers in of_value.values():
                yield from watchers

    def add(self, watcher: Watcher) -> None:
        only = watcher.only
        (self._all if only is None else self._by.setdefault(only.path, {}).setdefault(only.value, set())).add(watcher)

    def remove(self, watcher: Watcher) -> None:
        """Forget *watcher*; a second call does nothing."""
        only = watcher.only
        if only is None:
            self._all.discard(watcher)
            return
        of_value = self._by.get(only.path, {})
        watchers = of_value.get(only.value, set())
        watchers.discard(watcher)
        if not watchers:
            of_value.pop(only.value, None)

    def wake(self, change: Change) -> None:
        """Wake those whom *change* may concern; changes come in order."""
        for watcher in self._all:
            watcher.wake(change.revision)
        for path, of_value in self._by.items():
            for value in set(_values(change, path)):
                found = of_value.get(value, ()) if value is not None else {w for ws in of_value.values() for w in ws}
                for watcher in found:
                    watcher.wake(change.revision)
