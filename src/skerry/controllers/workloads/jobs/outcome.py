"""Whether a Job is decided, and how: the first of its rules that holds. Pure."""

from __future__ import annotations

import msgspec

from skerry.controllers.workloads.jobs import policies
from skerry.controllers.workloads.jobs.facts import Facts, JobPods, completions, is_suspended, limits_each_index
from skerry.controllers.workloads.jobs.tally import Tally
from skerry.model.conditions import get_condition
from skerry.model.objects import Object, dig


class Outcome(msgspec.Struct, frozen=True):
    """What the Job comes to; it is announced first, and final once nothing of it runs any more."""

    succeeded: bool
    reason: str
    message: str

    @property
    def announced(self) -> str:
        return "SuccessCriteriaMet" if self.succeeded else "FailureTarget"

    @property
    def final(self) -> str:
        return "Complete" if self.succeeded else "Failed"


def announced(job: Object) -> Outcome | None:
    """Return what was decided at an earlier look: it is not decided again."""
    for kind, good in (("SuccessCriteriaMet", True), ("FailureTarget", False)):
        found = get_condition(dig(job, "status", "conditions"), kind)
        if found is not None and found.get("status") == "True":
            return Outcome(good, str(found.get("reason", "")), str(found.get("message", "")))
    return None


def decide(job: Object, pods: JobPods, tally: Tally, facts: Facts) -> Outcome | None:
    """Return what the Job comes to now, or None while it goes on."""
    return _failure(job, pods, tally, facts) or _success(job, pods, tally)


def _failure(job: Object, pods: JobPods, tally: Tally, facts: Facts) -> Outcome | None:
    if tally.fail_job:
        return Outcome(False, "PodFailurePolicy", tally.fail_job)
    if tally.failed > int(dig(job, "spec", "backoffLimit", default=6)) or _restarts_too_often(job, pods):
        return Outcome(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    deadline_s = dig(job, "spec", "activeDeadlineSeconds")
    if deadline_s is not None and not is_suspended(job) and facts.running_s >= deadline_s:
        return Outcome(False, "DeadlineExceeded", "Job was active longer than specified deadline")
    if not limits_each_index(job):
        return None
    most = dig(job, "spec", "maxFailedIndexes")
    if most is not None and len(tally.failed_indexes) > most:
        return Outcome(False, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
    if len(tally.failed_indexes) and len(tally.failed_indexes | tally.completed) >= (completions(job) or 0):
        return Outcome(False, "FailedIndexes", "Job has failed indexes")
    return None


def _restarts_too_often(job: Object, pods: JobPods) -> bool:
    """Whether containers that their Pods restart by themselves (OnFailure) have used up the back-off limit."""
    if dig(job, "spec", "template", "spec", "restartPolicy") != "OnFailure":
        return False
    limit = int(dig(job, "spec", "backoffLimit", default=6))
    restarts = 0
    for pod in pods.active:
        if dig(pod, "status", "phase") in ("Running", "Pending"):
            for field in ("initContainerStatuses", "containerStatuses"):
                restarts += sum(int(c.get("restartCount") or 0) for c in dig(pod, "status", field, default=[]))
    return restarts > 0 if limit == 0 else restarts >= limit


def _success(job: Object, pods: JobPods, tally: Tally) -> Outcome | None:
    needed = completions(job)
    policy = policies.success(job, tally.completed, needed or 0)
    if policy:
        return Outcome(True, "SuccessPolicy", policy)
    enough = tally.succeeded > 0 if needed is None else tally.succeeded >= needed
    if enough and not pods.active:
        return Outcome(True, "CompletionsReached", "Reached expected number of succeeded pods")
    return None
