"""What a claim gets at its creation: the default StorageClass. Pure but for look-ups.

Source: the admission plug-in DefaultStorageClass of kube-apiserver.
"""

from __future__ import annotations

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.encoding import decode
from skerry.model.objects import Object, annotations_of, metadata
from skerry.model.resources import STORAGECLASSES

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
