"""What a claim gets at its creation (the default StorageClass), which may grow, and what nobody may say of a Pod's volumes.

Pure but for look-ups. Source: the admission plug-ins DefaultStorageClass and PersistentVolumeClaimResize of kube-apiserver.
"""

from __future__ import annotations

from decimal import Decimal

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.store import Key
from skerry.model.errors import forbidden
from skerry.model.objects import Object, annotations_of, dig, metadata
from skerry.model.quantity import parse
from skerry.model.resources import STORAGECLASSES
from skerry.model.volumes import IS_DEFAULT_CLASS, LOCAL_PATHS, OLD_CLASS, storage_class_of


def admit_claim(asked: Admission) -> None:
    """Give a claim that names no class ("" is a name) the default one, if there is any: of several the newest."""
    assert asked.new is not None
    spec = asked.new.get("spec")
    if not isinstance(spec, dict) or spec.get("storageClassName") is not None or OLD_CLASS in annotations_of(asked.new):
        return
    classes = [decode(r.value) for r in asked.registry.store.list(STORAGECLASSES.key).records]
    defaults: list[Object] = [c for c in classes if any(annotations_of(c).get(key) == "true" for key in IS_DEFAULT_CLASS)]
    if defaults:
        newest: Object = max(defaults, key=_age)
        spec["storageClassName"] = metadata(newest)["name"]


def admit_growth(asked: Admission) -> None:
    """Refuse to let a claim ask for more than it did, unless it is bound and its class says that its volumes can grow."""
    assert asked.new is not None
    assert asked.old is not None
    if asked.subresource or _asks_for(asked.new) <= _asks_for(asked.old):
        return
    why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
    if dig(asked.old, "status", "phase", default="") != "Bound":
        why = "Only bound persistent volume claims can be expanded"
    elif _can_grow(asked):
        return
    raise forbidden("persistentvolumeclaims", "", asked.name, why)


def _asks_for(claim: Object) -> Decimal:
    return parse(dig(claim, "spec", "resources", "requests", "storage", default="0"))


def _can_grow(asked: Admission) -> bool:
    name, before = (storage_class_of(claim or {}) for claim in (asked.new, asked.old))
    record = asked.registry.store.get(Key(STORAGECLASSES.key, "", name)) if name and name == before else None
    return record is not None and bool(decode(record.value).get("allowVolumeExpansion"))


def _age(storage_class: Object) -> tuple[str, tuple[int, ...]]:
    meta = metadata(storage_class)
    return str(meta.get("creationTimestamp")), tuple(-ord(c) for c in str(meta["name"]))


def keep_local_paths(asked: Admission) -> None:
    """Let nobody but who binds a Pod say where its volumes are on the node: that would be a hostPath by another name."""
    if asked.new is None or asked.subresource == "binding":
        return
    notes, before = annotations_of(asked.new), annotations_of(asked.old or {}).get(LOCAL_PATHS)
    if notes.get(LOCAL_PATHS) == before:
        return
    left = {k: v for k, v in notes.items() if k != LOCAL_PATHS} | ({LOCAL_PATHS: before} if before is not None else {})
    asked.new["metadata"] = {k: v for k, v in asked.new["metadata"].items() if k != "annotations"} | ({"annotations": left} if left else {})
