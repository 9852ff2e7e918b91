"""Events live for an hour after they were last written or last happened, counted on the hub's own monotonic clock.

A node that was away for a week tells then what happened: that is to be read for an hour too. The wall clock is read once an
Event, when it is first seen, to know how much of its hour has gone; a clock that jumps later deletes nothing early.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from skerry.kube import Api, Change, Controller, Informer
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, dig, metadata
from skerry.model.resources import EVENTS
from skerry.model.times import parse_time

log = logging.getLogger(__name__)

_TIMES = (("lastTimestamp",), ("series", "lastObservedTime"), ("eventTime",), ("metadata", "creationTimestamp"))


def touched_at(event: Object) -> datetime | None:
    """Return when the Event was last written or last happened, whichever is later; None when it does not say."""
    texts = [dig(event, *path) for path in _TIMES]
    texts += [entry.get("time") for entry in metadata(event).get("managedFields") or ()]
    return max((at for text in texts if text and (at := _time(text)) is not None), default=None)


def _time(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None


def remaining_s(event: Object, *, ttl_s: float, now: datetime) -> float:
    """Return how long the Event may stay: the whole time when its own time is unknown or lies ahead."""
    at = touched_at(event)
    age_s = (now - at).total_seconds() if at is not None else 0.0
    return max(0.0, ttl_s - max(0.0, age_s))


def _essence(event: Object) -> Object:
    return {"metadata": {k: v for k, v in metadata(event).items() if k in ("name", "namespace", "uid", "resourceVersion")}}


class EventExpiry:
    """Deletes Events whose time is over."""

    def __init__(self, api: Api, now: Callable[[], datetime], *, ttl_s: float = 3600.0) -> None:
        self._api, self._now, self._ttl_s = api, now, ttl_s
        self._due: dict[Name, float] = {}
        self._informer = Informer(api, EVENTS, shrink=self._first_seen)
        self.controller = Controller[Name]("event-expiry", self.reconcile)
        self._informer.subscribe(self._on_change)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run())
            group.create_task(self.controller.run())

    def _first_seen(self, event: Object) -> Object:
        name = Name(metadata(event).get("namespace") or "", metadata(event).get("name") or "")
        known = name in self._due
        left_s = self._ttl_s if known else remaining_s(event, ttl_s=self._ttl_s, now=self._now())
        self._due[name] = asyncio.get_running_loop().time() + left_s
        return _essence(event)

    def _on_change(self, change: Change) -> None:
        if change.new is None:
            self._due.pop(change.name, None)
        elif change.old is None:
            self.controller.queue.add_after(change.name, self._left_s(change.name))

    def _left_s(self, name: Name) -> float:
        return self._due.get(name, 0.0) - asyncio.get_running_loop().time()

    async def reconcile(self, name: Name) -> float | None:
        if self._informer.get(*name) is None:
            return None
        left_s = self._left_s(name)
        if left_s > 0:
            return left_s
        try:
            await self._api.delete(EVENTS, *name)
        except ApiError as error:
            if error.code != 404:
                raise
        return None
