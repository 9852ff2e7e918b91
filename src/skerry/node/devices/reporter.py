"""Tells the hub how devices are: at once what people wait for, values at most every `summaryEvery`.

What must stay true: nothing that happens per sample writes an API object; what could not be told is told when the hub is back,
as it is then; a device is told at most once a second whatever happens, but for a burst of three.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from skerry.kube.api import Api
from skerry.model.errors import ApiError
from skerry.model.objects import Object, name_of, uid_of
from skerry.model.resources import DEVICES
from skerry.node.devices.device import ManagedDevice
from skerry.node.devices.status import status_patch, urgent

log = logging.getLogger(__name__)

URGENT_S = 1.0
BURST_S = 3.0
GATHER_S = 0.1
"""A new wish, its acknowledgement and the conditions that follow from it are mostly one write."""
RETRY_S = 2.0
TOGETHER = 8


class Reporter:
    """The one writer of this node's Devices' status."""

    def __init__(
        self,
        api: Api,
        *,
        clock: Callable[[], float],
        told: Callable[[Object], None],
        connected: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._api = api
        self._connected = connected
        self._clock = clock
        self._told = told
        self._due: dict[str, tuple[float, ManagedDevice]] = {}
        self._last: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._something = asyncio.Event()
        self._offline = False

    def mark(self, device: ManagedDevice, *, at_once: bool) -> None:
        """Have *device* told: at once when what people wait for has changed, else with the next summary."""
        now = asyncio.get_running_loop().time()
        if at_once:
            due = max(now + GATHER_S, self._spent.get(device.name, 0.0) - BURST_S + URGENT_S)
        else:
            due = max(now + GATHER_S, self._last.get(device.name, float("-inf")) + device.summary_every_s)
        known = self._due.get(device.name)
        if known is None or due < known[0] or known[1] is not device:
            self._due[device.name] = (due, device)
            self._something.set()

    def forget(self, device: ManagedDevice) -> None:
        """The device is no longer ours to tell of."""
        if self._due.get(device.name, (0.0, None))[1] is device:
            del self._due[device.name]
        self._last.pop(device.name, None)
        self._spent.pop(device.name, None)

    async def run(self) -> None:
        """Tell what is due until cancelled."""
        while True:
            if self._connected is not None:
                await self._connected()
            self._something.clear()
            now = asyncio.get_running_loop().time()
            ready = sorted((at, name) for name, (at, _) in self._due.items() if at <= now)[:TOGETHER]
            if ready:
                devices = [self._due.pop(name)[1] for _, name in ready]
                await asyncio.gather(*(self._tell(d) for d in devices))
                continue
            next_at = min((at for at, _ in self._due.values()), default=None)
            try:
                async with asyncio.timeout_at(next_at):
                    await self._something.wait()
            except TimeoutError:
                continue

    async def _tell(self, device: ManagedDevice) -> None:
        self._last[device.name] = now = asyncio.get_running_loop().time()
        self._spent[device.name] = max(self._spent.get(device.name, 0.0), now) + URGENT_S
        namespace, name = name_of(device.object)
        patch = status_patch(device.object, device.conditions(), device.twin, now=datetime.fromtimestamp(self._clock(), UTC))
        try:
            stored = await self._api.patch(DEVICES, namespace, name, patch, subresource="status")
        except (ConnectionError, TimeoutError) as error:
            self._retry(device, "the hub cannot be told of devices", str(error))
        except ApiError as error:
            if error.code not in (403, 404):
                self._retry(device, "the hub refused a device's status", error.message)
        else:
            self._offline = False
            if uid_of(stored) == device.twin.uid:
                self._told(stored)

    def _retry(self, device: ManagedDevice, event: str, why: str) -> None:
        if not self._offline:
            log.info(event, extra={"device": device.name, "error": why})
        self._offline = True
        due = asyncio.get_running_loop().time() + RETRY_S
        self._due.setdefault(device.name, (due, device))


def must_tell(device: ManagedDevice) -> bool:
    """Say whether the hub's copy differs in what people wait for."""
    return urgent(device.object, device.conditions(), device.twin)
