"""Which admission plug-ins there are, and for which kinds."""

from __future__ import annotations

from collections.abc import Iterable

from skerry.apiserver.registry.admission import Admission, Chain, Plugin
from skerry.apiserver.registry.admit_claims import admit_claim, admit_growth, keep_local_paths
from skerry.apiserver.registry.admit_placing import admit_placing
from skerry.apiserver.registry.admit_pods import admit_pod
from skerry.apiserver.registry.pod_warnings import warn_of_pods
from skerry.model.errors import forbidden, invalid
from skerry.model.kinds import Definition

IMMORTAL = frozenset(("default", "kube-system", "kube-public"))
NAMESPACES = "namespaces"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
NOT_READY = "node.kubernetes.io/not-ready"


def standard_chain() -> Chain:
    """Return the plug-ins of built-in kinds."""
    chain = Chain()
    chain.mutating("pods", ("CREATE",), admit_pod)
    chain.mutating("pods", ("CREATE",), admit_placing)
    chain.mutating("nodes", ("CREATE",), _not_ready_yet)
    chain.mutating("pods", ("CREATE", "UPDATE"), keep_local_paths)
    chain.mutating("persistentvolumeclaims", ("CREATE",), admit_claim)
    chain.mutating("persistentvolumes", ("CREATE",), _phase_since_now)
    chain.mutating(CRDS, ("CREATE",), _first_status)
    chain.mutating(CRDS, ("UPDATE",), _remember_storage_version)
    chain.validating(NAMESPACES, ("DELETE",), _spare_namespace)
    chain.validating("persistentvolumeclaims", ("UPDATE",), admit_growth)
    warn_of_pods(chain)
    return chain


def _not_ready_yet(asked: Admission) -> None:
    """Keep Pods from a node until it was seen to be ready."""
    assert asked.new is not None
    spec = asked.new.setdefault("spec", {})
    taints = spec.get("taints") or []
    if not any(t.get("key") == NOT_READY and t.get("effect") == "NoSchedule" for t in taints):
        spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]


def _phase_since_now(asked: Admission) -> None:
    assert asked.new is not None
    asked.new.setdefault("status", {})["lastPhaseTransitionTime"] = asked.registry.timestamp()


def _first_status(asked: Admission) -> None:
    """Say in which version the objects of a new custom kind are stored; the rest of its status follows."""
    assert asked.new is not None
    stored = [v["name"] for v in (asked.new.get("spec") or {}).get("versions") or () if v.get("storage")][:1]
    asked.new["status"] = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}


def _remember_storage_version(asked: Admission) -> None:
    """Say in every version that objects may be stored in; only somebody who rewrote them takes one away, from the status."""
    assert asked.new is not None
    if asked.subresource:
        return
    status = asked.new.get("status") or {}
    stored = status.get("storedVersions") or []
    wanted = [v["name"] for v in (asked.new.get("spec") or {}).get("versions") or () if v.get("storage")][:1]
    if wanted and wanted[0] not in stored:
        asked.new["status"] = {**status, "storedVersions": [*stored, *wanted]}


def _spare_namespace(asked: Admission) -> None:
    if asked.name in IMMORTAL:
        raise forbidden(NAMESPACES, "", asked.name, "this namespace may not be deleted")


def admit_definitions(chain: Chain, definitions: Iterable[Definition]) -> None:
    """Let the rules of our own kinds complete and judge their objects."""
    for definition in definitions:
        key = definition.resource.key
        if definition.default is not None:
            chain.mutating(key, ("CREATE", "UPDATE"), _defaults(definition))
        if definition.admit is not None:
            chain.validating(key, ("CREATE", "UPDATE"), _judges(definition))


def _defaults(definition: Definition) -> Plugin:
    default = definition.default
    assert default is not None

    def plugin(asked: Admission) -> None:
        if asked.new is not None and not asked.subresource:
            default(asked.new, asked.old, asked.registry.lookup)

    return plugin


def _judges(definition: Definition) -> Plugin:
    admit = definition.admit
    assert admit is not None

    def plugin(asked: Admission) -> None:
        if asked.new is None or asked.subresource:
            return
        causes = admit(asked.new, asked.old, asked.registry.lookup)
        if causes:
            raise invalid(definition.resource.kind, definition.resource.group, asked.name, causes)

    return plugin
