"""What a claim gets at its creation (the default StorageClass), and what nobody may say of a Pod's volumes. Pure but for look-ups.

Source: the admission plug-in DefaultStorageClass of kube-apiserver.
"""

from __future__ import annotations

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.encoding import decode
from skerry.model.objects import Object, annotations_of, metadata
from skerry.model.resources import STORAGECLASSES
from skerry.model.volumes import LOCAL_PATHS

IS_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


def admit_claim(asked: Admission) -> None:
    """Give a claim that names no class ("" is a name) the default one, if there is any: of several the newest."""
    assert asked.new is not None
    spec = asked.new.get("spec")
    if not isinstance(spec, dict) or spec.get("storageClassName") is not None or _OLD_CLASS in annotations_of(asked.new):
        return
    classes = [decode(r.value) for r in asked.registry.store.list(STORAGECLASSES.key).records]
    defaults: list[Object] = [c for c in classes if any(annotations_of(c).get(key) == "true" for key in IS_DEFAULT)]
    if defaults:
        newest: Object = max(defaults, key=_age)
        spec["storageClassName"] = metadata(newest)["name"]


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
