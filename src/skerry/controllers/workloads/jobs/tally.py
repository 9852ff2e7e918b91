"""Counts a Job's ended Pods, each exactly once, whenever the process may be killed. Pure.

A Pod carries a finalizer until it is counted. It is first written into `status.uncountedTerminatedPods` (an index into
`completedIndexes`), then its finalizer goes, and only when it has gone is the Pod moved into the counters. Whoever reads
status and Pods between two of these writes comes to the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from skerry.controllers.workloads.jobs.facts import (
    INDEX_FAILURES,
    JobPods,
    completions,
    index_of,
    is_indexed,
    is_tracked,
    limits_each_index,
    number_at,
)
from skerry.controllers.workloads.jobs.indexes import Indexes
from skerry.controllers.workloads.jobs.policies import Judgement, judge
from skerry.model.objects import Object, dig, metadata, uid_of

AT_ONCE = 500
"""Pods taken into one status, as in Kubernetes: it keeps the object small."""


class Tally(msgspec.Struct, frozen=True):
    """The counts as they are to be written, and the Pods that may be let go once they are."""

    counted_succeeded: int
    counted_failed: int
    pending_succeeded: Sequence[str]
    """UIDs for `uncountedTerminatedPods.succeeded`."""
    pending_failed: Sequence[str]
    completed: Indexes
    failed_indexes: Indexes
    release: Sequence[Object]
    later: bool
    """Whether more Pods wait to be taken in."""
    fail_job: str
    """Why a FailJob rule of the podFailurePolicy holds, or ""."""

    @property
    def succeeded(self) -> int:
        return self.counted_succeeded + len(self.pending_succeeded)

    @property
    def failed(self) -> int:
        return self.counted_failed + len(self.pending_failed)


def count(job: Object, pods: JobPods, *, ending: bool) -> Tally:
    """Return the tally; *ending* says that the Job is decided, so that no failed Pod is kept for its successor."""
    status = job.get("status") or {}
    tracked = {uid_of(p): p for p in pods.every if is_tracked(p)}
    before = {k: list(dig(status, "uncountedTerminatedPods", k, default=[])) for k in ("succeeded", "failed")}
    kept = {k: [u for u in uids if u in tracked] for k, uids in before.items()}
    seen = {*before["succeeded"], *before["failed"]}
    judged = [(p, judge(job, p)) for p in pods.failed if uid_of(p) in tracked and uid_of(p) not in seen]
    completed = _completed(job, pods, tracked)
    failed_indexes = _failed_indexes(job, judged, completed)
    delayed = set() if ending else _delayed(job, pods, judged, completed, failed_indexes)
    room = AT_ONCE - len(kept["succeeded"]) - len(kept["failed"])
    fresh = _fresh_succeeded(job, pods, tracked, seen)
    succeeded, failed = fresh[:room], [(p, j) for p, j in judged if uid_of(p) not in delayed][: max(0, room - len(fresh))]
    done_indexes = _of_completed(job, pods, tracked) if is_indexed(job) else []
    pending = {
        "succeeded": [*kept["succeeded"], *(uid_of(p) for p in succeeded)],
        "failed": [*kept["failed"], *(uid_of(p) for p, j in failed if j.action != "Ignore")],
    }
    uids = {*pending["succeeded"], *pending["failed"], *(uid_of(p) for p, j in failed if j.action == "Ignore"), *map(uid_of, done_indexes)}
    folded = {k: len(before[k]) - len(kept[k]) for k in before}
    return Tally(
        counted_succeeded=len(completed) if is_indexed(job) else int(status.get("succeeded") or 0) + folded["succeeded"],
        counted_failed=int(status.get("failed") or 0) + folded["failed"],
        pending_succeeded=pending["succeeded"],
        pending_failed=pending["failed"],
        completed=completed,
        failed_indexes=failed_indexes,
        release=[tracked[u] for u in sorted(uids) if u in tracked],
        later=len(fresh) + len([1 for p, _ in judged if uid_of(p) not in delayed]) > len(succeeded) + len(failed),
        fail_job=next((j.message for _, j in judged if j.action == "FailJob"), ""),
    )


def _fresh_succeeded(job: Object, pods: JobPods, tracked: dict[str, Object], seen: set[str]) -> list[Object]:
    if is_indexed(job):
        return []
    return [p for p in pods.succeeded if uid_of(p) in tracked and uid_of(p) not in seen]


def _of_completed(job: Object, pods: JobPods, tracked: dict[str, Object]) -> list[Object]:
    """Return the Pods of an indexed Job that succeeded: their indexes are in the status that is written."""
    return [p for p in pods.succeeded if uid_of(p) in tracked]


def _completed(job: Object, pods: JobPods, tracked: dict[str, Object]) -> Indexes:
    if not is_indexed(job):
        return Indexes()
    limit = completions(job) or 0
    new = (index_of(p) for p in pods.succeeded if uid_of(p) in tracked)
    return Indexes.parse(dig(job, "status", "completedIndexes"), limit=limit) | Indexes.of(i for i in new if i is not None and i < limit)


def _failed_indexes(job: Object, judged: Sequence[tuple[Object, Judgement]], completed: Indexes) -> Indexes:
    if not limits_each_index(job):
        return Indexes()
    limit, most = completions(job) or 0, int(job["spec"]["backoffLimitPerIndex"])
    found = []
    for pod, judgement in judged:
        index = index_of(pod)
        if index is not None and index < limit and index not in completed:
            counts = judgement.action != "Ignore"
            if judgement.action == "FailIndex" or (counts and number_at(pod, INDEX_FAILURES) + 1 > most):
                found.append(index)
    return Indexes.parse(dig(job, "status", "failedIndexes"), limit=limit) | Indexes.of(found)


def _delayed(
    job: Object, pods: JobPods, judged: Sequence[tuple[Object, Judgement]], completed: Indexes, failed_indexes: Indexes
) -> set[str]:
    """Return the UIDs of failed Pods that are kept until their successors carry their failure counts on."""
    if not limits_each_index(job):
        return set()
    last = last_failed(job, pods, completed, failed_indexes)
    return {uid_of(p) for p in last.values()} & {uid_of(p) for p, _ in judged}


def last_failed(job: Object, pods: JobPods, completed: Indexes, failed_indexes: Indexes) -> dict[int, Object]:
    """Return, for each index that is to be tried again, the Pod that failed last on it."""
    limit, active = completions(job) or 0, {index_of(p) for p in pods.active}
    found: dict[int, Object] = {}
    for pod in (p for p in pods.failed if is_tracked(p)):
        index = index_of(pod)
        if index is None or index >= limit or index in active or index in completed or index in failed_indexes:
            continue
        if index not in found or _attempt(found[index]) <= _attempt(pod):
            found[index] = pod
    return found


def _attempt(pod: Object) -> tuple[int, str]:
    return number_at(pod, INDEX_FAILURES), str(metadata(pod).get("creationTimestamp") or "")
