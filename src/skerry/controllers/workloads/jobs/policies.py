"""A Job's podFailurePolicy and successPolicy: which rule holds for a failed Pod, and for what has succeeded. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from skerry.controllers.workloads.jobs.facts import full_name
from skerry.controllers.workloads.jobs.indexes import Indexes
from skerry.model.conditions import get_condition
from skerry.model.objects import Object, dig


class Judgement(msgspec.Struct, frozen=True):
    """What the first rule that holds says: Count, Ignore, FailIndex or FailJob, and why."""

    action: str = "Count"
    message: str = ""


def judge(job: Object, pod: Object) -> Judgement:
    """Return what the podFailurePolicy says about a failed Pod; without a rule that holds it counts."""
    for number, rule in enumerate(dig(job, "spec", "podFailurePolicy", "rules", default=[])):
        why = _exit_code(rule.get("onExitCodes"), pod) or _condition(rule.get("onPodConditions") or (), pod)
        if why:
            return Judgement(rule["action"], f"{why} matching {rule['action']} rule at index {number}")
    return Judgement()


def _exit_code(wanted: Object | None, pod: Object) -> str:
    if not wanted:
        return ""
    for container in _containers(pod):
        code = dig(container, "state", "terminated", "exitCode", default=0)
        named = wanted.get("containerName") in (None, "", container.get("name"))
        if code and named and (code in wanted.get("values", ())) == (wanted.get("operator") == "In"):
            return f"Container {container.get('name')} for pod {full_name(pod)} failed with exit code {code}"
    return ""


def _containers(pod: Object) -> Iterator[Object]:
    for field in ("containerStatuses", "initContainerStatuses"):
        yield from dig(pod, "status", field, default=[])


def _condition(wanted: tuple[Object, ...] | list[Object], pod: Object) -> str:
    for pattern in wanted:
        found = get_condition(dig(pod, "status", "conditions"), pattern.get("type", ""))
        if found is not None and found.get("status") == (pattern.get("status") or "True"):
            return f"Pod {full_name(pod)} has condition {pattern.get('type')}"
    return ""


def success(job: Object, completed: Indexes, limit: int) -> str:
    """Return why the successPolicy is met, or ""."""
    for number, rule in enumerate(dig(job, "spec", "successPolicy", "rules", default=[])):
        if _is_met(rule, completed, limit):
            return f"Matched rules at index {number}"
    return ""


def _is_met(rule: Object, completed: Indexes, limit: int) -> bool:
    chosen = Indexes.parse(rule["succeededIndexes"], limit=limit) if rule.get("succeededIndexes") else None
    done = len(completed) if chosen is None else sum(i in completed for i in chosen)
    needed = rule.get("succeededCount")
    if needed is None:
        return chosen is not None and done == len(chosen)
    return done >= int(needed)
