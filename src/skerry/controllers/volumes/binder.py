"""Binds claims to volumes, keeps the phases of both, and lets neither go while it is used."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from skerry.controllers.informers import BY_NAMESPACE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.volumes import matching as rules
from skerry.controllers.workloads.pods import is_finished
from skerry.kube import Api, Change, Controller
from skerry.model.objects import Name, Object, annotations_of, dig, metadata, name_of, uid_of
from skerry.model.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from skerry.model.times import rfc3339
from skerry.model.volumes import storage_class_of

_CLAIM_FINALIZER, _VOLUME_FINALIZER = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"
_NO_CLASS = "no persistent volumes available for this claim and no storage class is set"
_NO_VOLUME = "no PersistentVolume matches this claim: volumes are made by hand here, there is no provisioner"


class VolumeBinder:
    """The controller of PersistentVolumes and their claims. The scheduler chooses where a class waits for its first consumer."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._claims, self._volumes = informers.of(PERSISTENTVOLUMECLAIMS), informers.of(PERSISTENTVOLUMES)
        self._classes, self._pods = informers.of(STORAGECLASSES), informers.of(PODS)
        self._events = Recorder(api, "persistentvolume-controller", now)
        self.controller = Controller[Name]("volumes", self.reconcile)
        self._claims.subscribe(self._on_claim)
        self._volumes.subscribe(self._on_volume)
        self._pods.subscribe(self._on_pod)

    def _on_claim(self, change: Change) -> None:
        self.controller.queue.add(change.name)
        for obj in (change.old, change.new):
            volume = dig(obj, "spec", "volumeName")
            if volume:
                self.controller.queue.add(Name("", volume))
        if change.new is None:
            for found in self._volumes.objects():
                if rules.is_claimed_by(found, change.object):
                    self.controller.queue.add(name_of(found))

    def _on_volume(self, change: Change) -> None:
        self.controller.queue.add(change.name)
        for claim in self._claims.objects():
            if dig(claim, "status", "phase") != "Bound" or dig(claim, "spec", "volumeName") == change.name.name:
                self.controller.queue.add(name_of(claim))

    def _on_pod(self, change: Change) -> None:
        if change.new is None or is_finished(change.new):
            for claim in claims_of(change.object):
                self.controller.queue.add(Name(change.name.namespace, claim))

    async def reconcile(self, name: Name) -> None:
        if name.namespace:
            claim = self._claims.get(*name)
            if claim is not None:
                await self._claim(claim)
        else:
            volume = self._volumes.get(*name)
            if volume is not None:
                await self._volume(volume)

    async def _claim(self, claim: Object) -> None:
        if metadata(claim).get("deletionTimestamp"):
            if not self._is_used(claim):
                await self._release(PERSISTENTVOLUMECLAIMS, claim, _CLAIM_FINALIZER)
            return
        named = dig(claim, "spec", "volumeName")
        if annotations_of(claim).get(rules.BIND_COMPLETED):
            await self._check_bound(claim, named)
            return
        volume = self._volumes.get("", named) if named else self._choose(claim)
        if volume is None or (dig(volume, "spec", "claimRef") and not rules.is_claimed_by(volume, claim)):
            await self._say_why_not(claim, named)
            return
        await self._bind(claim, volume)

    def _choose(self, claim: Object) -> Object | None:
        volumes = self._volumes.objects()
        if rules.waits_for_consumer(self._classes.get("", storage_class_of(claim))):
            return next((v for v in volumes if rules.is_claimed_by(v, claim)), None)
        return rules.find(claim, volumes)

    async def _say_why_not(self, claim: Object, named: str | None) -> None:
        if named:
            return  # it comes, or another claim has it; the claim says itself what it waits for
        if rules.waits_for_consumer(self._classes.get("", storage_class_of(claim))):
            await self._events.normal(claim, "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
        else:
            await self._events.normal(claim, "FailedBinding", _NO_VOLUME if storage_class_of(claim) else _NO_CLASS)

    async def _bind(self, claim: Object, volume: Object) -> None:
        ref = dig(volume, "spec", "claimRef", default={})
        if ref.get("uid") != uid_of(claim):
            notes = {} if ref else {rules.BOUND_BY_US: rules.NOW_YES}
            meta = {"uid": uid_of(volume), "resourceVersion": metadata(volume)["resourceVersion"], "annotations": notes}
            patch = {"metadata": meta, "spec": {"claimRef": rules.claim_ref(claim)}}
            volume = await self._api.patch(PERSISTENTVOLUMES, *name_of(volume), patch)
            self._volumes.learn(volume)
        notes = {rules.BIND_COMPLETED: rules.NOW_YES}
        if not dig(claim, "spec", "volumeName"):
            notes[rules.BOUND_BY_US] = rules.NOW_YES
        patch = {"metadata": {"uid": uid_of(claim), "annotations": notes}, "spec": {"volumeName": name_of(volume).name}}
        claim = await self._api.patch(PERSISTENTVOLUMECLAIMS, *name_of(claim), patch)
        self._claims.learn(claim)
        await self._check_bound(claim, name_of(volume).name)

    async def _check_bound(self, claim: Object, named: str) -> None:
        volume = self._volumes.get("", named)
        if volume is None or not rules.is_claimed_by(volume, claim):
            if dig(claim, "status", "phase") != "Lost":
                await self._write_status(PERSISTENTVOLUMECLAIMS, claim, {"phase": "Lost"})
                await self._events.warning(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
            return
        spec = volume["spec"]
        status = {"phase": "Bound", "accessModes": spec["accessModes"], "capacity": spec["capacity"]}
        if any(dig(claim, "status", k) != v for k, v in status.items()):
            await self._write_status(PERSISTENTVOLUMECLAIMS, claim, status)
        await self._volume(volume)

    async def _volume(self, volume: Object) -> None:
        ref = dig(volume, "spec", "claimRef", default={})
        claim = self._claims.get(ref.get("namespace", ""), ref.get("name", "")) if ref else None
        phase, message = rules.volume_phase(volume, claim)
        if metadata(volume).get("deletionTimestamp"):
            if phase != "Bound":
                await self._release(PERSISTENTVOLUMES, volume, _VOLUME_FINALIZER)
            return
        if dig(volume, "status", "phase") != phase:
            status = {"phase": phase, "message": message or None, "lastPhaseTransitionTime": rfc3339(self._now())}
            await self._write_status(PERSISTENTVOLUMES, volume, status)
            if phase == "Failed":
                await self._events.warning(volume, "VolumeFailedDelete", message)

    async def _write_status(self, resource: Any, obj: Object, status: dict[str, Any]) -> None:
        patch = {"metadata": {"uid": uid_of(obj)}, "status": status}
        changed = await self._api.patch(resource, *name_of(obj), patch, subresource="status")
        (self._claims if resource == PERSISTENTVOLUMECLAIMS else self._volumes).learn(changed)

    def _is_used(self, claim: Object) -> bool:
        namespace, name = name_of(claim)
        # As in Kubernetes a Pod that has no node yet holds nothing: it will not be bound to one.
        return any(
            dig(p, "spec", "nodeName") and name in claims_of(p) and not is_finished(p) for p in self._pods.indexed(BY_NAMESPACE, namespace)
        )

    async def _release(self, resource: Any, obj: Object, finalizer: str) -> None:
        left = [f for f in metadata(obj).get("finalizers") or () if f != finalizer]
        if len(left) != len(metadata(obj).get("finalizers") or ()):
            meta = {"uid": uid_of(obj), "resourceVersion": metadata(obj)["resourceVersion"], "finalizers": left or None}
            await self._api.patch(resource, *name_of(obj), {"metadata": meta})


def claims_of(pod: Object) -> list[str]:
    """Return the names of the claims that the Pod uses."""
    found = (dig(v, "persistentVolumeClaim", "claimName") for v in dig(pod, "spec", "volumes", default=[]))
    return [name for name in found if name]
