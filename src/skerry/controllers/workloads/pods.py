"""How workload controllers read Pods, and how they make one from a template. Pure.

A Pod on a node that is not heard counts as it stands: it is probably still running there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from skerry.model.conditions import get_condition, is_true, with_condition
from skerry.model.objects import Object, annotations_of, dig, labels_of, metadata, owner_reference, uid_of
from skerry.model.selectors import from_label_selector
from skerry.model.times import parse_time

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def is_finished(pod: Object) -> bool:
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether the Pod counts as one of its controller's replicas."""
    return not is_finished(pod) and not metadata(pod).get("deletionTimestamp")


def is_ready(pod: Object) -> bool:
    return is_true(dig(pod, "status", "conditions"), "Ready")


def ready_since(pod: Object) -> datetime | None:
    condition = get_condition(dig(pod, "status", "conditions"), "Ready")
    if condition is None or condition.get("status") != "True" or not condition.get("lastTransitionTime"):
        return None
    return parse_time(condition["lastTransitionTime"])


def available_in_s(pod: Object, *, min_ready_s: int, now: datetime) -> float | None:
    """Return in how many seconds the Pod has been ready for long enough: 0 is now, None is not ready."""
    if not is_ready(pod):
        return None
    since = ready_since(pod)
    if not min_ready_s or since is None:
        return 0.0
    return max(0.0, (since + timedelta(seconds=min_ready_s) - now).total_seconds())


def deletion_order(pods: Iterable[Object], others: Iterable[Object] = ()) -> list[Object]:
    """Return the Pods, those first that are missed least: unbound, not started, not ready, cheap, crowded, restarting, young.

    *others* crowd a node, too: the Pods of a Deployment's other ReplicaSets.
    """
    found = list(pods)
    crowd: dict[str, int] = {}
    for pod in (*found, *(p for p in others if is_active(p))):
        node = dig(pod, "spec", "nodeName", default="")
        crowd[node] = crowd.get(node, 0) + 1
    return sorted(found, key=lambda p: _rank(p, crowd))


def _rank(pod: Object, crowd: Mapping[str, int]) -> tuple[Any, ...]:
    node = dig(pod, "spec", "nodeName", default="")
    phase = {"Pending": 0, "Unknown": 1}.get(dig(pod, "status", "phase", default="Pending"), 2)
    restarts = max((c.get("restartCount") or 0 for c in dig(pod, "status", "containerStatuses", default=[])), default=0)
    since = ready_since(pod)
    young_first = tuple(-ord(c) for c in metadata(pod).get("creationTimestamp") or "")
    return (
        bool(node),
        phase,
        is_ready(pod),
        _cost(pod),
        -crowd[node],
        -since.timestamp() if since else 0.0,
        -restarts,
        young_first,
        metadata(pod).get("name"),
    )


def _cost(pod: Object) -> int:
    try:
        return int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def disruption(pod: Object, reason: str, message: str, now: datetime) -> Object:
    """Return the merge patch of the status that says why the Pod is about to end; a Job's podFailurePolicy reads it."""
    conditions = with_condition(dig(pod, "status", "conditions"), "DisruptionTarget", True, reason=reason, message=message, now=now)
    return {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": conditions}}


def pod_from_template(owner: Object, template: Mapping[str, Any]) -> Object:
    """Return the Pod that *owner* creates; the server completes its name."""
    meta = metadata(template)
    found: Object = {"generateName": _prefix(metadata(owner)["name"]), "namespace": metadata(owner)["namespace"]}
    for field in ("labels", "annotations", "finalizers"):
        if meta.get(field):
            found[field] = copy.deepcopy(meta[field])
    found["ownerReferences"] = [owner_reference(owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": found, "spec": copy.deepcopy(template.get("spec") or {})}


def selection(owner: Object) -> Callable[[Object], bool]:
    """Return whether *owner* selects an object by its labels; nothing is selected by an empty selector. Read it once for many."""
    selector = from_label_selector(dig(owner, "spec", "selector"))
    if not selector:
        return lambda _: False
    return lambda obj: selector.matches(labels_of(obj))


def _prefix(name: str) -> str:
    """Return the start of generated names; five characters and the dash have to fit into 63."""
    return f"{name[:57]}-"


def matches_all(labels: Mapping[str, str], obj: Object) -> bool:
    have = labels_of(obj)
    return all(have.get(k) == v for k, v in labels.items())
