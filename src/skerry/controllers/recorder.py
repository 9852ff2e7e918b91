"""Writes Events: what happened to an object, for people who read `kubectl describe`. Repetition is counted, not repeated.

An Event is a courtesy: failing to write one is logged and never stops the work it tells about.
"""

from __future__ import annotations

import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import msgspec

from skerry.kube import Api
from skerry.model.errors import ApiError
from skerry.model.objects import Object, metadata
from skerry.model.resources import EVENTS
from skerry.model.times import rfc3339

log = logging.getLogger(__name__)

REMEMBERED = 2000
"""Events that may still be counted up; an older one that happens again becomes a new object."""

REPEAT_S = 10.0
"""The same Event is written at most this often."""

MESSAGE_LIMIT = 1024
"""Kubernetes' limit of an Event's message, in characters."""

_Key = tuple[str, str, str, str]


class _Written(msgspec.Struct):
    namespace: str
    name: str
    count: int
    at: datetime


class Recorder:
    """Writes the Events of one component."""

    def __init__(self, api: Api, component: str, now: Callable[[], datetime]) -> None:
        self._api, self._component, self._now = api, component, now
        self._written: OrderedDict[_Key, _Written] = OrderedDict()

    async def normal(self, about: Object, reason: str, message: str) -> None:
        await self._record(about, "Normal", reason, message)

    async def warning(self, about: Object, reason: str, message: str) -> None:
        await self._record(about, "Warning", reason, message)

    async def _record(self, about: Object, kind: str, reason: str, message: str) -> None:
        message = message[:MESSAGE_LIMIT]
        key = (str(metadata(about).get("uid")), kind, reason, message)
        written, now = self._written.get(key), self._now()
        if written is not None and 0 <= (now - written.at).total_seconds() < REPEAT_S:
            return
        try:
            if written is None or not await self._count_up(written, now):
                written = await self._create(about, kind, reason, message, now)
        except (ApiError, ConnectionError) as error:
            log.info("event not written", extra={"reason": reason, "about": str(metadata(about).get("name")), "error": str(error)})
            return
        self._written[key] = written
        self._written.move_to_end(key)
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)

    async def _count_up(self, written: _Written, now: datetime) -> bool:
        patch = {"count": written.count + 1, "lastTimestamp": rfc3339(now)}
        try:
            await self._api.patch(EVENTS, written.namespace, written.name, patch)
        except ApiError as error:
            if error.code == 404:  # its time was over
                return False
            raise
        written.count, written.at = written.count + 1, now
        return True

    async def _create(self, about: Object, kind: str, reason: str, message: str, now: datetime) -> _Written:
        meta = metadata(about)
        namespace = meta.get("namespace") or "default"
        name = f"{meta['name']}.{uuid.uuid4().hex[:16]}"
        involved = {
            "apiVersion": about.get("apiVersion"),
            "kind": about.get("kind"),
            "name": meta["name"],
            "namespace": meta.get("namespace"),
            "uid": meta.get("uid"),
            "resourceVersion": meta.get("resourceVersion"),
        }
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": namespace, "name": name},
            "involvedObject": {k: v for k, v in involved.items() if v},
            "reason": reason,
            "message": message,
            "type": kind,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": rfc3339(now),
            "lastTimestamp": rfc3339(now),
            "count": 1,
        }
        await self._api.create(EVENTS, event)
        return _Written(namespace, name, 1, now)
