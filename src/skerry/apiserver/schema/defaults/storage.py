"""Defaults of volumes: claims, volumes, classes and drivers."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.defaults.pods import volume_source
from skerry.model.objects import Object


def claim_template(claim: dict[str, Any]) -> None:
    """Complete a claim inside a StatefulSet."""
    claim.setdefault("kind", "PersistentVolumeClaim")
    claim.setdefault("apiVersion", "v1")
    _claim(claim)


def persistent_volume_claim(obj: Object) -> None:
    _claim(obj)
    _protect(obj, "kubernetes.io/pvc-protection")


def _claim(claim: dict[str, Any]) -> None:
    claim["spec"].setdefault("volumeMode", "Filesystem")
    claim.setdefault("status", {}).setdefault("phase", "Pending")


def persistent_volume(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    volume_source(spec)
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    _protect(obj, "kubernetes.io/pv-protection")


def _protect(obj: Object, finalizer: str) -> None:
    """Protect what is not being removed. Then its controller takes the finalizer away, once nobody uses it."""
    meta = obj.setdefault("metadata", {})
    finalizers = meta.get("finalizers") or []
    if not meta.get("deletionTimestamp") and not meta.get("resourceVersion") and finalizer not in finalizers:
        meta["finalizers"] = [*finalizers, finalizer]


def storage_class(obj: Object) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def csidriver(obj: Object) -> None:
    spec = obj["spec"]
    for name, value in (("attachRequired", True), ("podInfoOnMount", False), ("storageCapacity", False)):
        spec.setdefault(name, value)
    for name in ("requiresRepublish", "seLinuxMount"):
        spec.setdefault(name, False)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    spec.setdefault("volumeLifecycleModes", ["Persistent"])
