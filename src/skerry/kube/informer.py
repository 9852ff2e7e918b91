"""Keeps a collection at hand: lists it, watches on, and tells its subscribers what changed.

A lost connection is tried again with jitter and back-off; a watch goes on where it ended, and only 410 makes a new list.
Until the first list is in, nothing is known and `synced` is false. Objects handed out are shared: never modify them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from skerry.kube.api import Api
from skerry.kube.backoff import Backoff
from skerry.kube.cache import Cache, Change, Keys, Shrink
from skerry.kube.closing import closing
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object
from skerry.model.resources import Resource

log = logging.getLogger(__name__)

Subscriber = Callable[[Change], None]

RECONNECT = Backoff(first_s=0.5, limit_s=30.0)
"""First retry within half a second, later ones at most every 30 s: fast after a hub restart, calm in an outage."""


class Informer:
    """One collection as it is, at most a moment ago."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        shrink: Shrink | None = None,
        backoff: Backoff = RECONNECT,
    ) -> None:
        self.resource = resource
        self._api = api
        self._namespace, self._labels, self._fields = namespace, labels, fields
        self._cache = Cache(shrink=shrink)
        self._backoff = backoff
        self._subscribers: list[Subscriber] = []
        self._on_list: list[Callable[[], None]] = []
        self._synced = asyncio.Event()
        self._watch_from = ""
        self._following = False

    @property
    def synced(self) -> bool:
        return self._synced.is_set()

    @property
    def following(self) -> bool:
        """Whether a watch is open, so that silence means that nothing happened."""
        return self._following

    async def wait_synced(self) -> None:
        """Return once the first list is in."""
        await self._synced.wait()

    def get(self, namespace: str, name: str) -> Object | None:
        return self._cache.get(Name(namespace, name))

    def objects(self) -> Collection[Object]:
        return self._cache.objects()

    def view(self) -> Mapping[Name, Object]:
        return self._cache.view()

    def add_index(self, title: str, keys: Keys) -> None:
        self._cache.add_index(title, keys)

    def indexed(self, title: str, key: str) -> list[Object]:
        return self._cache.indexed(title, key)

    def count(self, title: str, key: str) -> int:
        return self._cache.count(title, key)

    def learn(self, obj: Object) -> None:
        """Know the answer to our own write at once, without waiting for its event."""
        self._tell(self._cache.learn(obj))

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call *subscriber* with every change from now on, on the event loop; it must not block or raise."""
        self._subscribers.append(subscriber)

    def subscribe_lists(self, subscriber: Callable[[], None]) -> None:
        """Call *subscriber* after each complete list: what was deleted unseen before it, and not kept here, is told by nothing else."""
        self._on_list.append(subscriber)

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        attempt, loop = 0, asyncio.get_running_loop()
        while True:
            began, before, planned = loop.time(), self._cache.revision, False
            try:
                await self._follow()
                planned = True
            except ApiError as error:
                self._on_refusal(error)
            except (ConnectionError, TimeoutError) as error:
                if attempt == 0:
                    log.info("watch lost", extra={"resource": self.resource.key, "error": str(error)})
            if self._cache.revision > before or loop.time() - began > self._backoff.limit_s:
                attempt = 0  # it went well for a while
            # A watch that ended as planned goes on at once; one that keeps ending at once backs off too.
            if not planned or attempt:
                await asyncio.sleep(self._backoff.delay_s(attempt))
            attempt += 1

    def _on_refusal(self, error: ApiError) -> None:
        if error.code == 410:
            log.info("watch expired, listing again", extra={"resource": self.resource.key})
            self._watch_from = ""
        else:
            log.warning("watch refused", extra={"resource": self.resource.key, "code": error.code, "error": error.message})

    async def _follow(self) -> None:
        if not self._watch_from:
            await self._list()
        selection = {"labels": self._labels, "fields": self._fields}
        events = self._api.watch(self.resource, self._namespace, **selection, revision=self._watch_from)
        self._following = True
        try:
            async with closing(events):
                async for event in events:
                    self._tell(self._cache.apply(event))
                    self._watch_from = str(self._cache.revision)
        finally:
            self._following = False

    async def _list(self) -> None:
        found = await self._api.list(self.resource, self._namespace, labels=self._labels, fields=self._fields)
        changes = self._cache.replace(found.items, found.revision)
        self._watch_from = found.revision
        self._tell(changes)
        self._synced.set()
        for subscriber in self._on_list:
            subscriber()

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            for subscriber in self._subscribers:
                subscriber(change)
