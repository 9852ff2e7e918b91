"""Pins each Device to a node (`status.nodeName`), and says so when there is none or it is not heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from skerry.controllers.fleet.device_plan import allows, place, status_patch
from skerry.controllers.informers import Informers
from skerry.kube import Api, Change, Controller
from skerry.model.conditions import get_condition
from skerry.model.objects import Name, Object, dig, labels_of, name_of, uid_of
from skerry.model.resources import DEVICES, NODES

BY_NODE = "device node"
FEW = 8
"""Changed nodes, as they were and are, that are held against each Device without one; of more it is not asked whom they concern."""
UNPLACED = Name("", "")
"""In the queue of Devices: those that have no node."""


def _node(device: Object) -> Iterable[str]:
    return (str(dig(device, "status", "nodeName", default="")),)


def _matters(node: Object | None) -> tuple[object, object]:
    """What of a node placement depends on: not its heartbeat."""
    ready = get_condition(dig(node, "status", "conditions"), "Ready") or {}
    return (labels_of(node), ready.get("status")) if node is not None else (None, None)


class Devices:
    """The Device controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._devices, self._nodes = informers.of(DEVICES), informers.of(NODES)
        self._devices.add_index(BY_NODE, _node)
        self._changed: list[Object] = []  # nodes as they were and are
        self.controller = Controller[Name]("devices", self.reconcile)
        self._devices.subscribe(lambda change: self.controller.queue.add(change.name))
        self._nodes.subscribe(self._on_node)

    def _on_node(self, change: Change) -> None:
        """A node came, went, or changed: its own Devices may have to move, and those without a node may find one."""
        if _matters(change.old) == _matters(change.new):
            return
        for device in self._devices.indexed(BY_NODE, change.name.name):
            self.controller.queue.add(name_of(device))
        if len(self._changed) <= FEW:
            self._changed += [n for n in (change.old, change.new) if n is not None]
        self.controller.queue.add(UNPLACED)

    async def reconcile(self, name: Name) -> None:
        if name == UNPLACED:
            self._look_at_unplaced()
            return
        device = self._devices.get(*name)
        if device is None or "deletionTimestamp" in device["metadata"]:
            return
        placement = place(device, self._nodes.view(), lambda node: self._devices.count(BY_NODE, node))
        patch = status_patch(device, placement, self._nodes.get("", placement.node), now=self._now())
        if patch is not None:
            body = {"metadata": {"uid": uid_of(device)}, "status": patch}
            self._devices.learn(await self._api.patch(DEVICES, *name, body, subresource="status"))

    def _look_at_unplaced(self) -> None:
        """Look at the Devices without a node that the changed nodes concern: thousands may wait for others."""
        nodes, self._changed = self._changed, []
        for device in self._devices.indexed(BY_NODE, ""):
            if len(nodes) > FEW or any(allows(device, node) for node in nodes):
                self.controller.queue.add(name_of(device))
