"""What `kubectl rollout status` and `kubectl wait` read: counts and the conditions Available and Progressing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from skerry.controllers.workloads.deployment_plan import HISTORY, limits_of, size, split
from skerry.model.conditions import get_condition, with_condition
from skerry.model.objects import Object, annotations_of, dig, metadata, name_of
from skerry.model.times import parse_time, rfc3339

NO_DEADLINE = 2**31 - 1
"""The `progressDeadlineSeconds` that stands for none: progress is not judged then."""


def status(deployment: Object, replicasets: Sequence[Object], *, now: datetime, collisions: int = 0) -> tuple[Object, float | None]:
    """Return the status, and the seconds until the progress deadline when that is the next thing to happen."""
    new, old = split(deployment, replicasets)
    counts = _counts(new, [*([new] if new else []), *old])
    found: Object = {k: v for k, v in counts.items() if v}
    found["observedGeneration"] = metadata(deployment).get("generation", 0)
    if collisions:
        found["collisionCount"] = collisions
    conditions = _available(deployment, counts, now)
    conditions, again_s = _progressing(deployment, conditions, counts, new, old, now)
    found["conditions"] = _failing(conditions, replicasets, now)
    return found, again_s


def _counts(new: Object | None, everything: Sequence[Object]) -> dict[str, int]:
    def total(field: str) -> int:
        return sum(int(dig(r, "status", field, default=0)) for r in everything)

    actual, available = total("replicas"), total("availableReplicas")
    # What the ReplicaSets shall have counts too: a Pod that is still to be made is unavailable.
    wanted = sum(size(r).wanted for r in everything)
    return {
        "replicas": actual,
        "updatedReplicas": size(new).actual if new else 0,
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available),
    }


def _available(deployment: Object, counts: dict[str, int], now: datetime) -> list[dict[str, Any]]:
    old = dig(deployment, "status", "conditions", default=[])
    if counts["availableReplicas"] >= limits_of(deployment).fewest_available:
        return _set(old, "Available", True, "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    return _set(old, "Available", False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now)


def _progressing(
    deployment: Object,
    conditions: list[dict[str, Any]],
    counts: dict[str, int],
    new: Object | None,
    old: Sequence[Object],
    now: datetime,
) -> tuple[list[dict[str, Any]], float | None]:
    present = get_condition(conditions, "Progressing") or {}
    deadline_s = dig(deployment, "spec", "progressDeadlineSeconds", default=600)
    if deadline_s == NO_DEADLINE:
        return [c for c in conditions if c.get("type") != "Progressing"], None
    if dig(deployment, "spec", "paused", default=False):
        if present.get("reason") == "ProgressDeadlineExceeded":
            return conditions, None
        return _set(conditions, "Progressing", None, "DeploymentPaused", "Deployment is paused", now), None
    if present.get("reason") == "DeploymentPaused":
        return _set(conditions, "Progressing", None, "DeploymentResumed", "Deployment is resumed", now), 0.0
    what = f'ReplicaSet "{name_of(new).name}"' if new else f'Deployment "{name_of(deployment).name}"'
    if new is not None and _complete(deployment, counts, old):
        message = f"{what} has successfully progressed."
        return _set(conditions, "Progressing", True, "NewReplicaSetAvailable", message, now), None
    if present.get("reason") == "NewReplicaSetAvailable" and counts["replicas"] == counts["updatedReplicas"]:
        return conditions, None  # a rollout that has ended stays so when a Pod or its node fails later
    begins = present.get("reason") in (None, "NewReplicaSetAvailable", "DeploymentResumed")
    if begins and new is not None and not _moved(deployment, counts):
        reason, word = ("FoundNewReplicaSet", "Found") if HISTORY in annotations_of(new) else ("NewReplicaSetCreated", "Created")
        message = f'{word} new replica set "{name_of(new).name}"'
        return _set(conditions, "Progressing", True, reason, message, now, touch=True), float(deadline_s)
    if begins or _moved(deployment, counts):
        message = f"{what} is progressing."
        return _set(conditions, "Progressing", True, "ReplicaSetUpdated", message, now, touch=True), float(deadline_s)
    left_s = _left_s(present, float(deadline_s), now)
    if left_s > 0 and present.get("reason") != "ProgressDeadlineExceeded":
        return conditions, left_s
    return _set(conditions, "Progressing", False, "ProgressDeadlineExceeded", f"{what} has timed out progressing.", now), None


def _complete(deployment: Object, counts: dict[str, int], old: Sequence[Object]) -> bool:
    wanted = int(dig(deployment, "spec", "replicas", default=1))
    seen = counts["updatedReplicas"] == wanted and counts["replicas"] == wanted and counts["availableReplicas"] >= wanted
    return seen and not any(size(r).wanted for r in old)


def _moved(deployment: Object, counts: dict[str, int]) -> bool:
    """Whether the rollout got further since the status was last written."""
    before = deployment.get("status") or {}

    def was(field: str) -> int:
        return int(before.get(field) or 0)

    outdated = counts["replicas"] - counts["updatedReplicas"]
    grew = any(counts[f] > was(f) for f in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return grew or outdated < was("replicas") - was("updatedReplicas")


def _left_s(present: Any, deadline_s: float, now: datetime) -> float:
    since = present.get("lastUpdateTime") or present.get("lastTransitionTime")
    if not since:
        return deadline_s
    return (parse_time(since) + timedelta(seconds=deadline_s) - now).total_seconds()


def _failing(conditions: list[dict[str, Any]], replicasets: Sequence[Object], now: datetime) -> list[dict[str, Any]]:
    for replicaset in replicasets:
        failure = get_condition(dig(replicaset, "status", "conditions"), "ReplicaFailure")
        if failure is not None:
            return _set(conditions, "ReplicaFailure", True, failure.get("reason", ""), failure.get("message", ""), now)
    return [c for c in conditions if c.get("type") != "ReplicaFailure"]


def _set(
    conditions: Sequence[dict[str, Any]], kind: str, state: bool | None, reason: str, message: str, now: datetime, *, touch: bool = False
) -> list[dict[str, Any]]:
    """Set a condition with Deployment's extra `lastUpdateTime`, which moves when the condition says something new, or by *touch*."""
    before = get_condition(conditions, kind)
    found = with_condition(conditions, kind, state, reason=reason, message=message, now=now)
    same = before is not None and all(before.get(k) == v for k, v in (get_condition(found, kind) or {}).items() if k != "lastUpdateTime")
    for condition in found:
        if condition["type"] == kind and (touch or not same or "lastUpdateTime" not in condition):
            condition["lastUpdateTime"] = rfc3339(now)
    return found
