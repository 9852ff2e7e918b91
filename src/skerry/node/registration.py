"""Keeps the node known to its hub: registers the Node, renews the Lease, writes the status when it changed.

Waits are monotonic; a wrong clock changes what the times read and nothing else. The hub being away ends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from skerry.kube import Api
from skerry.model.errors import ApiError
from skerry.model.objects import Object, dig, labels_of
from skerry.model.resources import LEASES, NODES
from skerry.node.presence import LEASES_NAMESPACE, Presence, lease_object, node_labels, node_object, node_status, without_heartbeat

log = logging.getLogger(__name__)

RENEW_S = 10.0
LOOK_S = 10.0
"""How often the machine is looked at."""
HEARTBEAT_S = 300.0
"""An unchanged status is written once in five minutes, as the kubelet does it: the Lease says that we live."""
RETRY_S = 2.0
CONFLICT_S = 0.2


class Registration:
    """`run` until cancelled; `registered` tells when the hub has had our Node."""

    def __init__(
        self,
        api: Api,
        presence: Callable[[], Presence],
        *,
        connected: Callable[[], Awaitable[object]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._presence = presence
        self._connected = connected
        self._now = now
        self._lease: Object | None = None
        self._written: dict[str, Any] = {}
        self._written_at = 0.0
        self._again = asyncio.Event()
        self.registered = asyncio.Event()

    def again(self) -> None:
        """Our Node was removed: register as if for the first time."""
        self._written = {}
        self._again.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forever(self._renew, RENEW_S), name="node lease")
            group.create_task(self._forever(self._tell, LOOK_S), name="node status")

    async def _forever(self, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            await self._connected()
            wait = every_s
            try:
                await step()
            except ApiError as error:
                if error.code != 409:  # somebody else wrote our Node at the same moment
                    log.warning("the hub refused what the node says of itself", extra={"code": error.code, "error": error.message})
                wait = RETRY_S if error.code != 409 else CONFLICT_S
            except (ConnectionError, TimeoutError):
                wait = RETRY_S
            except Exception:  # a filesystem that is gone, say: everything else goes on
                log.exception("the node could not be told of")
            self._again.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._again.wait()

    async def _renew(self) -> None:
        name = self._presence().name
        try:
            if self._lease is None:
                self._lease = await self._first_lease(name)
            self._lease = await self._api.replace(LEASES, lease_object(name, self._lease, now=self._now()))
        except ApiError as error:
            self._lease = None
            if error.code not in (404, 409):
                raise

    async def _first_lease(self, name: str) -> Object:
        try:
            return await self._api.get(LEASES, LEASES_NAMESPACE, name)
        except ApiError as error:
            if error.code != 404:
                raise
        return await self._api.create(LEASES, lease_object(name, None, now=self._now()))

    async def _tell(self) -> None:
        """Write the status when it changed, or when its time has come."""
        presence, clock = self._presence(), asyncio.get_running_loop().time()
        due = not self._written or clock - self._written_at >= HEARTBEAT_S
        status = node_status(presence, self._written.get("conditions") or (), now=self._now())
        if not due and without_heartbeat(status) == without_heartbeat(self._written):
            return
        node = await self._node(presence)
        status = node_status(presence, dig(node, "status", "conditions", default=[]), now=self._now())
        await self._api.patch(NODES, "", presence.name, {"status": status}, form="strategic", subresource="status")
        self._written, self._written_at = status, clock
        self.registered.set()

    async def _node(self, presence: Presence) -> Object:
        """Return our Node, made or with our labels set if need be."""
        try:
            node = await self._api.get(NODES, "", presence.name)
        except ApiError as error:
            if error.code != 404:
                raise
            return await self._api.create(NODES, node_object(presence))
        wanted = node_labels(presence)
        stale = [k for k in labels_of(node) if k.startswith("runtime.skerry.dev/") and k not in wanted]
        if stale or any(labels_of(node).get(k) != v for k, v in wanted.items()):
            labels: dict[str, str | None] = {**wanted, **dict.fromkeys(stale)}
            node = await self._api.patch(NODES, "", presence.name, {"metadata": {"labels": labels}})
        return node
