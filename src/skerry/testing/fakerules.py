"""What the fake API server lets a write change, and when an object may go. Pure; Kubernetes' rules, as far as clients rely on them."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.kube.api import Propagation
from skerry.model import resources as known
from skerry.model.errors import conflict
from skerry.model.objects import Object, dig, metadata, name_of
from skerry.model.resources import Resource

WITHOUT_STATUS = frozenset(
    {"ConfigMap", "Secret", "Event", "Lease", "ServiceAccount", "RuntimeClass", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
)
WITHOUT_GENERATION = WITHOUT_STATUS | {"Pod", "Service", "Namespace", "Node"}
SERVER_SETS = frozenset({"uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"})
_PROPAGATION_FINALIZERS: Mapping[str, str] = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


def reach(resource: Resource, old: Object, new: Object, subresource: str) -> Object:
    """Return *old* changed only where this endpoint may write."""
    fixed = {k: v for k, v in metadata(old).items() if k in SERVER_SETS}
    meta = {**{k: v for k, v in metadata(new).items() if k not in SERVER_SETS}, **fixed}
    if resource.kind in WITHOUT_STATUS and not subresource:
        return {**new, "metadata": meta}
    if subresource == "status":
        return {**old, "status": new.get("status", {})}
    if subresource == "finalize":
        return {**old, "spec": {**old.get("spec", {}), "finalizers": dig(new, "spec", "finalizers", default=[])}}
    kept = {k: v for k, v in new.items() if k != "status"}
    return {**kept, "metadata": meta, **({"status": old["status"]} if "status" in old else {})}


def check_preconditions(resource: Resource, old: Object, new: Object) -> None:
    """Raise ApiError 409 when *new* was made from another revision, or from another object of the name."""
    for field, why in (("resourceVersion", ""), ("uid", "Precondition failed: UID in precondition does not match")):
        wanted = metadata(new).get(field)
        if wanted and wanted != metadata(old).get(field):
            raise conflict(resource.plural, resource.group, name_of(old).name, why)


def grace_s_of(resource: Resource, obj: Object, asked: int | None) -> int:
    """Return the seconds that an object may take to end: 0 for all but Pods that run on a node."""
    if resource != known.PODS or not dig(obj, "spec", "nodeName") or dig(obj, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    return int(dig(obj, "spec", "terminationGracePeriodSeconds", default=30)) if asked is None else asked


def propagate(obj: Object, propagation: Propagation | None) -> None:
    """Give *obj* the finalizer with which it waits for its dependents, in place."""
    finalizer = _PROPAGATION_FINALIZERS.get(propagation or "")
    finalizers = obj["metadata"].get("finalizers") or []
    if finalizer and finalizer not in finalizers and not metadata(obj).get("deletionTimestamp"):
        obj["metadata"]["finalizers"] = [*finalizers, finalizer]


def is_held(obj: Object) -> bool:
    """Say whether something has to be done before the object may go."""
    held_namespace = obj.get("kind") == "Namespace" and bool(dig(obj, "spec", "finalizers", default=[]))
    return bool(metadata(obj).get("finalizers")) or held_namespace


def bare(obj: Object) -> Object:
    """Return what two revisions must differ in to be two."""
    meta = {k: v for k, v in metadata(obj).items() if k != "resourceVersion" and v not in (None, [], {})}
    return {**obj, "metadata": meta}


def intent(obj: Object) -> Object:
    """Return what a generation counts the changes of."""
    return {k: v for k, v in obj.items() if k not in ("metadata", "status")}
