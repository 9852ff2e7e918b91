"""Carries out the plan of Deployments, one step after the other, and keeps their status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from skerry.controllers.informers import BY_CONTROLLER, BY_NAMESPACE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads import deployment_plan as rules
from skerry.controllers.workloads.deployment_status import status as status_of
from skerry.controllers.workloads.pods import is_finished
from skerry.controllers.workloads.replicaset_plan import adoption_patch, release_patch
from skerry.kube import Api, Change, Controller
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, controller_of, dig, metadata, name_of, uid_of
from skerry.model.resources import DEPLOYMENTS, PODS, REPLICASETS


class Deployments:
    """The Deployment controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._deployments, self._replicasets, self._pods = (informers.of(r) for r in (DEPLOYMENTS, REPLICASETS, PODS))
        self._events = Recorder(api, "deployment-controller", now)
        self.controller = Controller[Name]("deployment", self.reconcile)
        self._deployments.subscribe(lambda change: self.controller.queue.add(change.name))
        self._replicasets.subscribe(self._on_replicaset)
        self._pods.subscribe(self._on_pod)

    def _on_replicaset(self, change: Change) -> None:
        for obj in (change.old, change.new):
            owner = controller_of(obj) if obj is not None else None
            if owner is not None and owner.get("kind") == "Deployment":
                self.controller.queue.add(Name(change.name.namespace, owner["name"]))
        if change.new is not None and controller_of(change.new) is None:
            for deployment in self._deployments.indexed(BY_NAMESPACE, change.name.namespace):
                if rules.selects(deployment, change.new):
                    self.controller.queue.add(name_of(deployment))

    def _on_pod(self, change: Change) -> None:
        # Recreate waits for the last old Pod, whose end changes no ReplicaSet.
        owner = controller_of(change.object) if change.new is None or is_finished(change.new) else None
        replicaset = self._replicasets.get(change.name.namespace, owner["name"]) if owner else None
        above = controller_of(replicaset) if replicaset else None
        if above is not None:
            self.controller.queue.add(Name(change.name.namespace, above["name"]))

    async def reconcile(self, name: Name) -> float | None:
        deployment = self._deployments.get(*name)
        if deployment is None:
            return None
        replicasets = await self._own(deployment)
        collisions = int(dig(deployment, "status", "collisionCount", default=0))
        try:
            collisions += await self._carry_out(deployment, replicasets, collisions)
        finally:
            deployment = self._deployments.get(*name) or deployment
            again_s = await self._write_status(deployment, self._owned(deployment), collisions)
        return again_s

    async def _own(self, deployment: Object) -> list[Object]:
        """Adopt the ReplicaSets that we select, let go of those that we do not; returns ours."""
        if not metadata(deployment).get("deletionTimestamp"):
            for replicaset in self._owned(deployment):
                if not rules.selects(deployment, replicaset):
                    await self._patch(replicaset, release_patch(deployment, replicaset))
            for orphan in self._replicasets.indexed(BY_CONTROLLER, ""):
                if name_of(orphan).namespace == name_of(deployment).namespace and rules.selects(deployment, orphan):
                    await self._patch(orphan, adoption_patch(deployment, orphan))
        return self._owned(deployment)

    def _owned(self, deployment: Object) -> list[Object]:
        return self._replicasets.indexed(BY_CONTROLLER, uid_of(deployment))

    async def _carry_out(self, deployment: Object, replicasets: Sequence[Object], collisions: int) -> int:
        """Do the next steps; returns 1 when the name of the new ReplicaSet was taken by another template."""
        _, old = rules.split(deployment, replicasets)
        # What has ended waits for nobody: it would hold Recreate back for ever.
        remain = any(not is_finished(p) for r in old for p in self._pods.indexed(BY_CONTROLLER, uid_of(r)))
        for step in rules.plan(deployment, replicasets, old_pods_remain=remain, collisions=collisions):
            match step:
                case rules.CreateReplicaSet(replicaset):
                    if not await self._create(deployment, replicaset):
                        return 1
                case rules.Resize(replicaset, replicas, patch):
                    await self._resize(deployment, replicaset, replicas, patch)
                case rules.Annotate(replicaset, patch):
                    await self._patch(replicaset, patch)
                case rules.RollBack(patch, reason, message):
                    await self._roll_back(deployment, patch, reason, message)
                case rules.SetRevision(revision):
                    changed = {"metadata": {"uid": uid_of(deployment), "annotations": {rules.REVISION: revision}}}
                    self._deployments.learn(await self._api.patch(DEPLOYMENTS, *name_of(deployment), changed))
                case rules.DeleteReplicaSet(replicaset):
                    await self._api.delete(REPLICASETS, *name_of(replicaset), uid=uid_of(replicaset), propagation="Background")
        return 0

    async def _roll_back(self, deployment: Object, patch: Object, reason: str, message: str) -> None:
        meta = {"uid": uid_of(deployment), "resourceVersion": metadata(deployment)["resourceVersion"], **patch["metadata"]}
        changed = await self._api.patch(DEPLOYMENTS, *name_of(deployment), {**patch, "metadata": meta}, form="strategic")
        self._deployments.learn(changed)
        say = self._events.normal if reason == "DeploymentRollback" else self._events.warning
        await say(deployment, reason, message)

    async def _create(self, deployment: Object, replicaset: Object) -> bool:
        name = name_of(replicaset)
        try:
            created = await self._api.create(REPLICASETS, replicaset)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                await self._events.warning(deployment, "ReplicaSetCreateError", f'Failed to create new replica set "{name.name}": {error}')
                raise
            existing = await self._api.get(REPLICASETS, *name)
            ours = (controller_of(existing) or {}).get("uid") == uid_of(deployment)
            if ours and rules.split(deployment, [existing])[0] is not None:
                self._replicasets.learn(existing)
                return True
            return False
        self._replicasets.learn(created)
        await self._say_scaled(deployment, name.name, "up", 0, dig(created, "spec", "replicas", default=0))
        return True

    async def _resize(self, deployment: Object, replicaset: Object, replicas: int, patch: Object) -> None:
        before = int(dig(replicaset, "spec", "replicas", default=0))
        await self._patch(replicaset, patch)
        await self._say_scaled(deployment, name_of(replicaset).name, "up" if replicas > before else "down", before, replicas)

    async def _say_scaled(self, deployment: Object, name: str, way: str, before: int, after: int) -> None:
        if before != after:
            await self._events.normal(deployment, "ScalingReplicaSet", f"Scaled {way} replica set {name} from {before} to {after}")

    async def _patch(self, replicaset: Object, patch: Object) -> None:
        guarded = {**patch, "metadata": {"uid": uid_of(replicaset), **patch.get("metadata", {})}}
        self._replicasets.learn(await self._api.patch(REPLICASETS, *name_of(replicaset), guarded))

    async def _write_status(self, deployment: Object, replicasets: Sequence[Object], collisions: int) -> float | None:
        status, again_s = status_of(deployment, replicasets, now=self._now(), collisions=collisions)
        old = deployment.get("status") or {}
        if status != old:
            patch = {"metadata": {"uid": uid_of(deployment)}, "status": {**{k: None for k in old if k not in status}, **status}}
            self._deployments.learn(await self._api.patch(DEPLOYMENTS, *name_of(deployment), patch, subresource="status"))
        return again_s
