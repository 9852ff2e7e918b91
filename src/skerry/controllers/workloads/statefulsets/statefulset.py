"""Carries out the plan of StatefulSets: history, claims, Pods, status."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from skerry.controllers.informers import BY_CONTROLLER, BY_NAMESPACE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads import history
from skerry.controllers.workloads.pod_control import PodControl, Words
from skerry.controllers.workloads.pods import selection
from skerry.controllers.workloads.replicaset_plan import adoption_patch, release_patch
from skerry.controllers.workloads.revisions import Revisions as Kept
from skerry.controllers.workloads.statefulsets import plan as rules
from skerry.controllers.workloads.statefulsets.identity import REVISION, claim_owners, claims_for, is_going, ordinal_of, pod_for
from skerry.controllers.workloads.statefulsets.status import status as status_of
from skerry.kube import Api, Change, Controller
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, controller_of, dig, labels_of, metadata, name_of, uid_of
from skerry.model.resources import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS

WORDS = Words(
    *(
        f"{verb} Pod {{pod}} in StatefulSet {{owner}} {how}"
        for verb in ("create", "delete")
        for how in ("successful", "failed error: {error}")
    )
)
"""Kubernetes words the Events of StatefulSets otherwise than those of others."""


class StatefulSets:
    """The StatefulSet controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._sets, self._pods, self._claims = (informers.of(r) for r in (STATEFULSETS, PODS, PERSISTENTVOLUMECLAIMS))
        self._history = Kept(api, informers, history.STATEFULSET_HASH)
        self._events = Recorder(api, "statefulset-controller", now)
        self._control = PodControl(api, self._pods, self._events, WORDS)
        self.controller = Controller[Name]("statefulset", self.reconcile)
        self._sets.subscribe(lambda change: self.controller.queue.add(change.name))
        self._pods.subscribe(self._on_pod)
        self._claims.subscribe(self._on_claim)
        informers.of(CONTROLLERREVISIONS).subscribe(self._on_owned)

    def _on_owned(self, change: Change) -> None:
        for obj in (change.old, change.new):
            owner = controller_of(obj) if obj is not None else None
            if owner is not None and owner.get("kind") == "StatefulSet":
                self.controller.queue.add(Name(change.name.namespace, owner["name"]))

    def _on_claim(self, change: Change) -> None:
        if change.new is None:  # a Pod that is still to be made, or that waits, may want it anew
            for statefulset in self._sets.indexed(BY_NAMESPACE, change.name.namespace):
                if dig(statefulset, "spec", "volumeClaimTemplates"):
                    self.controller.queue.add(name_of(statefulset))

    def _on_pod(self, change: Change) -> None:
        self._control.seen(change)
        self._on_owned(change)
        if change.new is not None and controller_of(change.new) is None:
            for statefulset in self._sets.indexed(BY_NAMESPACE, change.name.namespace):
                if selection(statefulset)(change.new):
                    self.controller.queue.add(name_of(statefulset))

    async def reconcile(self, name: Name) -> float | None:
        statefulset = self._sets.get(*name)
        if statefulset is None:
            return None
        pods = await self._own(statefulset)
        collisions = int(dig(statefulset, "status", "collisionCount", default=0))
        collisions += await self._history.keep(statefulset, live=_live(statefulset, pods), collisions=collisions)
        revisions = self._revisions(statefulset)
        if revisions is None:
            patch = {"metadata": {"uid": uid_of(statefulset)}, "status": {"collisionCount": collisions}}
            self._sets.learn(await self._api.patch(STATEFULSETS, *name, patch, subresource="status"))
            return 0.1
        try:
            for step in rules.plan(statefulset, pods, revisions, now=self._now()):
                await self._carry_out(statefulset, step)
            await self._keep_claims(statefulset)
        finally:
            again_s = await self._write_status(statefulset, revisions, collisions)
        return again_s

    def _revisions(self, statefulset: Object) -> rules.Revisions | None:
        kept = self._history.owned(statefulset)
        update = history.current(statefulset, kept)
        if update is None:
            return None
        names = {name_of(r).name for r in kept}
        current = dig(statefulset, "status", "currentRevision", default="")
        return rules.Revisions(current if current in names else name_of(update).name, name_of(update).name)

    def _owned(self, statefulset: Object) -> list[Object]:
        return self._control.known(self._pods.indexed(BY_CONTROLLER, uid_of(statefulset)), self._now)

    async def _own(self, statefulset: Object) -> list[Object]:
        """Adopt the Pods that are ours by label and name, let go of those that are not; returns ours."""
        is_selected = selection(statefulset)

        def is_member(pod: Object) -> bool:
            return is_selected(pod) and ordinal_of(statefulset, pod) is not None

        if not metadata(statefulset).get("deletionTimestamp"):
            for pod in self._owned(statefulset):
                if not is_member(pod):
                    self._pods.learn(await self._api.patch(PODS, *name_of(pod), release_patch(statefulset, pod)))
            for pod in self._pods.indexed(BY_CONTROLLER, ""):
                here = name_of(pod).namespace == name_of(statefulset).namespace and not metadata(pod).get("deletionTimestamp")
                if here and is_member(pod):
                    self._pods.learn(await self._api.patch(PODS, *name_of(pod), adoption_patch(statefulset, pod)))
        return self._owned(statefulset)

    async def _carry_out(self, statefulset: Object, step: rules.Step) -> None:
        match step:
            case rules.Create(ordinal, revision):
                await self._create(statefulset, ordinal, revision)
            case rules.Delete(pod, condemned, ended):
                if condemned:
                    await self._hand_over(statefulset, pod)
                if ended:
                    await self._say_ended(statefulset, pod)
                await self._control.delete(statefulset, pod)

    async def _say_ended(self, statefulset: Object, pod: Object) -> None:
        what = f"StatefulSet {name_of(statefulset)} is recreating"
        if dig(pod, "status", "phase") == "Failed":
            await self._events.warning(statefulset, "RecreatingFailedPod", f"{what} failed Pod {name_of(pod).name}")
        else:
            await self._events.normal(statefulset, "RecreatingTerminatedPod", f"{what} terminated Pod {name_of(pod).name}")

    async def _create(self, statefulset: Object, ordinal: int, revision: str) -> None:
        kept = {name_of(r).name: r for r in self._history.owned(statefulset)}
        template = history.template_of(kept[revision]) if revision in kept else statefulset["spec"]["template"]
        pod = pod_for(statefulset, ordinal, template, revision)
        for claim in claims_for(statefulset, ordinal):
            present = self._claims.get(*name_of(claim))
            if present is not None and is_going(present, pod):
                why = f"pvc {name_of(claim).name} is being deleted"
                await self._control.refused(statefulset, pod, why)
                raise ApiError(409, "Conflict", why)
            await self._claim(statefulset, claim, name_of(pod).name)
        await self._control.create(statefulset, pod)

    async def _claim(self, statefulset: Object, claim: Object, pod: str) -> None:
        if self._claims.get(*name_of(claim)) is not None:
            return
        what = f"Claim {name_of(claim).name}"
        try:
            self._claims.learn(await self._api.create(PERSISTENTVOLUMECLAIMS, claim))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                why = f"create {what} for Pod {pod} in StatefulSet {name_of(statefulset).name} failed error: {error.message}"
                await self._events.warning(statefulset, "FailedCreate", why)
                raise
            return
        said = f"create {what} Pod {pod} in StatefulSet {name_of(statefulset).name} success"
        await self._events.normal(statefulset, "SuccessfulCreate", said)

    async def _hand_over(self, statefulset: Object, pod: Object) -> None:
        """Make the claims of a Pod that goes for good its own, when the retention policy lets them go with it."""
        ordinal = ordinal_of(statefulset, pod)
        for claim in claims_for(statefulset, ordinal) if ordinal is not None else ():
            await self._set_owners(statefulset, self._claims.get(*name_of(claim)), pod)

    async def _keep_claims(self, statefulset: Object) -> None:
        """See that the claims of the Pods that are there exist (as long as a Pod waits for them) and have their owners."""
        if not dig(statefulset, "spec", "volumeClaimTemplates") or metadata(statefulset).get("deletionTimestamp"):
            return
        for ordinal, pod in rules.by_ordinal(statefulset, self._owned(statefulset)).items():
            if ordinal not in rules.ordinals(statefulset):
                continue
            for claim in claims_for(statefulset, ordinal):
                if dig(pod, "status", "phase", default="Pending") == "Pending":
                    await self._claim(statefulset, claim, name_of(pod).name)
                await self._set_owners(statefulset, self._claims.get(*name_of(claim)), None)

    async def _set_owners(self, statefulset: Object, claim: Object | None, condemned: Object | None) -> None:
        if claim is None or metadata(claim).get("deletionTimestamp"):
            return
        owners = claim_owners(statefulset, claim, condemned)
        if owners != (metadata(claim).get("ownerReferences") or []):
            meta = {"uid": uid_of(claim), "resourceVersion": metadata(claim)["resourceVersion"], "ownerReferences": owners or None}
            self._claims.learn(await self._api.patch(PERSISTENTVOLUMECLAIMS, *name_of(claim), {"metadata": meta}))

    async def _write_status(self, statefulset: Object, revisions: rules.Revisions, collisions: int) -> float | None:
        status, again_s = status_of(statefulset, self._owned(statefulset), revisions, now=self._now(), collisions=collisions)
        old = statefulset.get("status") or {}
        if status != old:
            patch = {"metadata": {"uid": uid_of(statefulset)}, "status": {**{k: None for k in old if k not in status}, **status}}
            self._sets.learn(await self._api.patch(STATEFULSETS, *name_of(statefulset), patch, subresource="status"))
        return again_s


def _live(statefulset: Object, pods: list[Object]) -> set[str]:
    """Return the names of the revisions that Pods run, and of those that the status names."""
    named = (dig(statefulset, "status", f, default="") for f in ("currentRevision", "updateRevision"))
    return {*(labels_of(p).get(REVISION, "") for p in pods), *named}
