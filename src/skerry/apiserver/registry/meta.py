"""What the server does with `metadata`: which fields are its own, and what counts as a change of intent. Pure.

Source: k8s.io/apiserver/pkg/registry/rest (BeforeCreate, BeforeUpdate).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.model.objects import Object

GENERATED_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_LENGTH = 5
MAX_GENERATED_PREFIX = 58
_SERVER_OWNED = (
    "selfLink",
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def prepare_new(meta: dict[str, Any], *, uid: str, now: str) -> None:
    """Set what the server sets at creation; whatever the client says of these fields is dropped."""
    for key in _SERVER_OWNED:
        meta.pop(key, None)
    meta["uid"] = uid
    meta["creationTimestamp"] = now
    drop_empty(meta)


def drop_empty(meta: dict[str, Any]) -> None:
    """Remove maps and lists that say nothing, and nulls: they are never stored."""
    for key in [k for k, v in meta.items() if not v and v != 0]:
        del meta[key]


def prepare_changed(meta: dict[str, Any], old: Mapping[str, Any]) -> None:
    """Carry over what an update never changes."""
    meta.pop("selfLink", None)
    meta.pop("resourceVersion", None)
    for key in ("uid", "creationTimestamp", "generation"):
        if key in old:
            meta[key] = old[key]
        else:
            meta.pop(key, None)
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        if meta.get(key) is None and old.get(key) is not None:
            meta[key] = old[key]
    drop_empty(meta)


def intent_changed(new: Object, old: Object, *, status: bool) -> bool:
    """Say whether anything but the metadata (and the status, where it is a subresource) differs."""
    aside = ("metadata", "status", "apiVersion", "kind") if status else ("metadata", "apiVersion", "kind")
    keys = [k for k in new if k not in aside]
    if len(keys) != sum(1 for k in old if k not in aside):
        return True
    return any(k not in old or new[k] != old[k] for k in keys)
