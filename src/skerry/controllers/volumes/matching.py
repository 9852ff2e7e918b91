"""Which volume a claim may have. Pure. There is no provisioner: volumes are made by hand, on a node or elsewhere.

Source: k8s.io/component-helpers/storage/volume (FindMatchingVolume, CheckAccessModes), pkg/controller/volume/persistentvolume.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from skerry.controllers.workloads.affinity import matches_term
from skerry.controllers.workloads.nodestate import amount
from skerry.model.objects import Object, dig, labels_of, metadata, name_of, uid_of
from skerry.model.selectors import SelectorError, from_label_selector
from skerry.model.volumes import storage_class_of

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_US = "pv.kubernetes.io/bound-by-controller"
NOW_YES = "yes"


def waits_for_consumer(storage_class: Object | None) -> bool:
    return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def is_claimed_by(volume: Object, claim: Object) -> bool:
    """Say whether the volume is kept for this very claim: by name as long as it names no UID."""
    ref = dig(volume, "spec", "claimRef", default={})
    if (ref.get("namespace"), ref.get("name")) != tuple(name_of(claim)):
        return False
    return not ref.get("uid") or ref["uid"] == uid_of(claim)


def find(claim: Object, volumes: Iterable[Object], node: Object | None = None) -> Object | None:
    """Return the volume for *claim*: the one that is kept for it, else the smallest that is large enough (and, with *node*, is there)."""
    fitting = [v for v in volumes if not metadata(v).get("deletionTimestamp") and (node is None or is_reachable(v, node))]
    kept = [v for v in fitting if is_claimed_by(v, claim)]
    if kept:
        return kept[0] if _size(kept[0]) >= _wanted(claim) else None
    free = [
        v for v in fitting if not dig(v, "spec", "claimRef") and dig(v, "status", "phase") in ("Available", "Pending") and suits(v, claim)
    ]
    return min(free, key=lambda v: (_size(v), name_of(v)), default=None)


def suits(volume: Object, claim: Object) -> bool:
    """Say whether size, modes, class and labels of the volume are what the claim asks for."""
    spec, wanted = volume.get("spec") or {}, claim.get("spec") or {}
    if storage_class_of(volume) != storage_class_of(claim):
        return False
    if spec.get("volumeMode", "Filesystem") != wanted.get("volumeMode", "Filesystem"):
        return False
    if not set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ()) or _size(volume) < _wanted(claim):
        return False
    if wanted.get("selector") is None:
        return True
    try:
        selector = from_label_selector(wanted["selector"])
    except SelectorError:
        return False
    return selector is not None and selector.matches(labels_of(volume))


def is_reachable(volume: Object, node: Object) -> bool:
    """Say whether the volume can be had on that node."""
    required = dig(volume, "spec", "nodeAffinity", "required")
    return required is None or any(matches_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def _size(volume: Object) -> Decimal:
    return amount(dig(volume, "spec", "capacity", "storage", default="0"))


def _wanted(claim: Object) -> Decimal:
    return amount(dig(claim, "spec", "resources", "requests", "storage", default="0"))


def claim_ref(claim: Object) -> dict[str, Any]:
    namespace, name = name_of(claim)
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name, "uid": uid_of(claim)}


def volume_phase(volume: Object, claim: Object | None) -> tuple[str, str]:
    """Return the phase of a volume whose claimRef leads to *claim* (None: there is no such claim), and a message."""
    ref = dig(volume, "spec", "claimRef")
    if not ref:
        return "Available", ""
    if claim is not None and is_claimed_by(volume, claim):
        return ("Bound" if dig(claim, "spec", "volumeName") == name_of(volume).name else "Available"), ""
    if not ref.get("uid"):
        return "Available", ""
    if dig(volume, "spec", "persistentVolumeReclaimPolicy", default="Retain") == "Retain":
        return "Released", ""
    policy = dig(volume, "spec", "persistentVolumeReclaimPolicy")
    return "Failed", f"reclaim policy {policy}: nothing here can delete or clean what is on a node; remove the data and the volume by hand"
