"""Starts the Jobs of CronJobs, and removes the oldest of those that have ended. What is due is decided in `cronjob_plan`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

from skerry.controllers.informers import BY_CONTROLLER, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads.jobs import cronjob_plan as rules
from skerry.controllers.workloads.jobs.facts import finished_condition
from skerry.kube import Api, Change, Controller
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, controller_of, dig, metadata, name_of, uid_of
from skerry.model.resources import CRONJOBS, JOBS
from skerry.model.schedules import Schedule, ScheduleError, parse_schedule, time_zone
from skerry.model.times import rfc3339

LONGEST_SLEEP_S = 60.0
"""How long a wall clock may be wrong before it is looked at again: a clock that was set is noticed within a minute."""

NOT_STARTED = "Not starting job because prior execution is running and concurrency policy is Forbid"
TOO_MANY = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"


class CronJobs:
    """The CronJob controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._cronjobs, self._jobs = informers.of(CRONJOBS), informers.of(JOBS)
        self._events = Recorder(api, "cronjob-controller", now)
        self.controller = Controller[Name]("cronjob", self.reconcile)
        self._cronjobs.subscribe(lambda change: self.controller.queue.add(change.name))
        self._jobs.subscribe(self._on_job)

    def _on_job(self, change: Change) -> None:
        owner = controller_of(change.object)
        if owner is not None and owner.get("kind") == "CronJob":
            self.controller.queue.add(Name(change.name.namespace, owner["name"]))

    async def reconcile(self, name: Name) -> float | None:
        cronjob = self._cronjobs.get(*name)
        if cronjob is None or metadata(cronjob).get("deletionTimestamp"):
            return None
        await self._clean_up(cronjob)
        cronjob = await self._see(cronjob)
        schedule = await self._schedule(cronjob)
        if schedule is None or dig(cronjob, "spec", "suspend", default=False):
            return None
        now = self._now()
        found = rules.due(cronjob, schedule, now)
        if found.missed > rules.MANY:
            await self._events.warning(cronjob, "TooManyMissedTimes", TOO_MANY)
        if found.at is not None:
            await self._start(cronjob, found.at, schedule)
        if found.next_at is None:
            return None
        return min(LONGEST_SLEEP_S, max(0.1, (found.next_at - now).total_seconds() + 0.1))

    def _owned(self, cronjob: Object) -> list[Object]:
        return self._jobs.indexed(BY_CONTROLLER, uid_of(cronjob))

    async def _clean_up(self, cronjob: Object) -> None:
        for job in rules.surplus(cronjob, self._owned(cronjob)):
            if not metadata(job).get("deletionTimestamp"):
                await self._delete(cronjob, job)

    async def _delete(self, cronjob: Object, job: Object) -> None:
        try:
            await self._api.delete(JOBS, *name_of(job), uid=uid_of(job), propagation="Background")
        except ApiError as error:
            if error.code != 404:
                await self._events.warning(cronjob, "FailedDelete", f"Deleted job: {error.message}")
                raise
            return
        await self._events.normal(cronjob, "SuccessfulDelete", f"Deleted job {name_of(job).name}")

    async def _see(self, cronjob: Object) -> Object:
        """Take what the Jobs did into the status; returns the CronJob as it is then."""
        seen = rules.see(cronjob, self._owned(cronjob))
        for job in seen.finished:
            condition = (finished_condition(job) or {}).get("type")
            await self._events.normal(cronjob, "SawCompletedJob", f"Saw completed job: {name_of(job).name}, condition: {condition}")
        for gone in seen.missing:
            await self._events.normal(cronjob, "MissingJob", f"Active job went missing: {gone.get('name')}")
        for job in seen.strangers:
            await self._events.warning(
                cronjob, "UnexpectedJob", f"Saw a job that the controller did not create or forgot: {name_of(job).name}"
            )
        return await self._write_status(cronjob, active=list(seen.active), success=seen.last_success)

    async def _schedule(self, cronjob: Object) -> Schedule | None:
        text, zone = dig(cronjob, "spec", "schedule", default=""), dig(cronjob, "spec", "timeZone")
        try:
            return parse_schedule(text, _zone(zone))
        except ScheduleError as error:
            await self._events.warning(cronjob, "UnparseableSchedule", f'unparseable schedule: "{text}" : {error}')
        except LookupError as error:
            await self._events.warning(cronjob, "UnknownTimeZone", f'invalid timeZone: "{zone}" - {error}')
        return None

    async def _start(self, cronjob: Object, at: datetime, schedule: Schedule) -> None:
        running = [j for j in self._owned(cronjob) if finished_condition(j) is None]
        policy = dig(cronjob, "spec", "concurrencyPolicy", default="Allow")
        if running and policy == "Forbid":
            await self._events.normal(cronjob, "JobAlreadyActive", NOT_STARTED)
            return
        if policy == "Replace":
            for job in running:
                await self._delete(cronjob, job)
                await self._cronjob_without(cronjob, job)
            cronjob = self._cronjobs.get(*name_of(cronjob)) or cronjob
        started = await self._create(cronjob, at, getattr(schedule, "zone", UTC))
        if started is None:
            return
        known = dig(cronjob, "status", "active", default=[])
        if finished_condition(started) is None and all(r.get("uid") != uid_of(started) for r in known):
            known = [*known, rules.reference(started)]
        await self._write_status(cronjob, active=sorted(known, key=lambda r: str(r.get("name"))), scheduled=rfc3339(at))

    async def _cronjob_without(self, cronjob: Object, job: Object) -> None:
        left = [r for r in dig(cronjob, "status", "active", default=[]) if r.get("uid") != uid_of(job)]
        await self._write_status(self._cronjobs.get(*name_of(cronjob)) or cronjob, active=left)

    async def _create(self, cronjob: Object, at: datetime, zone: tzinfo) -> Object | None:
        draft = rules.job_for(cronjob, at, shown=at.astimezone(zone))
        try:
            created = await self._api.create(JOBS, draft)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return await self._existing(cronjob, name_of(draft))
            if "being terminated" not in error.message:
                await self._events.warning(cronjob, "FailedCreate", f"Error creating job: {error.message}")
            raise
        self._jobs.learn(created)
        await self._events.normal(cronjob, "SuccessfulCreate", f"Created job {name_of(created).name}")
        return created

    async def _existing(self, cronjob: Object, name: Name) -> Object | None:
        """Return the Job of this time that was made before we could say so in the status; None when it is somebody else's."""
        found = await self._api.get(JOBS, *name)
        if (controller_of(found) or {}).get("uid") == uid_of(cronjob):
            return found
        await self._events.warning(cronjob, "FailedCreate", f"Error creating job: {name.name} exists and is not ours")
        return None

    async def _write_status(
        self, cronjob: Object, *, active: list[Object], success: str | None = None, scheduled: str | None = None
    ) -> Object:
        old = cronjob.get("status") or {}
        new: Object = {"active": active or None}
        if success is not None:
            new["lastSuccessfulTime"] = success
        if scheduled is not None:
            new["lastScheduleTime"] = scheduled
        if all((old.get(k) or None) == v for k, v in new.items()):
            return cronjob
        meta = {"uid": uid_of(cronjob), "resourceVersion": metadata(cronjob)["resourceVersion"]}
        changed = await self._api.patch(CRONJOBS, *name_of(cronjob), {"metadata": meta, "status": new}, subresource="status")
        self._cronjobs.learn(changed)
        return changed


def _zone(name: str | None) -> tzinfo:
    """Return the time zone of an IANA name; LookupError when the hub's zone data lack it. None is the hub's own: UTC."""
    if not name:
        return UTC
    found = time_zone(name)
    if found is None:
        raise LookupError(f"unknown time zone {name}")
    return found
