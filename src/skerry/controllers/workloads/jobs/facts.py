"""What a Job's Pods are to it: running, ending, ended, and which completion they work on. Pure.

A Pod on a node that is not heard is probably still working. Nobody may take it for failed, and nobody works on the same
completion beside it, until its node is heard again or somebody removes the Pod by force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from skerry.controllers.workloads.pods import is_finished
from skerry.model.conditions import get_condition, is_true
from skerry.model.objects import Object, annotations_of, dig, metadata, name_of

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
INDEX_IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
MANAGED_BY = "kubernetes.io/job-controller"


class Facts(msgspec.Struct, frozen=True):
    """What a look at a Job depends on besides the Job and its Pods."""

    now: datetime
    silent: frozenset[str] = frozenset()
    """Nodes that are not heard."""
    running_s: float = 0.0
    """How long the Job has been running since `status.startTime`."""
    retry_s: float = 0.0
    """How long the back-off after failures still lasts."""
    index_retry_s: Mapping[int, float] = msgspec.field(default_factory=dict)
    """The same for each index, with `backoffLimitPerIndex`."""


class JobPods(msgspec.Struct, frozen=True):
    """The Pods that a Job controls, by what they are to it."""

    every: Sequence[Object]
    active: Sequence[Object]
    terminating: Sequence[Object]
    awaited: Sequence[Object]
    """Terminating Pods that may not be replaced before they have ended."""
    failed: Sequence[Object]
    succeeded: Sequence[Object]


def sort_pods(job: Object, pods: Sequence[Object], silent: frozenset[str]) -> JobPods:
    """Return the Pods by what they are to *job*."""
    active = [p for p in pods if not is_finished(p) and not metadata(p).get("deletionTimestamp")]
    terminating = [p for p in pods if _is_terminating(p)]
    return JobPods(
        every=pods,
        active=active,
        terminating=terminating,
        awaited=[p for p in terminating if only_failed_are_replaced(job) or node_of(p) in silent],
        failed=[p for p in pods if is_failed(job, p, silent)],
        succeeded=[p for p in pods if dig(p, "status", "phase") == "Succeeded"],
    )


def _is_terminating(pod: Object) -> bool:
    return bool(metadata(pod).get("deletionTimestamp")) and not is_finished(pod) and not _is_let_go(pod)


def _is_let_go(pod: Object) -> bool:
    """Whether no node holds the Pod any more: it is there only because of its finalizers."""
    meta = metadata(pod)
    return bool(meta.get("deletionTimestamp")) and not meta.get("deletionGracePeriodSeconds")


def is_failed(job: Object, pod: Object, silent: frozenset[str]) -> bool:
    """Whether the Pod counts as a failure."""
    phase = dig(pod, "status", "phase")
    if phase in ("Failed", "Succeeded"):
        return bool(phase == "Failed")
    if _is_let_go(pod):
        return True
    ending = bool(metadata(pod).get("deletionTimestamp"))
    return ending and not only_failed_are_replaced(job) and node_of(pod) not in silent


def only_failed_are_replaced(job: Object) -> bool:
    return bool(dig(job, "spec", "podReplacementPolicy", default="TerminatingOrFailed") == "Failed")


def node_of(pod: Object) -> str:
    return str(dig(pod, "spec", "nodeName", default=""))


def is_tracked(pod: Object) -> bool:
    """Whether the Pod still waits to be counted."""
    return TRACKING in (metadata(pod).get("finalizers") or ())


def is_indexed(job: Object) -> bool:
    return bool(dig(job, "spec", "completionMode") == "Indexed")


def limits_each_index(job: Object) -> bool:
    return dig(job, "spec", "backoffLimitPerIndex") is not None


def completions(job: Object) -> int | None:
    found = dig(job, "spec", "completions")
    return None if found is None else int(found)


def parallelism(job: Object) -> int:
    return int(dig(job, "spec", "parallelism", default=1))


def is_suspended(job: Object) -> bool:
    return bool(dig(job, "spec", "suspend", default=False))


def is_done(job: Object) -> bool:
    """Whether the Job is Complete or Failed: nothing changes it any more."""
    conditions = dig(job, "status", "conditions")
    return is_true(conditions, "Complete") or is_true(conditions, "Failed")


def finished_condition(job: Object) -> Object | None:
    """Return the condition Complete or Failed that is true."""
    for kind in ("Complete", "Failed"):
        found = get_condition(dig(job, "status", "conditions"), kind)
        if found is not None and found.get("status") == "True":
            return dict(found)
    return None


def index_of(pod: Object) -> int | None:
    """Return the completion index of a Pod; None when it has none that can be read."""
    text = annotations_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def number_at(pod: Object, annotation: str) -> int:
    text = annotations_of(pod).get(annotation, "")
    return int(text) if text.isdigit() else 0


def full_name(pod: Object) -> str:
    return str(name_of(pod))
