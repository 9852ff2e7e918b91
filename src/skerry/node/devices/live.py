"""Answers the hub's `twin` streams: one DeviceTwin a line, and a new line when it changed, not more often than `PACE_S`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from skerry.model.errors import bad_request, not_found
from skerry.model.objects import Name
from skerry.model.resources import DEVICETWINS
from skerry.node.devices.device import ManagedDevice

PACE_S = 0.2


class Stream(Protocol):
    """What the handler needs of a stream that the hub asked for."""

    async def send(self, data: bytes) -> None: ...


class TwinHandler:
    """`HubLink.handle("twin", handler)`: params are namespace, name and watch."""

    def __init__(self, find: Callable[[Name], ManagedDevice | None]) -> None:
        self._find = find

    async def __call__(self, params: dict[str, Any], stream: Stream) -> None:
        """Send the twin; with watch, again and again until the device is gone or the hub has enough."""
        namespace, text = params.get("namespace"), params.get("name")
        if not isinstance(namespace, str) or not isinstance(text, str):
            raise bad_request("a twin stream needs namespace and name")
        name = Name(namespace, text)
        device = self._find(name)
        if device is None:
            raise not_found(DEVICETWINS.plural, DEVICETWINS.group, text)
        watch = params.get("watch") in (True, "true", "1")
        while True:
            news = device.news
            await stream.send(msgspec.json.encode(device.live()) + b"\n")
            if not watch:
                return
            await news.wait()
            await asyncio.sleep(PACE_S)
            device = self._find(name)
            if device is None:
                return
