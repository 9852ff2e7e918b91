"""The workload controllers against the API server itself, without HTTP: killed at random points, they end at the same state."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.local import LocalApi
from skerry.controllers import Settings, start_all
from skerry.controllers.workloads.jobs.facts import TRACKING
from skerry.kube import Api
from skerry.model.conditions import is_true
from skerry.model.objects import Object, annotations_of, dig, labels_of, metadata, name_of
from skerry.model.resources import CRONJOBS, DEPLOYMENTS, JOBS, NODES, PODS, STATEFULSETS, Resource
from skerry.testing.apiserver import running
from tests.unit.controllers.kubelet import Kubelet, by_image_tag, runs
from tests.unit.controllers.world import a_deployment

pytestmark = pytest.mark.slow
SPACE = "default"
PATIENCE_S = 90.0


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[tuple[LocalApi, Kubelet]]:
    """An API server with a node that runs what it is given; the controllers are the test's."""
    async with running(folder) as server:
        api = LocalApi(server.server.registry)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": server.server.registry.timestamp()}
        status: dict[str, Any] = {"capacity": {"cpu": "8", "memory": "8Gi", "pods": "200"}, "conditions": [ready]}
        await api.create(NODES, {"metadata": {"name": "a"}, "status": status})
        kubelet = Kubelet(api, now, by_image_tag, period_s=0.02)
        task = asyncio.create_task(kubelet.run())
        try:
            yield api, kubelet
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def live(api: LocalApi, seconds: float | Callable[[], Awaitable[bool]]) -> None:
    """Run the controllers as a new process would, for a while or until something holds, and kill them."""
    controllers = start_all(api, Settings(ca_pem="PEM"), now)
    task = asyncio.create_task(controllers.run())
    try:
        await controllers.wait_synced()
        if callable(seconds):
            async with asyncio.timeout(PATIENCE_S):
                while not await seconds():
                    await asyncio.sleep(0.02)
        else:
            await asyncio.sleep(seconds)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # What was on its way is on the disk, or never will be, before the next process begins: writes keep their order.
        await api.patch(NODES, "", "a", {"metadata": {"annotations": {"lives": str(random.random())}}})


def a_job(tag: str = "0", **spec: Any) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": f"host.skerry.invalid/work:{tag}"}]}
    return {"metadata": {"namespace": SPACE, "name": "work"}, "spec": {"template": {"spec": pod}, **spec}}


async def items(api: Api, resource: Resource) -> list[Object]:
    return list((await api.list(resource, SPACE)).items)


async def tracked(api: Api) -> list[str]:
    return [name_of(p).name for p in await items(api, PODS) if TRACKING in (metadata(p).get("finalizers") or ())]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("mode", ["NonIndexed", "Indexed"])
async def test_a_job_counts_exactly_however_often_its_controller_is_killed(tmp_path: Path, mode: str, seed: int) -> None:
    chance = random.Random(seed)
    async with cluster(tmp_path) as (api, _):
        await api.create(JOBS, a_job(completions=12, parallelism=4, completionMode=mode))

        async def complete() -> bool:
            done = is_true(dig(await api.get(JOBS, SPACE, "work"), "status", "conditions"), "Complete")
            return done and not await tracked(api)

        for _ in range(8):
            await live(api, chance.uniform(0.0, 0.12))
        await live(api, complete)

        job, pods = await api.get(JOBS, SPACE, "work"), await items(api, PODS)
        assert dig(job, "status", "succeeded") == 12 == sum(dig(p, "status", "phase") == "Succeeded" for p in pods)
        assert dig(job, "status", "uncountedTerminatedPods") == {}
        if mode == "Indexed":
            assert job["status"]["completedIndexes"] == "0-11"


async def test_a_job_that_is_deleted_takes_its_pods_along(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (api, _):
        await api.create(JOBS, a_job("run", parallelism=3, completions=3))

        async def started() -> bool:
            return bool(dig(await api.get(JOBS, SPACE, "work"), "status", "ready") == 3)

        async def gone() -> bool:
            return not await items(api, PODS) and not await items(api, JOBS)

        await live(api, started)
        await api.delete(JOBS, SPACE, "work", propagation="Foreground")
        await live(api, gone)


async def test_a_cronjobs_minute_is_started_once_though_it_is_killed_all_the_time(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (api, _):
        template = {"metadata": {"labels": {"from": "cron"}}, "spec": a_job()["spec"]}
        spec = {"schedule": "* * * * *", "jobTemplate": template, "successfulJobsHistoryLimit": 50}
        await api.create(CRONJOBS, {"metadata": {"namespace": SPACE, "name": "tick"}, "spec": spec})
        await api.patch(CRONJOBS, SPACE, "tick", {"status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}}, subresource="status")

        async def complete() -> bool:
            return any(is_true(dig(j, "status", "conditions"), "Complete") for j in await items(api, JOBS))

        for pause in (0.0, 0.01, 0.02, 0.05):
            await live(api, pause)
        await live(api, complete)

        jobs = await items(api, JOBS)
        assert len({name_of(j).name for j in jobs}) == len(jobs) <= 2  # the test may go over a minute's end
        assert labels_of(jobs[0])["from"] == "cron"
        assert "batch.kubernetes.io/cronjob-scheduled-timestamp" in annotations_of(jobs[0])


async def test_a_statefulset_rolls_though_it_is_killed(tmp_path: Path) -> None:
    chance = random.Random(5)
    labels = {"app": "db"}
    pod = {"containers": [{"name": "main", "image": "host.skerry.invalid/db:one"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 3, "serviceName": "db", "selector": {"matchLabels": labels}, "template": template}

    async with cluster(tmp_path) as (api, _):
        await api.create(STATEFULSETS, {"metadata": {"namespace": SPACE, "name": "db"}, "spec": spec})

        async def ready() -> bool:
            status = (await api.get(STATEFULSETS, SPACE, "db")).get("status") or {}
            return (
                status.get("readyReplicas") == 3 == status.get("updatedReplicas") and status["currentRevision"] == status["updateRevision"]
            )

        for _ in range(3):
            await live(api, chance.uniform(0.0, 0.1))
        await live(api, ready)
        image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "host.skerry.invalid/db:two"}]}}}}
        await api.patch(STATEFULSETS, SPACE, "db", image)
        for _ in range(4):
            await live(api, chance.uniform(0.0, 0.1))

        async def rolled() -> bool:
            images = {p["spec"]["containers"][0]["image"] for p in await items(api, PODS)}
            return images == {"host.skerry.invalid/db:two"} and await ready()

        await live(api, rolled)
        assert [name_of(p).name for p in await items(api, PODS)] == ["db-0", "db-1", "db-2"]


async def test_two_hundred_pods_hold_nobody_up(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (api, kubelet):
        kubelet.verdict, kubelet.period_s = runs, 0.2
        deployment = a_deployment(replicas=200)
        deployment["metadata"]["namespace"] = SPACE
        await api.create(DEPLOYMENTS, deployment)
        longest = [0.0]

        async def beat() -> None:
            while True:
                before = time.thread_time()
                await asyncio.sleep(0.005)
                longest.append(time.thread_time() - before)

        async def made() -> bool:
            return bool(dig(await api.get(DEPLOYMENTS, SPACE, "web"), "status", "availableReplicas") == 200)

        beating = asyncio.create_task(beat())
        await live(api, made)
        beating.cancel()

        print(f"the loop was held for {max(longest) * 1000:.0f} ms of CPU at most")
        assert len(await items(api, PODS)) == 200
