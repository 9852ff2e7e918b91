"""Binds Pods to nodes as `scheduling` decides, and says on the Pod and in an Event why one cannot be bound.

A binding counts from the moment we asked for it, so that two Pods do not take the same room before the watch tells.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from skerry.controllers.informers import BY_NODE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads.scheduling import (
    DEFAULT_SCHEDULER,
    PROCESS_HANDLER,
    NodeState,
    Placed,
    Unschedulable,
    node_state,
    schedule,
)
from skerry.kube import Api, Change, Controller
from skerry.model.conditions import get_condition, with_condition
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, dig, metadata, name_of, uid_of
from skerry.model.resources import NODES, PODS, RUNTIMECLASSES


class Scheduler:
    """The scheduler for `spec.schedulerName: default-scheduler`."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._pods, self._nodes, self._classes = (informers.of(r) for r in (PODS, NODES, RUNTIMECLASSES))
        self._events = Recorder(api, DEFAULT_SCHEDULER, now)
        self._assumed: dict[str, tuple[str, Object]] = {}  # UID -> node and Pod, bound but not yet seen so
        self._states: dict[str, NodeState] = {}  # by node, until something about the node or its Pods changes
        self.controller = Controller[Name]("scheduler", self.reconcile)
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)
        self._classes.subscribe(self._on_class)

    def _on_pod(self, change: Change) -> None:
        node = dig(change.object, "spec", "nodeName", default="")
        self._states.pop(node, None)
        if change.new is None or node:
            self._forget(uid_of(change.object))
        if change.new is not None and _is_ours(change.new):
            self.controller.queue.add(change.name)
        elif change.new is None and dig(change.old, "spec", "nodeName"):
            self._look_at_all()  # there is room again

    def _on_class(self, change: Change) -> None:
        self._states.clear()
        self._look_at_all()

    def _assume(self, pod: Object, node: str) -> None:
        self._assumed[uid_of(pod)] = (node, pod)
        self._states.pop(node, None)

    def _forget(self, uid: str) -> None:
        if uid in self._assumed:
            self._states.pop(self._assumed.pop(uid)[0], None)

    def _on_node(self, change: Change) -> None:
        self._states.pop(change.name.name, None)
        if change.old is None or change.new is None or _matters(change.old) != _matters(change.new):
            self._look_at_all()

    def _look_at_all(self) -> None:
        for pod in self._pods.indexed(BY_NODE, ""):
            if _is_ours(pod):
                self.controller.queue.add(name_of(pod))

    async def reconcile(self, name: Name) -> float | None:
        pod = self._pods.get(*name)
        if pod is None or not _is_ours(pod) or uid_of(pod) in self._assumed:
            return None
        match self._decide(pod):
            case Placed(node):
                await self._bind(pod, node)
            case Unschedulable(message):
                await self._say(pod, message)
        return None

    def _decide(self, pod: Object) -> Placed | Unschedulable:
        wanted = dig(pod, "spec", "runtimeClassName")
        runtime_class = self._classes.get("", wanted) if wanted else None
        if wanted and runtime_class is None:
            return Unschedulable(f"no node offers runtime class {wanted}: there is no RuntimeClass of that name")
        process = frozenset(str(metadata(c)["name"]) for c in self._classes.objects() if c.get("handler") == PROCESS_HANDLER)
        return schedule(pod, [self._state(n, process) for n in self._nodes.objects()], runtime_class, process_classes=process)

    def _state(self, node: Object, process: frozenset[str]) -> NodeState:
        name = str(metadata(node)["name"])
        if name not in self._states:
            assumed = [p for where, p in self._assumed.values() if where == name]
            self._states[name] = node_state(node, [*self._pods.indexed(BY_NODE, name), *assumed], process)
        return self._states[name]

    async def _bind(self, pod: Object, node: str) -> None:
        namespace, name = name_of(pod)
        meta = {"namespace": namespace, "name": name, "uid": uid_of(pod)}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": {"apiVersion": "v1", "kind": "Node", "name": node}}
        self._assume(pod, node)
        try:
            await self._api.create(PODS, binding, subresource="binding")
        except (ApiError, ConnectionError):
            self._forget(uid_of(pod))
            raise
        await self._events.normal(pod, "Scheduled", f"Successfully assigned {namespace}/{name} to {node}")

    async def _say(self, pod: Object, message: str) -> None:
        conditions = dig(pod, "status", "conditions", default=[])
        before = get_condition(conditions, "PodScheduled") or {}
        if (before.get("status"), before.get("message")) != ("False", message):
            new = with_condition(conditions, "PodScheduled", False, reason="Unschedulable", message=message, now=self._now())
            patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": new}}
            await self._api.patch(PODS, *name_of(pod), patch, subresource="status")
            await self._events.warning(pod, "FailedScheduling", message)


def _is_ours(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    waits = not spec.get("nodeName") and not spec.get("schedulingGates") and not metadata(pod).get("deletionTimestamp")
    return waits and (spec.get("schedulerName") or DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER


def _matters(node: Object) -> tuple[object, ...]:
    """Return what of a node decides about Pods: not its heartbeats."""
    spec = node.get("spec") or {}
    return (metadata(node).get("labels"), spec.get("taints"), spec.get("unschedulable"), dig(node, "status", "allocatable"))
