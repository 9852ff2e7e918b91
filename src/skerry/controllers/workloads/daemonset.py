"""Carries out the plan of DaemonSets, and keeps their history for `kubectl rollout history` and `undo`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from skerry.controllers.informers import BY_CONTROLLER, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads import daemonset_plan as rules
from skerry.controllers.workloads import history
from skerry.controllers.workloads.pod_control import PodControl
from skerry.controllers.workloads.revisions import Revisions
from skerry.kube import Api, Change, Controller
from skerry.model.conditions import get_condition
from skerry.model.objects import Name, Object, controller_of, dig, labels_of, name_of, uid_of
from skerry.model.resources import DAEMONSETS, NODES, PODS


class DaemonSets:
    """The DaemonSet controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._daemonsets, self._nodes, self._pods = (informers.of(r) for r in (DAEMONSETS, NODES, PODS))
        self._history = Revisions(api, informers, history.DAEMONSET_HASH)
        self._events = Recorder(api, "daemonset-controller", now)
        self._control = PodControl(api, self._pods, self._events)
        self.controller = Controller[Name]("daemonset", self.reconcile)
        self._daemonsets.subscribe(lambda change: self.controller.queue.add(change.name))
        self._nodes.subscribe(self._on_node)
        self._pods.subscribe(self._on_pod)

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
        try:
            await self._keep_history(daemonset)
            for step in rules.plan(daemonset, list(self._nodes.objects()), self._owned(daemonset), now=self._now()):
                await self._carry_out(daemonset, step)
        finally:
            again_s = await self._write_status(daemonset)
        return again_s

    async def _keep_history(self, daemonset: Object) -> None:
        title = name_of(daemonset).name
        live = {f"{title}-{labels_of(p).get(rules.HASH_LABEL, '')}" for p in self._owned(daemonset)}
        if await self._history.keep(daemonset, live=live):
            taken = f"{title}-{rules.revision(daemonset)}"
            await self._events.warning(daemonset, "FailedHistory", f"ControllerRevision {taken} belongs to somebody else")

    def _owned(self, daemonset: Object) -> list[Object]:
        return [p for p in self._pods.indexed(BY_CONTROLLER, uid_of(daemonset)) if uid_of(p) not in self._control.deleted]

    async def _carry_out(self, daemonset: Object, step: rules.Step) -> None:
        match step:
            case rules.CreateOn(node):
                await self._control.create(daemonset, rules.pod_for(daemonset, node))
            case rules.Delete(pod):
                await self._control.delete(daemonset, pod)

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
