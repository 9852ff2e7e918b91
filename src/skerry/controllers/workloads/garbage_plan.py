"""Who may go when an owner goes: the rules of owner references, on what was looked up. Pure.

Source: k8s.io/kubernetes/pkg/controller/garbagecollector. Only an owner that is known to be gone counts as gone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec

from skerry.kube import Propagation
from skerry.model.objects import Object, metadata, uid_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Owner(enum.Enum):
    """What was found out about one owner reference."""

    SOLID = "exists"
    GONE = "does not exist, or exists under another UID"
    WAITING = "is deleted in the foreground and waits for its dependents"
    UNKNOWN = "cannot be looked up: its kind is not served"


class Keep(msgspec.Struct, frozen=True):
    """Nothing is to be done."""


class Collect(msgspec.Struct, frozen=True):
    """Delete the object."""

    propagation: Propagation


class DropReferences(msgspec.Struct, frozen=True):
    """Take the owners with these UIDs out of the object, which lives on by its other owners."""

    uids: frozenset[str]


class OrphanDependents(msgspec.Struct, frozen=True):
    """Take the object out of its dependents' owners, then remove the finalizer."""


class CollectDependents(msgspec.Struct, frozen=True):
    """Delete the dependents; the finalizer waits for those that block."""


class RemoveFinalizer(msgspec.Struct, frozen=True):
    finalizer: str


Decision = Keep | Collect | DropReferences
OwnerDecision = Keep | OrphanDependents | CollectDependents | RemoveFinalizer


def is_waiting(owner: Object) -> bool:
    return bool(metadata(owner).get("deletionTimestamp")) and FOREGROUND in (metadata(owner).get("finalizers") or ())


def decide(obj: Object, owners: Mapping[str, Owner], *, has_dependents: bool) -> Decision:
    """Return what becomes of *obj*, given what each owner (by UID) was found to be."""
    if metadata(obj).get("deletionTimestamp") or not owners or Owner.UNKNOWN in owners.values():
        return Keep()
    ended = frozenset(uid for uid, state in owners.items() if state in (Owner.GONE, Owner.WAITING))
    if not ended:
        return Keep()
    if Owner.SOLID in owners.values():
        return DropReferences(ended)
    if Owner.WAITING in owners.values() and has_dependents:
        return Collect("Foreground")
    finalizers = metadata(obj).get("finalizers") or ()
    if ORPHAN in finalizers:
        return Collect("Orphan")
    return Collect("Foreground" if FOREGROUND in finalizers else "Background")


def decide_owner(obj: Object, dependents: Sequence[Object]) -> OwnerDecision:
    """Return what the deletion of *obj* asks for, given the *dependents* that name it."""
    if not metadata(obj).get("deletionTimestamp"):
        return Keep()
    finalizers = metadata(obj).get("finalizers") or ()
    if ORPHAN in finalizers:
        return OrphanDependents() if dependents else RemoveFinalizer(ORPHAN)
    if FOREGROUND in finalizers:
        blocking = any(_blocks(d, uid_of(obj)) for d in dependents)
        return CollectDependents() if blocking else RemoveFinalizer(FOREGROUND)
    return Keep()


def _blocks(dependent: Object, owner: str) -> bool:
    return any(r.get("uid") == owner and r.get("blockOwnerDeletion") for r in metadata(dependent).get("ownerReferences") or ())


def essence(obj: Object) -> Object | None:
    """Return what garbage collection needs of an object, or None when nothing depends on it being remembered."""
    meta = metadata(obj)
    finalizers = meta.get("finalizers") or ()
    if not meta.get("ownerReferences") and not (FOREGROUND in finalizers or ORPHAN in finalizers):
        return None
    fields = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers", "deletionTimestamp")
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": {f: meta[f] for f in fields if f in meta}}
