"""Binds Pods to nodes as `scheduling` decides, and says on the Pod and in an Event why one cannot be bound.

A binding counts from the moment we asked for it, so that two Pods do not take the same room before the watch tells. What is on a
node is counted anew only when something about it changed. The queue's keys are turns: each takes the most important Pod that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from skerry.controllers.informers import BY_NAMESPACE, BY_NODE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads.nodestate import NodeState, node_state
from skerry.controllers.workloads.pods import disruption
from skerry.controllers.workloads.preemption import Preemption, may_preempt, preempt, priority_of
from skerry.controllers.workloads.scheduling import DEFAULT_SCHEDULER, ENOUGH, PROCESS_HANDLER, Placed, Unschedulable, Volumes, schedule
from skerry.controllers.workloads.waiting import Waiting
from skerry.kube import Api, Change, Controller
from skerry.model.conditions import get_condition, with_condition
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, dig, labels_of, metadata, name_of, uid_of
from skerry.model.resources import NAMESPACES, NODES, PODDISRUPTIONBUDGETS, PODS, RUNTIMECLASSES

MAX_NODES_FOR_VICTIMS = 100
"""Full nodes that are looked at for Pods that could make room."""
BINDINGS = 16
"""Pods whose binding is on its way to the disk at the same time. Where each goes is decided one after the other."""
PREEMPTION = "PreemptionByScheduler"


class VolumeRules(Protocol):
    """What the scheduler asks about volumes."""

    def subscribe(self, changed: Callable[[], None]) -> None: ...

    def obstacles(self, pod: Object) -> Volumes | str | None: ...

    async def keep(self, pod: Object, node: str) -> dict[str, str]: ...


class Scheduler:
    """The scheduler for `spec.schedulerName: default-scheduler`."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime], volumes: VolumeRules | None = None) -> None:
        self._api, self._now = api, now
        self._pods, self._nodes, self._classes = (informers.of(r) for r in (PODS, NODES, RUNTIMECLASSES))
        self._budgets, self._spaces = informers.of(PODDISRUPTIONBUDGETS), informers.of(NAMESPACES)
        self._volumes = volumes
        self._events = Recorder(api, DEFAULT_SCHEDULER, now)
        self._assumed: dict[str, tuple[str, Object]] = {}  # UID -> node and Pod, bound but not yet seen so
        self._nominated: dict[str, tuple[str, Object]] = {}  # UID -> node and Pod, which waits there for others to go
        self._states: dict[str, NodeState] = {}
        self._stale: set[str] = set()  # nodes about which something changed
        self._process: frozenset[str] = frozenset()  # runtime classes whose Pods have their node's ports
        self._start = 0
        self._waiting = Waiting()
        self.controller = Controller[Name]("scheduler", self.reconcile, workers=BINDINGS)
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)
        self._classes.subscribe(self._on_class)
        self._spaces.subscribe(self._on_space)
        if volumes is not None:
            volumes.subscribe(self._look_at_those_with_volumes)

    def _on_pod(self, change: Change) -> None:
        node = dig(change.object, "spec", "nodeName", default="")
        if node and (change.old is None or change.new is None or _counts(change.old) != _counts(change.new)):
            self._stale.add(node)
        if change.new is None or node:
            self._forget(uid_of(change.object))
            self._nominated.pop(uid_of(change.object), None)
        if change.new is not None and _is_ours(change.new):
            self._want(change.new)
        elif change.old is not None and node and (change.new is None or (_ended(change.new) and not _ended(change.old))):
            self.look_at_all()  # there is room again

    def _on_class(self, change: Change) -> None:
        found = frozenset(str(metadata(c)["name"]) for c in self._classes.objects() if c.get("handler") == PROCESS_HANDLER)
        if found != self._process:
            self._process = found
            self._stale.update(self._states)
        self.look_at_all()

    def _on_space(self, change: Change) -> None:
        if change.new is None or (change.old is not None and labels_of(change.old) == labels_of(change.new)):
            return
        if self._pods.indexed(BY_NAMESPACE, change.name.name):
            self._stale.update(self._states)  # who is whose neighbour may depend on it
            self.look_at_all()

    def _on_node(self, change: Change) -> None:
        if change.old is None or change.new is None or _matters(change.old) != _matters(change.new):
            self._stale.add(change.name.name)
            self.look_at_all()

    def _assume(self, pod: Object, node: str) -> None:
        self._assumed[uid_of(pod)] = (node, pod)
        self._stale.add(node)

    def _forget(self, uid: str) -> None:
        if uid in self._assumed:
            self._stale.add(self._assumed.pop(uid)[0])

    def _want(self, pod: Object) -> None:
        self._waiting.put(name_of(pod), priority=priority_of(pod), created=str(metadata(pod).get("creationTimestamp") or ""))
        self.controller.queue.add(name_of(pod))

    def look_at_all(self) -> None:
        """Try every Pod that waits again: something changed that may let it go."""
        for pod in self._pods.indexed(BY_NODE, ""):
            if _is_ours(pod):
                self._want(pod)

    def _look_at_those_with_volumes(self) -> None:
        for pod in self._pods.indexed(BY_NODE, ""):
            if dig(pod, "spec", "volumes") and _is_ours(pod):
                self._want(pod)

    async def reconcile(self, turn: Name) -> float | None:
        name = self._waiting.pop()
        if name is None:
            return None
        try:
            await self._one(name)
        except (ApiError, ConnectionError):
            pod = self._pods.get(*name)
            if pod is not None:
                self._waiting.put(name, priority=priority_of(pod), created=str(metadata(pod).get("creationTimestamp") or ""))
            raise
        first = self._waiting.first()
        if first is not None and not len(self.controller.queue):
            self.controller.queue.add(first)
        return None

    async def _one(self, name: Name) -> None:
        pod = self._pods.get(*name)
        if pod is None or not _is_ours(pod) or uid_of(pod) in self._assumed:
            return
        match self._decide(pod):
            case Placed(node):
                await self._bind(pod, node)
            case Unschedulable(message, full):
                if full and may_preempt(pod, self._states):
                    await self._preempt(pod, full)
                await self._say(pod, message)

    def _decide(self, pod: Object) -> Placed | Unschedulable:
        wanted = dig(pod, "spec", "runtimeClassName")
        runtime_class = self._classes.get("", wanted) if wanted else None
        if wanted and runtime_class is None:
            return Unschedulable(f"no node offers runtime class {wanted}: there is no RuntimeClass of that name")
        volumes = self._volumes.obstacles(pod) if self._volumes is not None and dig(pod, "spec", "volumes") else None
        states = self._seen_by(pod)
        if isinstance(volumes, str):
            return Unschedulable(f"0/{len(states)} nodes are available: {volumes}.")
        if len(states) > ENOUGH:
            self._start = (self._start + ENOUGH) % len(states)
        return schedule(
            pod, states, runtime_class, process_classes=self._process, volumes=volumes, start=self._start, spaces=self._labels_of_space
        )

    def _labels_of_space(self, namespace: str) -> Mapping[str, str]:
        return labels_of(self._spaces.get("", namespace) or {})

    def _seen_by(self, pod: Object) -> list[NodeState]:
        """Return all nodes, with the room taken that is kept for Pods that matter more."""
        self._refresh()
        if not self._nominated:
            return list(self._states.values())
        states = dict(self._states)
        for uid, (node, other) in self._nominated.items():
            if node in states and uid != uid_of(pod) and priority_of(other) >= priority_of(pod):
                states[node] = node_state(states[node].node, [*states[node].pods, other], self._process)
        return list(states.values())

    def _refresh(self) -> None:
        for name in self._stale:
            node = self._nodes.get("", name)
            if node is None:
                self._states.pop(name, None)
                continue
            assumed = [p for where, p in self._assumed.values() if where == name]
            self._states[name] = node_state(node, [*self._pods.indexed(BY_NODE, name), *assumed], self._process)
        self._stale.clear()

    async def _bind(self, pod: Object, node: str) -> None:
        namespace, name = name_of(pod)
        meta: Object = {"namespace": namespace, "name": name, "uid": uid_of(pod)}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": {"apiVersion": "v1", "kind": "Node", "name": node}}
        self._assume(pod, node)
        self._nominated.pop(uid_of(pod), None)
        try:
            notes = await self._volumes.keep(pod, node) if self._volumes is not None else {}
            if notes:
                meta["annotations"] = notes
            await self._api.create(PODS, binding, subresource="binding")
        except (ApiError, ConnectionError):
            self._forget(uid_of(pod))
            raise
        await self._events.normal(pod, "Scheduled", f"Successfully assigned {namespace}/{name} to {node}")

    async def _preempt(self, pod: Object, full: tuple[str, ...]) -> None:
        """Have less important Pods removed, where that makes room."""
        states = [self._states[n] for n in full[:MAX_NODES_FOR_VICTIMS] if n in self._states]
        wanted = dig(pod, "spec", "runtimeClassName")
        runtime_class = self._classes.get("", wanted) if wanted else None
        found = preempt(pod, states, list(self._budgets.objects()), self._process, runtime_class)
        if found is None:
            return
        self._nominated[uid_of(pod)] = (found.node, pod)
        await self._remove(pod, found)
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"nominatedNodeName": found.node}}
        self._pods.learn(await self._api.patch(PODS, *name_of(pod), patch, subresource="status"))

    async def _remove(self, pod: Object, found: Preemption) -> None:
        message = f"{DEFAULT_SCHEDULER}: preempting to accommodate a higher priority pod"
        for victim in found.victims:
            try:
                await self._api.patch(PODS, *name_of(victim), disruption(victim, PREEMPTION, message, self._now()), subresource="status")
                await self._api.delete(PODS, *name_of(victim), uid=uid_of(victim))
            except ApiError as error:
                if error.code not in (404, 409):
                    raise
            await self._events.normal(victim, "Preempted", f"Preempted by pod {uid_of(pod)} on node {found.node}")

    async def _say(self, pod: Object, message: str) -> None:
        pod = self._pods.get(*name_of(pod)) or pod
        conditions = dig(pod, "status", "conditions", default=[])
        before = get_condition(conditions, "PodScheduled") or {}
        if (before.get("status"), before.get("message")) != ("False", message):
            new = with_condition(conditions, "PodScheduled", False, reason="Unschedulable", message=message, now=self._now())
            own = [c for c in new if c["type"] == "PodScheduled"]  # the others are somebody else's, and merge by their type
            patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": own}}
            await self._api.patch(PODS, *name_of(pod), patch, form="strategic", subresource="status")
            await self._events.warning(pod, "FailedScheduling", message)


def _is_ours(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    waits = not spec.get("nodeName") and not spec.get("schedulingGates") and not metadata(pod).get("deletionTimestamp")
    return waits and not _ended(pod) and (spec.get("schedulerName") or DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER


def _ended(pod: Object) -> bool:
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")


def _counts(pod: Object) -> tuple[object, ...]:
    """Return what of a bound Pod decides about others: not how it fares."""
    meta = metadata(pod)
    return (dig(pod, "spec", "nodeName"), meta.get("labels"), bool(meta.get("deletionTimestamp")), _ended(pod), meta.get("ownerReferences"))


def _matters(node: Object) -> tuple[object, ...]:
    """Return what of a node decides about Pods: not its heartbeats."""
    spec = node.get("spec") or {}
    return (metadata(node).get("labels"), spec.get("taints"), spec.get("unschedulable"), dig(node, "status", "allocatable"))
