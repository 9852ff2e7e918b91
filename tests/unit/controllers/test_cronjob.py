"""CronJobs: each time at most once, whatever the clock and the process do."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.controllers.informers import Informers
from skerry.controllers.workloads.jobs.cronjob import CronJobs
from skerry.controllers.workloads.jobs.cronjob_plan import MANY, due, job_name, surplus
from skerry.controllers.workloads.jobs.job import Jobs
from skerry.model.objects import Object, annotations_of, dig, name_of
from skerry.model.resources import CRONJOBS, EVENTS, JOBS, NODES
from skerry.model.schedules import parse_schedule
from skerry.model.times import parse_time, rfc3339
from tests.unit.controllers.kubelet import Kubelet
from tests.unit.controllers.test_job import a_job
from tests.unit.controllers.world import SPACE, World, a_node, virtually

NOON = datetime(2026, 1, 5, 12, 0, 30, tzinfo=UTC)


def a_cronjob(schedule: str = "* * * * *", *, last: datetime | None = None, created: datetime | None = None, **spec: Any) -> Object:
    template = a_job()["spec"]
    found: Object = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"namespace": SPACE, "name": "tick", "uid": "cron-uid"},
        "spec": {"schedule": schedule, "jobTemplate": {"metadata": {"labels": {"of": "tick"}}, "spec": template}, **spec},
        "status": {"lastScheduleTime": rfc3339(last)} if last else {},
    }
    if created:
        found["metadata"]["creationTimestamp"] = rfc3339(created)
    return found


def minutes_ago(minutes: float) -> datetime:
    return NOON - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("facts", "schedule", "expected"),
    [
        ({"created": minutes_ago(0.2)}, "* * * * *", None),
        ({"created": minutes_ago(1)}, "* * * * *", "12:00"),
        ({"created": minutes_ago(600)}, "0 * * * *", "12:00"),
        ({"created": minutes_ago(600), "last": minutes_ago(0.5)}, "0 * * * *", None),
        ({"created": minutes_ago(600), "last": minutes_ago(60.5)}, "0 * * * *", "12:00"),
        ({"created": minutes_ago(60 * 24 * 90)}, "* * * * *", "12:00"),
        ({"created": minutes_ago(60 * 24 * 90)}, "0 0 * * *", "00:00"),
        ({"created": minutes_ago(60), "startingDeadlineSeconds": 10}, "0 * * * *", None),
        ({"created": minutes_ago(60), "startingDeadlineSeconds": 40}, "0 * * * *", "12:00"),
        ({"created": minutes_ago(-60)}, "* * * * *", None),
        ({"created": minutes_ago(600), "last": minutes_ago(-60)}, "* * * * *", None),
        ({"created": minutes_ago(600), "last": minutes_ago(-60 * 24 * 365)}, "* * * * *", "12:00"),
        ({"created": minutes_ago(600), "last": minutes_ago(60 * 24 * 365 * 50)}, "* * * * *", "12:00"),
        ({"created": minutes_ago(600)}, "0 0 30 2 *", None),
        ({"created": minutes_ago(600)}, "@every 1h", "12:00"),
    ],
)
def test_what_is_due_at_noon(facts: dict[str, Any], schedule: str, expected: str | None) -> None:
    cronjob = a_cronjob(schedule, **facts)

    found = due(cronjob, parse_schedule(schedule), NOON)

    assert (found.at.strftime("%H:%M") if found.at else None) == expected


def test_many_missed_times_are_one_start_and_a_warning() -> None:
    found = due(a_cronjob(created=minutes_ago(60 * 24 * 365)), parse_schedule("* * * * *"), NOON)

    assert (found.missed, found.at) == (MANY + 1, NOON.replace(second=0))


@given(st.integers(0, 10**6), st.sampled_from(["* * * * *", "*/7 * * * *", "0 3 * * *", "0 0 1 * *", "5 4 * * 1-5"]))
def test_once_started_a_time_is_not_due_again(minutes: int, text: str) -> None:
    schedule = parse_schedule(text)
    found = due(a_cronjob(text, created=minutes_ago(minutes)), schedule, NOON)

    if found.at is not None:
        assert minutes_ago(minutes) < found.at <= NOON
        assert due(a_cronjob(text, created=minutes_ago(minutes), last=found.at), schedule, NOON).at is None


def test_a_name_tells_the_minute() -> None:
    assert job_name(a_cronjob(), datetime(1970, 1, 1, 1, 0, 59, tzinfo=UTC)) == "tick-60"


def test_the_oldest_finished_jobs_beyond_the_limits_go() -> None:
    def ended(name: str, kind: str, start: int) -> Object:
        job = a_job(name)
        job["status"] = {"startTime": rfc3339(minutes_ago(100 - start)), "conditions": [{"type": kind, "status": "True"}]}
        return job

    jobs = [ended(f"good-{i}", "Complete", i) for i in range(5)] + [
        ended("bad-1", "Failed", 9),
        ended("bad-0", "Failed", 1),
        a_job("running"),
    ]

    assert [name_of(j).name for j in surplus(a_cronjob(successfulJobsHistoryLimit=2), jobs)] == ["good-0", "good-1", "good-2", "bad-0"]


class Cluster:
    def __init__(self, world: World, *, code: int | None = 0, offset: timedelta = timedelta(0)) -> None:
        self.world, self.offset = world, offset
        self.kubelet = Kubelet(world.api, world.now, lambda pod: code, period_s=1.0)
        self.begin()
        world.api.seed(NODES, a_node("a"))

    def begin(self) -> None:
        """Forget everything, as a new process does."""
        self.informers = Informers(self.world.api)
        self.cronjobs = CronJobs(self.world.api, self.informers, self.now)
        self.jobs = Jobs(self.world.api, self.informers, self.now)

    def now(self) -> datetime:
        return self.world.now() + self.offset

    async def run(self, seconds: float) -> None:
        tasks = [asyncio.create_task(self.informers.run()), asyncio.create_task(self.kubelet.run())]
        await self.informers.wait_synced()
        tasks += [asyncio.create_task(r()) for r in (self.cronjobs.controller.run, self.jobs.run)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def names(self) -> list[str]:
        return self.world.names(JOBS)

    def created(self) -> list[str]:
        return [a.name for a in self.world.api.actions if a.verb == "create" and a.resource == JOBS]

    @property
    def status(self) -> Object:
        found = self.world.api.peek(CRONJOBS, SPACE, "tick") or {}
        return dict(found.get("status") or {})

    def reasons(self) -> set[str]:
        return {e["reason"] for e in self.world.api.all(EVENTS)}


@virtually
async def test_each_minute_one_job_and_only_the_last_ones_stay(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(CRONJOBS, a_cronjob(successfulJobsHistoryLimit=2))

    await cluster.run(330)

    assert len(cluster.created()) == len(set(cluster.created())) == 5
    assert cluster.names() == sorted(cluster.created())[-2:]
    assert cluster.status["lastScheduleTime"] == "2026-01-05T10:05:00Z"
    assert cluster.status["lastSuccessfulTime"].startswith("2026-01-05T10:05:")
    assert {"SuccessfulCreate", "SawCompletedJob", "SuccessfulDelete"} <= cluster.reasons()
    job = world.api.all(JOBS)[0]
    assert annotations_of(job)["batch.kubernetes.io/cronjob-scheduled-timestamp"] == "2026-01-05T10:04:00Z"
    assert job["metadata"]["labels"] == {"of": "tick"}


@virtually
async def test_restarts_start_no_time_twice(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(CRONJOBS, a_cronjob(successfulJobsHistoryLimit=100))

    for _ in range(40):
        await cluster.run(7.7)
        cluster.begin()

    started = cluster.created()
    assert len(set(started)) == len(cluster.names()) == 5
    assert len(started) <= 6


@virtually
async def test_a_status_that_was_lost_starts_no_time_twice(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(CRONJOBS, a_cronjob(successfulJobsHistoryLimit=100))
    await cluster.run(65)
    before = cluster.names()
    cluster.begin()

    await world.api.patch(CRONJOBS, SPACE, "tick", {"status": {"lastScheduleTime": None, "active": None}}, subresource="status")
    await cluster.run(20)

    assert cluster.names() == before
    assert cluster.status["lastScheduleTime"] == "2026-01-05T10:01:00Z"


@virtually
async def test_forbid_waits_and_replace_ends_what_runs(world: World) -> None:
    cluster = Cluster(world, code=None)
    world.api.seed(CRONJOBS, a_cronjob(concurrencyPolicy="Forbid"))

    await cluster.run(200)
    forbidden = cluster.names()
    await world.api.patch(CRONJOBS, SPACE, "tick", {"spec": {"concurrencyPolicy": "Replace"}})
    cluster.begin()
    await cluster.run(90)

    assert len(forbidden) == 1
    assert "JobAlreadyActive" in cluster.reasons()
    assert len(cluster.names()) == 1
    assert cluster.names() != forbidden
    assert [r["name"] for r in cluster.status["active"]] == cluster.names()


@virtually
async def test_a_suspended_cronjob_starts_nothing(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(CRONJOBS, a_cronjob(suspend=True))

    await cluster.run(200)

    assert cluster.names() == []


@virtually
async def test_a_clock_that_jumps_starts_no_crowd_of_jobs(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(CRONJOBS, a_cronjob(successfulJobsHistoryLimit=1000))
    await cluster.run(65)
    counts = [len(cluster.names())]

    for offset in (timedelta(days=-56 * 365), timedelta(hours=-1), timedelta(days=400), timedelta(0)):
        cluster.offset = offset
        await cluster.run(130)
        cluster.begin()
        counts.append(len(cluster.names()))

    grew = [b - a for a, b in itertools.pairwise(counts)]
    assert grew[:2] == [0, 0]
    assert all(n <= 4 for n in grew)
    assert "TooManyMissedTimes" in cluster.reasons()


@virtually
async def test_an_unknown_time_zone_is_said_and_starts_nothing(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(CRONJOBS, a_cronjob(timeZone="Mars/Olympus"))

    await cluster.run(130)

    assert cluster.names() == []
    assert "UnknownTimeZone" in cluster.reasons()


@virtually
async def test_a_time_zone_moves_the_hour(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(CRONJOBS, a_cronjob("30 11 * * *", timeZone="Europe/Berlin"))

    await cluster.run(3600)

    assert dig(cluster.status, "lastScheduleTime") == "2026-01-05T10:30:00Z"
    assert parse_time(annotations_of(world.api.all(JOBS)[0])["batch.kubernetes.io/cronjob-scheduled-timestamp"]).hour == 10
