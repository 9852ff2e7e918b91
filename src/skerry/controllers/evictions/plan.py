"""When a Pod has to leave its node. Pure.

What must stay true: nothing of a node that is not heard is removed within the outage that its Site is built for. After that only
Pods go whose template says so, and never one that is bound to what only its node has: a local volume, a device.
Source: k8s.io/kubernetes/pkg/controller/tainteviction (tolerationSeconds).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skerry.controllers.workloads.pods import is_finished
from skerry.controllers.workloads.scheduling import tolerates
from skerry.model.objects import Object, annotations_of, dig, metadata

WHEN_CUT_OFF = "skerry.dev/when-cut-off"
REPLACE = "Replace"
SILENT_FOR = "skerry.dev/silent-for-hours"
"""On Nodes: whole hours for which the hub listened and did not hear the node."""
LocalClaim = Callable[[str, str], bool]
"""Says whether a claim (namespace, name) is of a volume that only one node has."""


def taints_of(node: Object) -> list[Mapping[str, Any]]:
    """Return the taints that drive Pods away."""
    return [t for t in dig(node, "spec", "taints", default=[]) if t.get("effect") == "NoExecute"]


def leaves_in_s(pod: Object, taints: Sequence[tuple[Mapping[str, Any], float]]) -> float | None:
    """Return in how many seconds the Pod has to leave because of *taints*, each with its age in seconds: 0 is now, None is never."""
    if is_finished(pod) or metadata(pod).get("deletionTimestamp"):
        return None
    tolerations = dig(pod, "spec", "tolerations", default=[])
    found: list[float] = []
    for taint, age_s in taints:
        first = next((t for t in tolerations if tolerates(t, taint)), None)
        if first is None:
            return 0.0
        if first.get("tolerationSeconds") is not None:
            found.append(max(0.0, float(first["tolerationSeconds"]) - age_s))
    return min(found, default=None)


def is_replaced(pod: Object, silent_s: float, longest_outage_s: float, local: LocalClaim) -> bool:
    """Say whether a Pod of a node that was not heard for so long is given up, so that another takes its place."""
    if silent_s <= longest_outage_s or is_finished(pod) or metadata(pod).get("deletionTimestamp"):
        return False
    return annotations_of(pod).get(WHEN_CUT_OFF) == REPLACE and not is_bound_to_its_node(pod, local)


def is_bound_to_its_node(pod: Object, local: LocalClaim) -> bool:
    """Say whether the Pod uses what only its node has."""
    for volume in dig(pod, "spec", "volumes", default=[]):
        claim = dig(volume, "persistentVolumeClaim", "claimName")
        if "hostPath" in volume or (claim and local(str(metadata(pod).get("namespace")), claim)):
            return True
    containers = [*dig(pod, "spec", "containers", default=[]), *dig(pod, "spec", "initContainers", default=[])]
    amounts = (dig(c, "resources", k, default={}) for c in containers for k in ("requests", "limits"))
    return any("/" in name for asked in amounts for name in asked)
