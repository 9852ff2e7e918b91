"""One look at a Job: the Pods to create and delete, the status to write, and the Pods to let go of after it. Pure.

The order matters: Pods first, then the status, then the finalizers of what the status says is counted. Killed between any
two of these, the next look goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from skerry.controllers.workloads.jobs.facts import (
    MANAGED_BY,
    Facts,
    JobPods,
    is_done,
    is_indexed,
    is_suspended,
    is_tracked,
    limits_each_index,
    sort_pods,
)
from skerry.controllers.workloads.jobs.outcome import Outcome, announced, decide
from skerry.controllers.workloads.jobs.replicas import Create, Delete, Step, resize
from skerry.controllers.workloads.jobs.tally import Tally, count
from skerry.controllers.workloads.pods import is_ready
from skerry.model.conditions import get_condition, is_true, with_condition
from skerry.model.objects import Object, dig
from skerry.model.times import rfc3339

__all__ = ["Create", "Delete", "Facts", "Look", "Note", "Step", "is_ours", "look"]


class Note(msgspec.Struct, frozen=True):
    """An Event about the Job."""

    kind: str
    reason: str
    message: str


class Look(msgspec.Struct, frozen=True):
    """What is to be done, in this order: steps, status, notes, release."""

    steps: Sequence[Step]
    status: Object
    notes: Sequence[Note] = ()
    release: Sequence[Object] = ()
    again_s: float | None = None


def is_ours(job: Object) -> bool:
    """Whether no other controller was named for the Job."""
    return bool(dig(job, "spec", "managedBy", default=MANAGED_BY) == MANAGED_BY)


def look(job: Object, owned: Sequence[Object], facts: Facts) -> Look:
    """Return what the Job needs, given the Pods that it controls."""
    if is_done(job):
        return Look([], job.get("status") or {}, release=[p for p in owned if is_tracked(p)])
    pods = sort_pods(job, owned, facts.silent)
    before = announced(job)
    tally = count(job, pods, ending=before is not None)
    outcome = before or decide(job, pods, tally, facts)
    if outcome is not None and before is None:
        tally = count(job, pods, ending=True)
    again_s = None
    if outcome is None:
        steps, again_s = resize(job, pods, tally, facts)
    else:
        steps = [Delete(p, release=False) for p in pods.active]
    status, notes = _status(job, pods, tally, outcome, facts)
    if outcome is None:
        again_s = _sooner(again_s, _deadline_s(job, facts))
    return Look(steps, status, notes, tally.release, 0.0 if tally.later else again_s)


def _deadline_s(job: Object, facts: Facts) -> float | None:
    deadline_s = dig(job, "spec", "activeDeadlineSeconds")
    if deadline_s is None or is_suspended(job):
        return None
    return max(0.01, float(deadline_s) - facts.running_s)


def _sooner(a: float | None, b: float | None) -> float | None:
    return min((x for x in (a, b) if x is not None), default=None)


def _status(job: Object, pods: JobPods, tally: Tally, outcome: Outcome | None, facts: Facts) -> tuple[Object, list[Note]]:
    old = job.get("status") or {}
    conditions, notes = _suspension(job, old.get("conditions") or [], facts)
    found: Object = {"ready": sum(is_ready(p) for p in pods.active), "terminating": len(pods.terminating)}
    counts = {"active": len(pods.active), "succeeded": tally.counted_succeeded, "failed": tally.counted_failed}
    found |= {k: v for k, v in counts.items() if v}
    if is_indexed(job) and len(tally.completed):
        found["completedIndexes"] = str(tally.completed)
    if limits_each_index(job):
        found["failedIndexes"] = str(tally.failed_indexes)
    pending = {"succeeded": tally.pending_succeeded, "failed": tally.pending_failed}
    found["uncountedTerminatedPods"] = {k: list(v) for k, v in pending.items() if v}
    started = _start_time(job, notes, facts)
    if started:
        found["startTime"] = started
    if outcome is not None:
        conditions = _add(conditions, outcome.announced, outcome, facts)
        if not (pods.active or pods.terminating or found["uncountedTerminatedPods"] or tally.release or tally.later):
            conditions = _add(conditions, outcome.final, outcome, facts)
            notes.append(_farewell(outcome))
            if outcome.succeeded:
                found["completionTime"] = rfc3339(facts.now)
    if conditions:
        found["conditions"] = conditions
    return found, notes


def _farewell(outcome: Outcome) -> Note:
    if outcome.succeeded:
        return Note("Normal", "Completed", "Job completed")
    return Note("Warning", outcome.reason, outcome.message)


def _start_time(job: Object, notes: Sequence[Note], facts: Facts) -> str | None:
    if any(n.reason == "Resumed" for n in notes):
        return rfc3339(facts.now)
    started: str | None = dig(job, "status", "startTime")
    return started or (None if is_suspended(job) else rfc3339(facts.now))


def _suspension(job: Object, conditions: list[dict[str, Any]], facts: Facts) -> tuple[list[dict[str, Any]], list[Note]]:
    was = is_true(conditions, "Suspended")
    if is_suspended(job) and not was:
        return _set(conditions, "Suspended", True, "JobSuspended", "Job suspended", facts), [Note("Normal", "Suspended", "Job suspended")]
    if not is_suspended(job) and was:
        return _set(conditions, "Suspended", False, "JobResumed", "Job resumed", facts), [Note("Normal", "Resumed", "Job resumed")]
    return conditions, []


def _add(conditions: list[dict[str, Any]], kind: str, outcome: Outcome, facts: Facts) -> list[dict[str, Any]]:
    return conditions if is_true(conditions, kind) else _set(conditions, kind, True, outcome.reason, outcome.message, facts)


def _set(conditions: list[dict[str, Any]], kind: str, state: bool, reason: str, message: str, facts: Facts) -> list[dict[str, Any]]:
    found = with_condition(conditions, kind, state, reason=reason, message=message, now=facts.now)
    new = get_condition(found, kind)
    assert new is not None
    probed = {**new, "lastProbeTime": rfc3339(facts.now)}
    return [probed if c["type"] == kind else c for c in found]
