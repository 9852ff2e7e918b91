"""The few rules of built-in kinds that no schema states: who owns the status, what counts as a change of intent. Pure.

What depends on the whole object (the generation, a Pod's quality of service) is said last, when nobody completes it any more.
"""

from __future__ import annotations

from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.meta import intent_changed
from skerry.apiserver.schema.defaults.pods import qos_class
from skerry.model.objects import Object

# Without metadata.generation, as kube-apiserver 1.32 has it.
NO_GENERATION = frozenset(
    (
        "bindings", "configmaps", "endpoints", "events", "limitranges", "namespaces", "nodes", "persistentvolumeclaims",
        "persistentvolumes", "pods", "resourcequotas", "secrets", "serviceaccounts", "services",
        "controllerrevisions.apps", "events.events.k8s.io", "leases.coordination.k8s.io",
        "certificatesigningrequests.certificates.k8s.io", "horizontalpodautoscalers.autoscaling",
        "roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
        "csidrivers.storage.k8s.io", "csinodes.storage.k8s.io", "csistoragecapacities.storage.k8s.io",
        "storageclasses.storage.k8s.io", "volumeattachments.storage.k8s.io", "apiservices.apiregistration.k8s.io",
        "runtimeclasses.node.k8s.io", "ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io",
    )
)  # fmt: skip
CREATE_ON_UPDATE = frozenset(
    (
        "leases.coordination.k8s.io", "events", "events.events.k8s.io", "endpoints", "services", "limitranges",
        "roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io", "runtimeclasses.node.k8s.io",
    )
)  # fmt: skip
_STATUS_TAKES_LABELS = frozenset(("nodes", "pods"))


def prepare_for_create(kind: Kind, obj: Object) -> None:
    """Drop a status that the client has no business to set."""
    kind.schema.reset_status(obj)


def finish_new(kind: Kind, obj: Object) -> None:
    """Start the generation, and say of a Pod what follows from the rest of it."""
    if kind.key == "pods":
        obj["status"]["qosClass"] = qos_class(obj["spec"])
    if kind.has_generation:
        obj["metadata"]["generation"] = 1
    elif "generation" in obj["metadata"] and kind.custom:
        del obj["metadata"]["generation"]


def prepare_for_update(kind: Kind, obj: Object, old: Object, subresource: str) -> None:
    """Keep what this (sub)resource does not own as it was, and complete the object."""
    _keep(kind, obj, old, subresource)
    kind.schema.default(obj)


def count_generation(kind: Kind, obj: Object, old: Object, subresource: str) -> None:
    """Count a change of intent; what was filled in, or taken back, as it was is none."""
    if not kind.has_generation or subresource in ("status", "ephemeralcontainers"):
        return
    if intent_changed(obj, old, status=kind.has_status or not kind.custom):
        obj["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1


def _keep(kind: Kind, obj: Object, old: Object, subresource: str) -> None:
    if subresource == "status":
        _keep_all_but_status(kind, obj, old)
        return
    if subresource == "ephemeralcontainers":
        _keep_all_but_ephemeral_containers(obj, old)
        return
    if subresource == "finalize":
        obj["metadata"] = {k: v for k, v in old["metadata"].items() if k != "resourceVersion"}
    elif kind.key == "namespaces":
        obj["spec"] = old.get("spec") or {}
    if kind.has_status and subresource in ("", "finalize"):
        if "status" in old:
            obj["status"] = old["status"]
        else:
            obj.pop("status", None)


def _keep_all_but_ephemeral_containers(obj: Object, old: Object) -> None:
    added = (obj.get("spec") or {}).get("ephemeralContainers")
    revision = obj["metadata"].get("resourceVersion")
    for key in [k for k in obj if k not in old]:
        del obj[key]
    obj.update(old)
    obj["spec"] = {k: v for k, v in old["spec"].items() if k != "ephemeralContainers"} | ({"ephemeralContainers": added} if added else {})
    obj["metadata"] = {k: v for k, v in old["metadata"].items() if k != "resourceVersion"}
    if revision:
        obj["metadata"]["resourceVersion"] = revision


def _keep_all_but_status(kind: Kind, obj: Object, old: Object) -> None:
    status = obj.get("status")
    meta, before = obj["metadata"], old["metadata"]
    if kind.custom:
        kept = dict(before)
        if "resourceVersion" in meta:
            kept["resourceVersion"] = meta["resourceVersion"]
        obj["metadata"] = kept
    else:
        # Who may write the status may not so hold an object back, let it go, or give it away.
        for key in ("finalizers", "ownerReferences", *(() if kind.key in _STATUS_TAKES_LABELS else ("labels",))):
            if key in before:
                meta[key] = before[key]
            else:
                meta.pop(key, None)
    for key in [k for k in obj if k not in ("apiVersion", "kind", "metadata", "status")]:
        del obj[key]
    for key, value in old.items():
        if key not in ("apiVersion", "kind", "metadata", "status"):
            obj[key] = value
    if status is None:
        obj.pop("status", None)
