"""What a new Pod says about where it goes: that its gates hold it, and whose label keys its affinity takes from itself. Pure.

Source: k8s.io/kubernetes/pkg/registry/core/pod (strategy).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skerry.apiserver.registry.admission import Admission
from skerry.model.objects import dig, labels_of

GATED = {
    "type": "PodScheduled",
    "status": "False",
    "lastProbeTime": None,
    "lastTransitionTime": None,
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


def admit_placing(asked: Admission) -> None:
    """Say on a new Pod that its gates hold it; write what its (mis)match label keys mean into the selectors of its terms."""
    assert asked.new is not None
    if dig(asked.new, "spec", "schedulingGates"):
        asked.new.setdefault("status", {})["conditions"] = [dict(GATED)]
    labels = labels_of(asked.new)
    for term in _terms(dig(asked.new, "spec", "affinity", default={})):
        wanted = [(k, "In") for k in term.get("matchLabelKeys") or ()] + [(k, "NotIn") for k in term.get("mismatchLabelKeys") or ()]
        more = [{"key": k, "operator": operator, "values": [labels[k]]} for k, operator in wanted if k in labels]
        if more and term.get("labelSelector") is not None:
            selector = term["labelSelector"]
            term["labelSelector"] = {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]}


def _terms(affinity: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("podAffinity", "podAntiAffinity"):
        yield from dig(affinity, kind, "requiredDuringSchedulingIgnoredDuringExecution", default=[])
        for wish in dig(affinity, kind, "preferredDuringSchedulingIgnoredDuringExecution", default=[]):
            yield wish.get("podAffinityTerm") or {}
