"""Watches over the nodes: turns those NotReady that are not heard, and back what we marked when they are heard again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from skerry.controllers.informers import BY_NODE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads import nodelife_plan as rules
from skerry.controllers.workloads.pods import disruption, is_finished
from skerry.controllers.workloads.silence import Silence
from skerry.kube import Api, Change, Controller, Informer
from skerry.model.conditions import get_condition
from skerry.model.objects import Object, dig, metadata, name_of, uid_of
from skerry.model.resources import LEASES, NODES, PODS

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
GRACE_S = 40.0
"""Kubernetes' node-monitor-grace-period: four missed Leases of ten seconds."""

TICK_S = 2.0


class NodeLifecycle:
    """The node lifecycle controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime], *, grace_s: float = GRACE_S) -> None:
        self._api, self._now = api, now
        self._nodes, self._pods = informers.of(NODES), informers.of(PODS)
        self._leases = Informer(api, LEASES, namespace=LEASE_NAMESPACE, shrink=_name_only)
        self._silence = Silence(grace_s=grace_s, longest_tick_s=2 * TICK_S)
        self._said: dict[str, dict[str, Any]] = {}  # node -> its own Ready condition, before we marked it
        self._events = Recorder(api, "node-controller", now)
        self.controller = Controller[str]("node-lifecycle", self.reconcile)
        self._leases.subscribe(self._on_lease)
        self._nodes.subscribe(self._on_node)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._leases.run())
            group.create_task(self.controller.run())
            group.create_task(self._listen())

    async def _listen(self) -> None:
        await self._nodes.wait_synced()
        await self._leases.wait_synced()
        loop = asyncio.get_running_loop()
        while True:
            names = [n.name for n in self._nodes.view()]
            self._silence.tick(loop.time(), names, listening=self._leases.following and self._nodes.following)
            for name in names:
                if self._silence.is_silent(name):
                    self.controller.queue.add(name)
            await asyncio.sleep(TICK_S)

    def _on_lease(self, change: Change) -> None:
        if change.new is not None:
            self._hear(change.name.name)

    def _on_node(self, change: Change) -> None:
        name = change.name.name
        if change.new is None:
            self._silence.forget(name)
            self._said.pop(name, None)
            return
        said = _heartbeat(change.new)
        if change.old is not None and said is not None and said != _heartbeat(change.old):
            self._hear(name)  # not when it was us who marked it
        self.controller.queue.add(name)

    def _hear(self, node: str) -> None:
        was_silent = self._silence.is_silent(node)
        self._silence.heard(node)
        if was_silent:
            self.controller.queue.add(node)

    async def reconcile(self, name: str) -> None:
        node = self._nodes.get("", name)
        if node is None:
            return
        silent = self._silence.is_silent(name)
        if silent and not rules.is_marked(node):
            node = await self._mark(node)
        elif not silent and rules.is_marked(node) and name in self._said:
            node = await self._take_back(node)
        await self._taint(node)
        if rules.is_marked(node):
            await self._write_pods(name, rules.unready_conditions)
        elif rules.ready_status(node) == "True":
            await self._write_pods(name, rules.ready_again_conditions)

    async def _mark(self, node: Object) -> Object:
        said = get_condition(dig(node, "status", "conditions"), "Ready")
        if said is not None:
            self._said[name_of(node).name] = dict(said)
        log.warning("node not heard", extra={"node": name_of(node).name, "grace_s": self._silence.grace_s})
        changed = await self._write_conditions(node, rules.silenced_conditions(node, self._now()))
        await self._events.normal(node, "NodeNotReady", f"Node {name_of(node).name} status is now: NodeNotReady")
        return changed

    async def _take_back(self, node: Object) -> Object:
        """The node is heard again and has not spoken for itself yet: what it said last holds again."""
        said = self._said.pop(name_of(node).name)
        conditions = [said if c["type"] == "Ready" else c for c in dig(node, "status", "conditions", default=[])]
        log.info("node heard again", extra={"node": name_of(node).name})
        return await self._write_conditions(node, conditions)

    async def _write_conditions(self, node: Object, conditions: list[dict[str, Any]]) -> Object:
        meta = {"uid": uid_of(node), "resourceVersion": metadata(node)["resourceVersion"]}
        patch = {"metadata": meta, "status": {"conditions": conditions}}
        changed = await self._api.patch(NODES, *name_of(node), patch, subresource="status")
        self._nodes.learn(changed)
        return changed

    async def _taint(self, node: Object) -> None:
        taints = rules.wanted_taints(node, self._now())
        if taints != dig(node, "spec", "taints", default=[]):
            meta = {"uid": uid_of(node), "resourceVersion": metadata(node)["resourceVersion"]}
            self._nodes.learn(await self._api.patch(NODES, *name_of(node), {"metadata": meta, "spec": {"taints": taints or None}}))

    async def _write_pods(self, node: str, rule: Callable[[Object, datetime], list[dict[str, Any]] | None]) -> None:
        for pod in self._pods.indexed(BY_NODE, node):
            conditions = rule(pod, self._now())
            if conditions is not None:
                patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": conditions}}
                self._pods.learn(await self._api.patch(PODS, *name_of(pod), patch, subresource="status"))


def _name_only(lease: Object) -> Object:
    """Return what is kept of a Lease: that it changed is all that is asked of it."""
    meta = metadata(lease)
    return {"metadata": {k: meta[k] for k in ("name", "namespace", "resourceVersion") if k in meta}}


def _heartbeat(node: Object) -> object:
    """Return what only the node itself writes about its being alive."""
    condition = get_condition(dig(node, "status", "conditions"), "Ready") or {}
    return None if condition.get("reason") == rules.REASON else condition.get("lastHeartbeatTime")


class OrphanedPods:
    """Removes Pods of nodes that were deleted: nobody is left to end them."""

    QUARANTINE_S = 60.0
    """A Node that was deleted by mistake is back by then, and its Pods are still its own."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._nodes, self._pods = informers.of(NODES), informers.of(PODS)
        self._missing_since: dict[str, float] = {}
        self.controller = Controller[str]("orphaned-pods", self.reconcile)
        self._nodes.subscribe(self._on_node)
        self._pods.subscribe(self._on_pod)

    def _on_node(self, change: Change) -> None:
        self.controller.queue.add(change.name.name)

    def _on_pod(self, change: Change) -> None:
        node = dig(change.new, "spec", "nodeName")
        if node and self._nodes.get("", node) is None:
            self.controller.queue.add(node)

    async def reconcile(self, node: str) -> float | None:
        if not self._nodes.synced:
            return 1.0
        if self._nodes.get("", node) is not None or not self._pods.indexed(BY_NODE, node):
            self._missing_since.pop(node, None)
            return None
        now = asyncio.get_running_loop().time()
        left_s = self._missing_since.setdefault(node, now) + self.QUARANTINE_S - now
        if left_s > 0:
            return left_s
        for pod in self._pods.indexed(BY_NODE, node):
            if not is_finished(pod):
                patch = disruption(pod, "DeletionByPodGC", "PodGC: node no longer exists", self._now())
                patch["status"]["phase"] = "Failed"
                await self._api.patch(PODS, *name_of(pod), patch, subresource="status")
            log.info("pod of a deleted node removed", extra={"pod": str(name_of(pod)), "node": node})
            await self._api.delete(PODS, *name_of(pod), uid=uid_of(pod), grace_s=0)
        return None
