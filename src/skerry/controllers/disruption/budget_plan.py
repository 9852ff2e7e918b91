"""What the status of a PodDisruptionBudget says. Pure.

A Pod of a node that is not heard is not healthy: while a Site is cut off its budget gives nothing away.
Source: k8s.io/kubernetes/pkg/controller/disruption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from skerry.controllers.workloads.pods import is_finished, is_ready
from skerry.model.conditions import get_condition
from skerry.model.objects import Object, dig, metadata
from skerry.model.times import parse_time, rfc3339

DISRUPTED_S = 120
"""How long an eviction that was granted may wait for its Pod to go before it counts as not done."""


class UnknownScaleError(Exception):
    """A Pod's controller says nowhere how many Pods it wants."""


def needs_scale(budget: Object) -> bool:
    """Say whether the budget counts in terms of how many Pods are wanted."""
    return dig(budget, "spec", "maxUnavailable") is not None or isinstance(dig(budget, "spec", "minAvailable"), str)


def status(budget: Object, pods: Sequence[Object], expected: int, now: datetime) -> tuple[dict[str, Any], float | None]:
    """Return the status for the Pods selected, of which *expected* are wanted, and in how many seconds to look again."""
    desired = desired_healthy(budget, expected)
    disrupted, again_s = _still_disrupted(budget, pods, now)
    counted = [p for p in pods if not metadata(p).get("deletionTimestamp") and metadata(p)["name"] not in disrupted]
    healthy = sum(is_ready(p) and not is_finished(p) for p in counted)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    found = {
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "observedGeneration": metadata(budget).get("generation") or 0,
        "conditions": _conditions(budget, allowed > 0, "SufficientPods" if allowed else "InsufficientPods", "", now),
    }
    return found | ({"disruptedPods": disrupted} if disrupted else {}), again_s


def failed_status(budget: Object, why: str, now: datetime) -> dict[str, Any]:
    """Return the status of a budget that cannot be reckoned: it gives nothing away."""
    before = budget.get("status") or {}
    numbers = {k: before.get(k) or 0 for k in ("currentHealthy", "desiredHealthy", "expectedPods")}
    generation = metadata(budget).get("generation") or 0
    conditions = _conditions(budget, False, "SyncFailed", why, now)
    kept = {"disruptedPods": before["disruptedPods"]} if before.get("disruptedPods") else {}
    return {**numbers, **kept, "disruptionsAllowed": 0, "observedGeneration": generation, "conditions": conditions}


def desired_healthy(budget: Object, expected: int) -> int:
    """Return how many Pods have to stay."""
    most = dig(budget, "spec", "maxUnavailable")
    if most is not None:
        return max(0, expected - scaled(most, expected))
    return scaled(dig(budget, "spec", "minAvailable", default=0), expected)


def scaled(value: int | str, total: int) -> int:
    """Return a number, or a percentage of *total*, rounded up."""
    if isinstance(value, int):
        return value
    return -(-int(value.rstrip("%")) * total // 100)


def _still_disrupted(budget: Object, pods: Sequence[Object], now: datetime) -> tuple[dict[str, str], float | None]:
    there = {metadata(p)["name"] for p in pods if not metadata(p).get("deletionTimestamp")}
    found: dict[str, str] = {}
    again_s: float | None = None
    for name, at in (dig(budget, "status", "disruptedPods", default={})).items():
        left_s = (parse_time(at) + timedelta(seconds=DISRUPTED_S) - now).total_seconds()
        if name in there and left_s > 0:
            found[name] = at
            again_s = left_s if again_s is None else min(again_s, left_s)
    return found, again_s


def _conditions(budget: Object, allowed: bool, reason: str, message: str, now: datetime) -> list[dict[str, Any]]:
    before = dig(budget, "status", "conditions", default=[])
    old: Mapping[str, Any] = get_condition(before, "DisruptionAllowed") or {}
    said = "True" if allowed else "False"
    since = old.get("lastTransitionTime") if old.get("status") == said else None
    new = {
        "type": "DisruptionAllowed",
        "status": said,
        "observedGeneration": metadata(budget).get("generation") or 0,
        "lastTransitionTime": since or rfc3339(now),
        "reason": reason,
        "message": message,
    }
    return [*(c for c in before if c.get("type") != "DisruptionAllowed"), new]
