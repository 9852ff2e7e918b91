"""Carries out the plan of ReplicaSets. What it just wrote it knows at once, so that a slow watch makes no Pod twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from skerry.controllers.informers import BY_CONTROLLER, BY_NAMESPACE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads import replicaset_plan as rules
from skerry.controllers.workloads.pod_control import PodControl
from skerry.controllers.workloads.pods import pod_from_template, selection
from skerry.kube import Api, Change, Controller
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, controller_of, name_of, uid_of
from skerry.model.resources import PODS, REPLICASETS, REPLICATIONCONTROLLERS, Resource


class ReplicaSets:
    """The ReplicaSet controller; with *resource* that of ReplicationControllers, which are ReplicaSets with a plainer selector."""

    def __init__(
        self,
        api: Api,
        informers: Informers,
        now: Callable[[], datetime],
        *,
        resource: Resource = REPLICASETS,
        component: str = "replicaset-controller",
    ) -> None:
        self._api, self._now, self._resource = api, now, resource
        self._replicasets, self._pods = informers.of(resource), informers.of(PODS)
        self._events = Recorder(api, component, now)
        self._control = PodControl(api, self._pods, self._events)
        self.controller = Controller[Name](resource.kind.lower(), self.reconcile)
        self._replicasets.subscribe(lambda change: self.controller.queue.add(change.name))
        self._pods.subscribe(self._on_pod)

    def _on_pod(self, change: Change) -> None:
        self._control.seen(change)
        for obj in (change.old, change.new):
            owner = controller_of(obj) if obj is not None else None
            if owner is not None and owner.get("kind") == self._resource.kind:
                self.controller.queue.add(Name(change.name.namespace, owner["name"]))
        if change.new is not None and controller_of(change.new) is None:
            self._on_orphan(change.new)

    def _on_orphan(self, pod: Object) -> None:
        for replicaset in self._replicasets.indexed(BY_NAMESPACE, name_of(pod).namespace):
            if selection(_view(replicaset))(pod):
                self.controller.queue.add(name_of(replicaset))

    async def reconcile(self, name: Name) -> float | None:
        found = self._replicasets.get(*name)
        if found is None:
            return None
        replicaset, failure = _view(found), ""
        try:
            await self._carry_out(replicaset, rules.plan(replicaset, self._candidates(replicaset), lambda: self._others(replicaset)))
        except ApiError as error:
            failure = error.message
            await self._write_status(replicaset, failure)
            raise
        return await self._write_status(replicaset, failure)

    def _candidates(self, replicaset: Object) -> list[Object]:
        namespace = name_of(replicaset).namespace
        owned = self._pods.indexed(BY_CONTROLLER, uid_of(replicaset))
        orphans = [p for p in self._pods.indexed(BY_CONTROLLER, "") if name_of(p).namespace == namespace]
        return self._control.left((*owned, *orphans))

    def _others(self, replicaset: Object) -> Iterator[Object]:
        """Yield the Pods of the owner's other ReplicaSets."""
        owner = controller_of(replicaset)
        for sibling in self._replicasets.indexed(BY_CONTROLLER, str(owner["uid"])) if owner is not None else ():
            if uid_of(sibling) != uid_of(replicaset):
                yield from self._pods.indexed(BY_CONTROLLER, uid_of(sibling))

    async def _carry_out(self, replicaset: Object, steps: list[rules.Step]) -> None:
        for step in steps:
            match step:
                case rules.Adopt(pod):
                    await self._patch(pod, rules.adoption_patch(replicaset, pod))
                case rules.Release(pod):
                    await self._patch(pod, rules.release_patch(replicaset, pod))
                case rules.Create(count):
                    await self._create(replicaset, count)
                case rules.Delete(pod):
                    await self._control.delete(replicaset, pod)

    async def _patch(self, pod: Object, patch: Object) -> None:
        self._pods.learn(await self._api.patch(PODS, *name_of(pod), patch))

    async def _create(self, replicaset: Object, count: int) -> None:
        # One after the other, so that a template that is refused costs one refusal and not five hundred.
        draft = pod_from_template(replicaset, replicaset["spec"]["template"])
        for _ in range(count):
            await self._control.create(replicaset, draft)

    async def _write_status(self, replicaset: Object, failure: str) -> float | None:
        status, again_s = rules.status(replicaset, self._candidates(replicaset), now=self._now(), failure=failure)
        if status != replicaset.get("status"):
            patch = {"metadata": {"uid": uid_of(replicaset)}, "status": _replacing(replicaset.get("status") or {}, status)}
            self._replicasets.learn(await self._api.patch(self._resource, *name_of(replicaset), patch, subresource="status"))
        return again_s


def replication_controllers(api: Api, informers: Informers, now: Callable[[], datetime]) -> ReplicaSets:
    """Return the controller of ReplicationControllers."""
    return ReplicaSets(api, informers, now, resource=REPLICATIONCONTROLLERS, component="replication-controller")


def _view(obj: Object) -> Object:
    """Return a ReplicationController as the ReplicaSet that it amounts to."""
    if obj.get("kind") != REPLICATIONCONTROLLERS.kind:
        return obj
    return {**obj, "spec": {**obj["spec"], "selector": {"matchLabels": obj["spec"].get("selector") or {}}}}


def _replacing(old: Object, new: Object) -> Object:
    """Return the merge patch from *old* to *new*: fields that are gone become null."""
    return {**{k: None for k in old if k not in new}, **new}
