"""Which Pods of a Job to create and to delete next. Pure.

Never more Pods work than `parallelism`, and never more than completions are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from skerry.controllers.workloads.jobs.facts import (
    INDEX_FAILURES,
    INDEX_IGNORED,
    Facts,
    JobPods,
    completions,
    index_of,
    is_indexed,
    is_suspended,
    limits_each_index,
    number_at,
    parallelism,
)
from skerry.controllers.workloads.jobs.policies import judge
from skerry.controllers.workloads.jobs.tally import Tally, last_failed
from skerry.controllers.workloads.pods import deletion_order
from skerry.model.objects import Object, metadata, uid_of

BURST = 500
"""Pods created or deleted in one round, as in Kubernetes."""


class Create(msgspec.Struct, frozen=True):
    """Create a Pod, for a completion index when the Job has such."""

    index: int | None = None
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)


class Delete(msgspec.Struct, frozen=True):
    """Delete a Pod; with *release* it is let go first and counts as nothing: it was merely not needed."""

    pod: Object
    release: bool


Step = Create | Delete


def resize(job: Object, pods: JobPods, tally: Tally, facts: Facts) -> tuple[list[Step], float | None]:
    """Return the next steps of a Job that goes on, and the seconds until a back-off ends, or None."""
    if metadata(job).get("deletionTimestamp"):
        return [], None
    if is_suspended(job):
        return [Delete(p, release=True) for p in pods.active[:BURST]], None
    surplus = _surplus(job, pods, tally)
    if surplus:
        return [Delete(p, release=True) for p in surplus[:BURST]], None
    missing = min(_wanted(job, pods, tally) - len(pods.active) - len(pods.awaited), BURST)
    if missing <= 0:
        return [], None
    if limits_each_index(job):
        return _per_index(job, pods, tally, facts, missing)
    if facts.retry_s > 0:
        return [], facts.retry_s
    if not is_indexed(job):
        return [Create() for _ in range(missing)], None
    return [Create(i) for i in _free(job, pods, tally)[:missing]], None


def _wanted(job: Object, pods: JobPods, tally: Tally) -> int:
    needed = completions(job)
    if needed is None:
        return len(pods.active) if tally.succeeded else parallelism(job)
    return max(0, min(needed - tally.succeeded, parallelism(job)))


def _surplus(job: Object, pods: JobPods, tally: Tally) -> Sequence[Object]:
    """Return active Pods that are not needed: of an index that is done or has a Pod already first, then what is missed least."""
    useless = _useless(job, pods, tally) if is_indexed(job) else []
    gone = {uid_of(p) for p in useless}
    left = [p for p in pods.active if uid_of(p) not in gone]
    more = len(left) - _wanted(job, pods, tally)
    return [*useless, *(deletion_order(left)[:more] if more > 0 else [])]


def _useless(job: Object, pods: JobPods, tally: Tally) -> list[Object]:
    taken: set[int] = set()
    found = []
    # Of two Pods on one index the one that got further stays.
    for pod in reversed(deletion_order(pods.active)):
        index = index_of(pod)
        if index is None or index >= (completions(job) or 0) or index in taken or index in tally.completed:
            found.append(pod)
        else:
            taken.add(index)
    return found


def _free(job: Object, pods: JobPods, tally: Tally) -> list[int]:
    """Return the indexes that nobody works on and that are not done, ascending."""
    taken = {index_of(p) for p in (*pods.active, *pods.awaited)}
    done = tally.completed | tally.failed_indexes
    found = []
    for index in done.missing(completions(job) or 0):
        if index not in taken:
            found.append(index)
            if len(found) >= BURST:
                break
    return found


def _per_index(job: Object, pods: JobPods, tally: Tally, facts: Facts, missing: int) -> tuple[list[Step], float | None]:
    failed = last_failed(job, pods, tally.completed, tally.failed_indexes)
    steps: list[Step] = []
    waits = []
    for index in _free(job, pods, tally):
        wait_s = facts.index_retry_s.get(index, 0.0) if index in failed else 0.0
        if wait_s > 0:
            waits.append(wait_s)
        elif len(steps) < missing:
            steps.append(Create(index, _failures(job, failed.get(index))))
    return steps, min(waits, default=None)


def _failures(job: Object, before: Object | None) -> dict[str, str]:
    """Return the annotations that carry on how often the index failed."""
    if before is None:
        return {INDEX_FAILURES: "0"}
    ignored = judge(job, before).action == "Ignore"
    failures, forgiven = number_at(before, INDEX_FAILURES), number_at(before, INDEX_IGNORED)
    found = {INDEX_FAILURES: str(failures + (not ignored))}
    if forgiven or ignored:
        found[INDEX_IGNORED] = str(forgiven + ignored)
    return found
