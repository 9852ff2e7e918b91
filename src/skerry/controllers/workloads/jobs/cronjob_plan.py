"""When a CronJob starts a Job, and which Jobs go. Pure.

At most one Job comes of one look, the one of the most recent time; its name tells that time, so that no time is started
twice. A clock that is behind the CronJob's own creation is not believed: nothing is started by it. A `lastScheduleTime`
that lies far ahead was written under a wrong clock, and is passed over; one that lies a little ahead is waited for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from skerry.controllers.workloads.jobs.facts import finished_condition
from skerry.model.objects import Object, annotations_of, dig, labels_of, metadata, name_of, owner_reference, uid_of
from skerry.model.schedules import Schedule
from skerry.model.times import parse_time, rfc3339

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MANY = 100
"""So many missed times are worth a warning: more likely than a long outage is a clock that jumped."""

BELIEVED_AHEAD = timedelta(days=1)
"""A `lastScheduleTime` this far ahead is waited for (a clock was set back); one further ahead is an error of the past."""

_WINDOWS = tuple(timedelta(minutes=m) for m in (2, 60, 24 * 60, 32 * 24 * 60, 366 * 24 * 60))


class Due(msgspec.Struct, frozen=True):
    """What is due now."""

    at: datetime | None
    missed: int = 0
    """How many times have passed since the last start, counted up to one above `MANY`."""
    next_at: datetime | None = None


def due(cronjob: Object, schedule: Schedule, now: datetime) -> Due:
    """Return the most recent time that was not started, if it may still be, and when the next one is."""
    next_at = schedule.after(now)
    since = _since(cronjob, now)
    if since is None:
        return Due(None, next_at=next_at)
    deadline_s = dig(cronjob, "spec", "startingDeadlineSeconds")
    if deadline_s is not None:
        since = max(since, now - timedelta(seconds=float(deadline_s)))
    missed, at = _missed(schedule, since, now)
    if missed > MANY:
        at = _most_recent(schedule, since, now) or at
    return Due(at, missed, next_at)


def _since(cronjob: Object, now: datetime) -> datetime | None:
    created = _time(metadata(cronjob).get("creationTimestamp"))
    last = _time(dig(cronjob, "status", "lastScheduleTime"))
    if created is not None and now < created:
        return None
    if last is not None and now < last <= now + BELIEVED_AHEAD:
        return None
    if last is not None and last > now:
        return now - timedelta(minutes=1)
    return last or created or now


def _time(text: str | None) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def _missed(schedule: Schedule, since: datetime, now: datetime) -> tuple[int, datetime | None]:
    """Return how many times lie in (since, now], counted to one above the limit, and the last one counted."""
    missed, at = 0, None
    step = schedule.after(since)
    while step is not None and step <= now and missed <= MANY:
        missed, at = missed + 1, step
        step = schedule.after(step)
    return missed, at


def _most_recent(schedule: Schedule, since: datetime, now: datetime) -> datetime | None:
    for window in _WINDOWS:
        begin = max(since, now - window)
        found, step = None, schedule.after(begin)
        while step is not None and step <= now:
            found, step = step, schedule.after(step)
        if found is not None:
            return found
    return None


def job_name(cronjob: Object, at: datetime) -> str:
    return f"{name_of(cronjob).name}-{int(at.timestamp()) // 60}"


def job_for(cronjob: Object, at: datetime, *, shown: datetime) -> Object:
    """Return the Job of the time *at*; *shown* is the same in the schedule's zone."""
    template = cronjob["spec"]["jobTemplate"]
    meta: Object = {"name": job_name(cronjob, at), "namespace": name_of(cronjob).namespace}
    if labels_of(template):
        meta["labels"] = dict(labels_of(template))
    stamp = rfc3339(at) if shown.utcoffset() == timedelta(0) else shown.isoformat(timespec="seconds")
    meta["annotations"] = {**annotations_of(template), SCHEDULED_AT: stamp}
    meta["ownerReferences"] = [owner_reference(cronjob)]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": copy.deepcopy(template["spec"])}


def surplus(cronjob: Object, jobs: Sequence[Object]) -> list[Object]:
    """Return the finished Jobs beyond the history limits, oldest first."""
    found: list[Object] = []
    for kind, field, default in (("Complete", "successfulJobsHistoryLimit", 3), ("Failed", "failedJobsHistoryLimit", 1)):
        keep = dig(cronjob, "spec", field, default=default)
        ended = [j for j in jobs if (finished_condition(j) or {}).get("type") == kind]
        ended.sort(key=lambda j: (dig(j, "status", "startTime", default=""), name_of(j).name))
        found += ended[: max(0, len(ended) - int(keep))]
    return found


def reference(job: Object) -> Object:
    """Return what `status.active` says of a Job."""
    meta = metadata(job)
    fields = {"apiVersion": "batch/v1", "kind": "Job", "name": meta.get("name"), "namespace": meta.get("namespace")}
    return {**fields, "resourceVersion": meta.get("resourceVersion"), "uid": meta.get("uid")}


class Seen(msgspec.Struct, frozen=True):
    """The Jobs of a CronJob as its status knew them and as they are."""

    active: Sequence[Object]
    """References for `status.active`."""
    finished: Sequence[Object]
    missing: Sequence[Object]
    strangers: Sequence[Object]
    last_success: str | None


def see(cronjob: Object, jobs: Sequence[Object]) -> Seen:
    """Return what changed since the status was written."""
    known = {r.get("uid"): r for r in dig(cronjob, "status", "active", default=[])}
    by_uid = {uid_of(j): j for j in jobs}
    running = [j for j in jobs if finished_condition(j) is None]
    successes = [dig(cronjob, "status", "lastSuccessfulTime")]
    successes += [dig(j, "status", "completionTime") for j in jobs if (finished_condition(j) or {}).get("type") == "Complete"]
    references = [known[uid_of(j)] if uid_of(j) in known else reference(j) for j in running]
    return Seen(
        active=sorted(references, key=lambda r: str(r.get("name"))),
        finished=[by_uid[u] for u in known if u in by_uid and finished_condition(by_uid[u]) is not None],
        missing=[r for u, r in known.items() if u not in by_uid],
        strangers=[j for j in running if uid_of(j) not in known],
        last_success=max((t for t in successes if t), default=None),
    )
