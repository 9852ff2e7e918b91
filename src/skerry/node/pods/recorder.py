"""Writes Events about Pods and the node, seldom enough: a repeated one is counted, and everything is bounded.

Nothing waits for an Event, and without a hub the newest few hundred are kept until there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from skerry.kube import Api
from skerry.model.chance import token
from skerry.model.errors import ApiError
from skerry.model.objects import Object, metadata
from skerry.model.resources import EVENTS
from skerry.model.times import rfc3339

log = logging.getLogger(__name__)

COMPONENT = "skerry-node"
MAX_KNOWN = 256
"""Different Events that are remembered: the ones longest not seen are forgotten, and then begin anew."""
BURST = 25
REFILL_S = 60.0
"""An object may have 25 different Events at once and one more a minute: a Pod that goes mad floods nobody."""
REPEAT_S = 30.0
"""A repeated Event is written again at most so often."""
MAX_MESSAGE = 1024


class _Known(msgspec.Struct):
    """One Event as it was written, or waits to be. `dirty` when the API does not know the latest count."""

    obj: Object
    written: bool = False
    dirty: bool = True
    due: float = 0.0


class EventRecorder:
    """`record` never waits; `run` carries the Events to the API."""

    def __init__(self, api: Api, node: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._api = api
        self._node = node
        self._now = now
        self._known: OrderedDict[tuple[str, ...], _Known] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._wake = asyncio.Event()

    def record(self, about: Object, reason: str, message: str, *, warning: bool = False, field: str = "") -> None:
        """Say that *reason* happened to *about*; *field* is the part, such as `spec.containers{app}`."""
        message = message[:MAX_MESSAGE]
        key = (str(metadata(about).get("uid") or metadata(about).get("name")), reason, message, field)
        clock = asyncio.get_running_loop().time()
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            known.obj["count"] += 1
            known.obj["lastTimestamp"] = rfc3339(self._now())
            known.dirty = True
        elif self._allowed(key[0], clock):
            self._known[key] = _Known(self._event(about, reason, message, warning=warning, field=field), due=clock)
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        self._wake.set()

    def _allowed(self, uid: str, clock: float) -> bool:
        tokens, since = self._tokens.pop(uid, (float(BURST), clock))
        tokens = min(float(BURST), tokens + (clock - since) / REFILL_S)
        self._tokens[uid] = (tokens - 1 if tokens >= 1 else tokens, clock)
        while len(self._tokens) > MAX_KNOWN:
            self._tokens.popitem(last=False)
        return tokens >= 1

    def _event(self, about: Object, reason: str, message: str, *, warning: bool, field: str) -> Object:
        meta, at = metadata(about), rfc3339(self._now())
        involved: dict[str, Any] = {
            "apiVersion": about.get("apiVersion") or "v1",
            "kind": about.get("kind") or "Pod",
            "name": meta.get("name"),
            "uid": meta.get("uid"),
            "resourceVersion": meta.get("resourceVersion"),
        }
        if meta.get("namespace"):
            involved["namespace"] = meta["namespace"]
        if field:
            involved["fieldPath"] = field
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta.get('name')}.{token(8)}", "namespace": meta.get("namespace") or "default"},
            "involvedObject": {k: v for k, v in involved.items() if v},
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "source": {"component": COMPONENT, "host": self._node},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._node,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }

    async def run(self) -> None:
        """Write what is due until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            waiting = [k for k in self._known.values() if k.dirty]
            for known in [k for k in waiting if k.due <= loop.time()]:
                if not await self._write(known):
                    break
            waits = [k.due for k in self._known.values() if k.dirty]
            timeout = max(0.05, min(waits) - loop.time()) if waits else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._wake.wait()

    async def _write(self, known: _Known) -> bool:
        """Return False when there is no point in trying the next one now."""
        known.dirty, known.due = False, asyncio.get_running_loop().time() + REPEAT_S
        obj = known.obj
        try:
            if known.written:
                patch = {"count": obj["count"], "lastTimestamp": obj["lastTimestamp"]}
                await self._api.patch(EVENTS, obj["metadata"]["namespace"], obj["metadata"]["name"], patch)
            else:
                await self._api.create(EVENTS, obj)
                known.written = True
        except ApiError as error:
            log.debug("event refused", extra={"reason": obj["reason"], "code": error.code, "error": error.message})
            known.written = False  # it expired, or may not be changed: the next one is a new one
            obj["metadata"]["name"] = f"{obj['involvedObject'].get('name')}.{token(8)}"
        except (ConnectionError, TimeoutError):
            known.dirty, known.due = True, asyncio.get_running_loop().time() + 5.0
            return False
        return True
