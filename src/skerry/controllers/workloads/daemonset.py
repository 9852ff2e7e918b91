"""Carries out the plan of DaemonSets, and keeps their history for `kubectl rollout history` and `undo`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import datetime

from skerry.controllers.informers import BY_CONTROLLER, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads import daemonset_plan as rules
from skerry.controllers.workloads import history
from skerry.controllers.workloads.pod_control import PodControl
from skerry.controllers.workloads.pods import is_finished
from skerry.controllers.workloads.revisions import Revisions
from skerry.kube import Api, Change, Controller
from skerry.model.conditions import get_condition
from skerry.model.objects import Name, Object, controller_of, dig, labels_of, name_of, uid_of
from skerry.model.resources import DAEMONSETS, NODES, PODS

MOST_S = 900.0
"""Kubernetes' longest wait before a Pod that keeps failing is replaced."""


class DaemonSets:
    """The DaemonSet controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._daemonsets, self._nodes, self._pods = (informers.of(r) for r in (DAEMONSETS, NODES, PODS))
        self._history = Revisions(api, informers, history.DAEMONSET_HASH)
        self._events = Recorder(api, "daemonset-controller", now)
        self._control = PodControl(api, self._pods, self._events)
        self.controller = Controller[Name]("daemonset", self.reconcile)
        # DaemonSet's UID, node -> the template's revision, failed Pods of it in a row, when the last went
        self._failed: dict[tuple[str, str], tuple[str, int, float]] = {}
        self._daemonsets.subscribe(self._on_daemonset)
        self._nodes.subscribe(self._on_node)
        self._pods.subscribe(self._on_pod)

    def _on_daemonset(self, change: Change) -> None:
        self.controller.queue.add(change.name)
        if change.new is None:
            self._failed = {key: seen for key, seen in self._failed.items() if key[0] != uid_of(change.object)}

    def _on_node(self, change: Change) -> None:
        if change.old is None or change.new is None or _matters(change.old) != _matters(change.new):
            for name in self._daemonsets.view():
                self.controller.queue.add(name)

    def _on_pod(self, change: Change) -> None:
        self._control.seen(change)
        owner = controller_of(change.object)
        if owner is not None and owner.get("kind") == "DaemonSet":
            self.controller.queue.add(Name(change.name.namespace, owner["name"]))

    async def reconcile(self, name: Name) -> float | None:
        daemonset = self._daemonsets.get(*name)
        if daemonset is None:
            return None
        waits: list[float | None] = []
        try:
            await self._keep_history(daemonset)
            steps = rules.plan(daemonset, list(self._nodes.objects()), self._owned(daemonset), now=self._now())
            waits += [await self._carry_out(daemonset, step) for step in steps]
        finally:
            waits.append(await self._write_status(daemonset))
        return min((w for w in waits if w), default=None)

    async def _keep_history(self, daemonset: Object) -> None:
        title = name_of(daemonset).name
        live = {f"{title}-{labels_of(p).get(rules.HASH_LABEL, '')}" for p in self._owned(daemonset)}
        if await self._history.keep(daemonset, live=live):
            taken = f"{title}-{rules.revision(daemonset)}"
            await self._events.warning(daemonset, "FailedHistory", f"ControllerRevision {taken} belongs to somebody else")

    def _owned(self, daemonset: Object) -> list[Object]:
        return self._control.left(self._pods.indexed(BY_CONTROLLER, uid_of(daemonset)))

    async def _carry_out(self, daemonset: Object, step: rules.Step) -> float | None:
        """Take a step; returns the seconds for which it has to wait, None when it was taken."""
        match step:
            case rules.CreateOn(node):
                await self._control.create(daemonset, rules.pod_for(daemonset, node))
            case rules.Delete(pod):
                left_s = await self._say_ended(daemonset, pod) if is_finished(pod) else 0.0
                if left_s:
                    return left_s
                await self._control.delete(daemonset, pod)
        return None

    async def _say_ended(self, daemonset: Object, pod: Object) -> float:
        """Tell that a Pod ended by itself; returns the seconds before it may be replaced: a second at first, at most 15 minutes."""
        where = f"{name_of(pod)} on node {rules.node_of(pod)}"
        if dig(pod, "status", "phase") == "Succeeded":
            await self._events.normal(daemonset, "SucceededDaemonPod", f"Found succeeded daemon pod {where}, will try to delete it")
            return 0.0
        key, at = (uid_of(daemonset), rules.node_of(pod)), asyncio.get_running_loop().time()
        mark = rules.revision(daemonset)
        tried, failed, last = self._failed.get(key, ("", 0, -math.inf))
        if tried != mark:  # a new template may be what mends it
            failed, last = 0, -math.inf
        left_s = min(MOST_S, 2.0 ** min(failed - 1, 32)) - (at - last)
        if left_s > 0:
            return left_s
        self._failed[key] = (mark, 1 if at - last > 2 * MOST_S else failed + 1, at)
        await self._events.warning(daemonset, "FailedDaemonPod", f"Found failed daemon pod {where}, will try to kill it")
        return 0.0

    async def _write_status(self, daemonset: Object) -> float | None:
        nodes = list(self._nodes.objects())
        status, again_s = rules.status(daemonset, nodes, self._owned(daemonset), now=self._now())
        old = daemonset.get("status") or {}
        if status != old:
            patch = {"metadata": {"uid": uid_of(daemonset)}, "status": {**{k: None for k in old if k not in status}, **status}}
            self._daemonsets.learn(await self._api.patch(DAEMONSETS, *name_of(daemonset), patch, subresource="status"))
        return again_s


def _matters(node: Object) -> tuple[object, ...]:
    ready = get_condition(dig(node, "status", "conditions"), "Ready") or {}
    return (labels_of(node), dig(node, "spec", "taints"), ready.get("status"))
