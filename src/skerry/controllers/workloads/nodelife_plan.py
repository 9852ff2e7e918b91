"""What becomes of a node that is not heard, and of one that is heard again. Pure.

It turns NotReady and takes no new Pods. Its Pods are marked not ready, and nothing else: they are neither evicted nor
replaced, since a node that is cut off keeps running them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from skerry.model.conditions import get_condition, with_condition
from skerry.model.objects import Object, dig
from skerry.model.times import rfc3339

UNREACHABLE = "node.kubernetes.io/unreachable"
NOT_READY = "node.kubernetes.io/not-ready"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_OURS = frozenset({UNREACHABLE, NOT_READY, UNSCHEDULABLE, *_PRESSURES.values()})

REASON = "NodeStatusUnknown"
MESSAGE = "Kubelet stopped posting node status."
NEVER = "Kubelet never posted node status."


POD_REASON = "NodeNotReady"


def ready_status(node: Object) -> str:
    """Return True, False or Unknown; a node that has said nothing yet is False."""
    condition = get_condition(dig(node, "status", "conditions"), "Ready")
    return str(condition.get("status")) if condition else "False"


def is_marked(node: Object) -> bool:
    """Whether we said that the node is not heard."""
    condition = get_condition(dig(node, "status", "conditions"), "Ready")
    return condition is not None and condition.get("status") == "Unknown" and condition.get("reason") == REASON


def silenced_conditions(node: Object, now: datetime) -> list[dict[str, Any]]:
    """Return the conditions of a node that is not heard: what it last said about itself is no longer known."""
    old = dig(node, "status", "conditions", default=[])
    known = [c["type"] for c in old if c["type"] in ("Ready", *_PRESSURES)]
    found: list[dict[str, Any]] = [dict(c) for c in old]
    for kind in known if "Ready" in known else ["Ready", *known]:
        message = MESSAGE if kind in known else NEVER
        found = with_condition(found, kind, None, reason=REASON, message=message, now=now)
    return found


def wanted_taints(node: Object, now: datetime) -> list[dict[str, Any]]:
    """Return the taints that follow from the node's conditions and from cordoning; those of others stay as they are."""
    keys = {"True": [], "False": [NOT_READY], "Unknown": [UNREACHABLE]}[ready_status(node)]
    conditions = dig(node, "status", "conditions", default=[])
    keys += [taint for kind, taint in _PRESSURES.items() if (get_condition(conditions, kind) or {}).get("status") == "True"]
    if dig(node, "spec", "unschedulable", default=False):
        keys.append(UNSCHEDULABLE)
    present: Sequence[Mapping[str, Any]] = dig(node, "spec", "taints", default=[])
    found = [dict(t) for t in present if not _is_ours(t) or t["key"] in keys]
    have = {t["key"] for t in found if _is_ours(t)}
    return [*found, *({"key": k, "effect": "NoSchedule", "timeAdded": rfc3339(now)} for k in keys if k not in have)]


def _is_ours(taint: Mapping[str, Any]) -> bool:
    return taint.get("key") in _OURS and taint.get("effect") == "NoSchedule"


def unready_conditions(pod: Object, now: datetime) -> list[dict[str, Any]] | None:
    """Return the conditions of a Pod whose node is not heard, or None when they need no change."""
    conditions = dig(pod, "status", "conditions", default=[])
    ready = get_condition(conditions, "Ready")
    if ready is None or ready.get("status") != "True" or dig(pod, "status", "phase") in ("Succeeded", "Failed"):
        return None
    return with_condition(conditions, "Ready", False, reason=POD_REASON, message="The node is not heard by the hub.", now=now)


def ready_again_conditions(pod: Object, now: datetime) -> list[dict[str, Any]] | None:
    """Return the conditions of a Pod that only we said was not ready, now that its node is heard; None when it needs no change."""
    conditions = dig(pod, "status", "conditions", default=[])
    ready = get_condition(conditions, "Ready")
    if ready is None or ready.get("status") != "False" or ready.get("reason") != POD_REASON:
        return None
    return with_condition(conditions, "Ready", True, reason="NodeHeardAgain", now=now)
