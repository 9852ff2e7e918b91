"""Annotations by which one speaks of volumes and their classes."""

from __future__ import annotations

from skerry.model.objects import Object, annotations_of, dig

LOCAL_PATHS = "skerry.dev/local-volumes"
"""Annotation of a Pod, set when it is bound: claim -> path on its node, as a JSON object."""

IS_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
"""What named a claim's or a volume's class before there was a field."""


def storage_class_of(obj: Object) -> str:
    """Return the StorageClass of a claim or volume, "" for none."""
    found = annotations_of(obj).get(OLD_CLASS)
    return str(dig(obj, "spec", "storageClassName", default="") or "" if found is None else found)
