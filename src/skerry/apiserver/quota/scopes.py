"""Which Pods a quota with scopes speaks of; nothing but Pods has any. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skerry.model.objects import Object, dig


def in_scope(quota: Object, key: str, obj: Object | None) -> bool:
    """Say whether the quota counts this object."""
    spec = quota.get("spec") or {}
    terms = [{"scopeName": s, "operator": "Exists"} for s in spec.get("scopes") or ()]
    terms += dig(spec, "scopeSelector", "matchExpressions", default=[])
    if not terms:
        return True
    return key == "pods" and obj is not None and all(_holds(term, obj) for term in terms)


def _holds(term: Mapping[str, Any], pod: Object) -> bool:
    scope = term.get("scopeName")
    if scope == "PriorityClass":
        return _priority(term, dig(pod, "spec", "priorityClassName", default=""))
    rule = _SCOPES.get(str(scope))
    return rule is not None and rule(pod)


def _priority(term: Mapping[str, Any], name: str) -> bool:
    match term.get("operator"):
        case "Exists":
            return bool(name)
        case "DoesNotExist":
            return not name
        case "In":
            return name in (term.get("values") or ())
        case "NotIn":
            return name not in (term.get("values") or ())
    return False


def _terminating(pod: Object) -> bool:
    return dig(pod, "spec", "activeDeadlineSeconds") is not None


def _best_effort(pod: Object) -> bool:
    containers = [*dig(pod, "spec", "containers", default=[]), *dig(pod, "spec", "initContainers", default=[])]
    return not any((c.get("resources") or {}).get(k) for c in containers for k in ("requests", "limits"))


def _crosses_namespaces(pod: Object) -> bool:
    affinity = dig(pod, "spec", "affinity", default={})
    terms = []
    for kind in ("podAffinity", "podAntiAffinity"):
        terms += dig(affinity, kind, "requiredDuringSchedulingIgnoredDuringExecution", default=[])
        weighted = dig(affinity, kind, "preferredDuringSchedulingIgnoredDuringExecution", default=[])
        terms += [w.get("podAffinityTerm") or {} for w in weighted]
    return any(t.get("namespaces") or t.get("namespaceSelector") is not None for t in terms)


_SCOPES: Mapping[str, Callable[[Object], bool]] = {
    "Terminating": _terminating,
    "NotTerminating": lambda pod: not _terminating(pod),
    "BestEffort": _best_effort,
    "NotBestEffort": lambda pod: not _best_effort(pod),
    "CrossNamespacePodAffinity": _crosses_namespaces,
}
