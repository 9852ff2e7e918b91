"""Kubernetes objects as plain JSON values, and the few ways everybody reads them.

An object is what `json.loads` gives: machinery that serves any kind cannot know its fields. Reading never fails on a
missing parent; writing is the caller's, on a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Object = dict[str, Any]


class Name(NamedTuple):
    """Where an object of one resource lives; `namespace` is "" for cluster-scoped ones."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def metadata(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return `metadata`, or an empty map when there is none."""
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def name_of(obj: Mapping[str, Any]) -> Name:
    """Return namespace and name; both are "" when they are not set."""
    meta = metadata(obj)
    return Name(meta.get("namespace") or "", meta.get("name") or "")


def uid_of(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("uid") or "")


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return metadata(obj).get("labels") or {}


def annotations_of(obj: Mapping[str, Any]) -> dict[str, str]:
    return metadata(obj).get("annotations") or {}


def revision_of(obj: Mapping[str, Any]) -> int:
    """Return `metadata.resourceVersion` as a number; 0 when it is not set."""
    return int(metadata(obj).get("resourceVersion") or 0)


def dig(obj: Any, *path: str | int, default: Any = None) -> Any:
    """Return what stands at *path*, or *default* as soon as a step is missing or of another type."""
    for step in path:
        if isinstance(obj, dict) and isinstance(step, str):
            obj = obj.get(step)
        elif isinstance(obj, list) and isinstance(step, int) and -len(obj) <= step < len(obj):
            obj = obj[step]
        else:
            return default
        if obj is None:
            return default
    return obj


def controller_of(obj: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the owner reference that is marked as the controller."""
    for owner in metadata(obj).get("ownerReferences") or []:
        if owner.get("controller"):
            return dict(owner)
    return None


def owner_reference(owner: Mapping[str, Any], *, controller: bool = True, block_deletion: bool = True) -> dict[str, Any]:
    """Return the reference that makes *owner* the owner of another object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata(owner)["name"],
        "uid": metadata(owner)["uid"],
        "controller": controller,
        "blockOwnerDeletion": block_deletion,
    }
