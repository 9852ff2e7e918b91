"""Jobs in a small cluster: they count exactly, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.controllers.informers import Informers
from skerry.controllers.workloads.jobs.facts import INDEX, TRACKING
from skerry.controllers.workloads.jobs.job import Jobs
from skerry.controllers.workloads.jobs.ttl import JobExpiry
from skerry.model.conditions import get_condition, is_true
from skerry.model.errors import forbidden
from skerry.model.objects import Object, annotations_of, dig, metadata, name_of
from skerry.model.resources import EVENTS, JOBS, NODES, PODS
from skerry.testing.clock import run_virtually
from tests.unit.controllers.kubelet import Kubelet, by_image_tag
from tests.unit.controllers.world import SPACE, World, a_node, virtually

UID = "job-uid"


def a_job(name: str = "work", *, tag: str = "0", **spec: Any) -> Object:
    """Return a Job as the server has completed it."""
    labels = {"batch.kubernetes.io/controller-uid": UID, "batch.kubernetes.io/job-name": name}
    pod = {"restartPolicy": "Never", "nodeName": "a", "containers": [{"name": "main", "image": f"host.skerry.invalid/work:{tag}"}]}
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": UID}}
    defaults = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": SPACE, "name": name, "uid": UID, "generation": 1},
        "spec": {**defaults, "selector": selector, "template": {"metadata": {"labels": labels}, "spec": pod}, **spec},
    }


class Cluster:
    def __init__(self, world: World, verdict: Any = by_image_tag) -> None:
        self.world = world
        self.jobs = Jobs(world.api, world.informers, world.now)
        self.expiry = JobExpiry(world.api, world.informers, world.now)
        self.kubelet = Kubelet(world.api, world.now, verdict, period_s=0.5)
        world.api.seed(NODES, a_node("a"))

    def running(self) -> Any:
        return self.world.running(self.jobs.run, self.expiry.controller.run, self.kubelet.run)

    async def patch(self, spec: Object) -> None:
        await self.world.api.patch(JOBS, SPACE, "work", {"spec": spec})

    @property
    def job(self) -> Object:
        found = self.world.api.peek(JOBS, SPACE, "work")
        assert found is not None
        return found

    def status(self, *fields: str) -> list[Any]:
        return [dig(self.job, "status", f) for f in fields]

    def condition(self, kind: str) -> Any:
        return get_condition(dig(self.job, "status", "conditions"), kind) or {}

    def pods(self) -> list[Object]:
        return self.world.api.all(PODS)

    def tracked(self) -> list[str]:
        return [name_of(p).name for p in self.pods() if TRACKING in (metadata(p).get("finalizers") or ())]

    def reasons(self) -> set[str]:
        return {e["reason"] for e in self.world.api.all(EVENTS)}


@virtually
async def test_a_job_runs_its_pods_to_their_end_and_is_complete(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(JOBS, a_job(completions=5, parallelism=2))

    async with cluster.running():
        await asyncio.sleep(20)

    assert cluster.status("succeeded", "failed", "active", "uncountedTerminatedPods") == [5, None, None, {}]
    assert cluster.condition("Complete")["reason"] == "CompletionsReached"
    assert cluster.condition("SuccessCriteriaMet")["status"] == "True"
    assert cluster.status("completionTime") != [None]
    assert len(cluster.pods()) == 5
    assert cluster.tracked() == []
    assert {"SuccessfulCreate", "Completed"} <= cluster.reasons()


@virtually
async def test_never_more_pods_work_than_parallelism(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(JOBS, a_job(completions=9, parallelism=3))
    most = [0]

    async with cluster.running():
        world.informers.of(PODS).subscribe(lambda _: most.append(sum(dig(p, "status", "phase") != "Succeeded" for p in cluster.pods())))
        await asyncio.sleep(30)

    assert max(most) == 3
    assert cluster.status("succeeded") == [9]


@virtually
async def test_each_index_is_done_once_and_the_pods_know_theirs(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(JOBS, a_job(completions=4, parallelism=4, completionMode="Indexed"))

    async with cluster.running():
        await asyncio.sleep(20)

    pods = cluster.pods()
    assert cluster.status("completedIndexes", "succeeded") == ["0-3", 4]
    assert sorted(annotations_of(p)[INDEX] for p in pods) == ["0", "1", "2", "3"]
    assert sorted(p["spec"]["hostname"] for p in pods) == ["work-0", "work-1", "work-2", "work-3"]
    assert all(p["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX" for p in pods)


@virtually
async def test_failures_are_tried_again_ever_later_until_the_limit(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(JOBS, a_job(tag="1", backoffLimit=3))

    async with cluster.running():
        await asyncio.sleep(25)
        early = len(cluster.pods())
        await asyncio.sleep(200)

    created = sorted(p["metadata"]["creationTimestamp"] for p in cluster.pods())
    assert early == 2
    assert len(created) == 4
    assert cluster.status("failed", "active") == [4, None]
    assert cluster.condition("Failed")["reason"] == "BackoffLimitExceeded"
    assert cluster.tracked() == []


@virtually
async def test_a_pod_on_a_node_that_is_cut_off_is_neither_failed_nor_replaced(world: World) -> None:
    cluster = Cluster(world, lambda pod: None)
    world.api.seed(JOBS, a_job())

    async with cluster.running():
        await asyncio.sleep(5)
        name = name_of(cluster.pods()[0]).name
        cluster.kubelet.silent.add("a")
        await world.api.patch(NODES, "", "a", {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, subresource="status")
        await world.api.delete(PODS, SPACE, name)
        await asyncio.sleep(600)
        meanwhile = [name_of(p).name for p in cluster.pods()], cluster.status("failed", "terminating")
        cluster.kubelet.silent.clear()
        await world.api.patch(NODES, "", "a", {"status": a_node("a")["status"]}, subresource="status")
        await asyncio.sleep(60)

    assert meanwhile == ([name], [None, 1])
    assert cluster.status("failed", "active") == [1, 1]


@virtually
async def test_a_suspended_job_has_no_pods_and_goes_on_when_it_is_resumed(world: World) -> None:
    cluster = Cluster(world, lambda pod: None)
    world.api.seed(JOBS, a_job(suspend=True, completions=2, parallelism=2))

    async with cluster.running():
        await asyncio.sleep(5)
        first = len(cluster.pods()), cluster.condition("Suspended")["status"], cluster.status("startTime")
        await cluster.patch({"suspend": False})
        await asyncio.sleep(5)
        second = len(cluster.pods()), cluster.condition("Suspended")["status"]
        await cluster.patch({"suspend": True})
        await asyncio.sleep(5)
        third = len(cluster.pods()), cluster.status("failed", "active")
        cluster.kubelet.verdict = lambda pod: 0
        await cluster.patch({"suspend": False})
        await asyncio.sleep(10)

    assert first == (0, "True", [None])
    assert second == (2, "False")
    assert third == (0, [None, None])
    assert cluster.status("succeeded") == [2]
    assert {"Suspended", "Resumed"} <= cluster.reasons()


@virtually
async def test_a_job_past_its_deadline_fails_and_its_pods_go(world: World) -> None:
    cluster = Cluster(world, lambda pod: None)
    world.api.seed(JOBS, a_job(activeDeadlineSeconds=30))

    async with cluster.running():
        await asyncio.sleep(20)
        before = cluster.status("active")
        await asyncio.sleep(30)

    assert before == [1]
    assert cluster.condition("Failed")["reason"] == "DeadlineExceeded"
    assert cluster.condition("FailureTarget")["status"] == "True"
    assert cluster.status("failed", "active") == [1, None]
    assert cluster.pods() == []


@virtually
async def test_an_index_that_keeps_failing_fails_alone(world: World) -> None:
    cluster = Cluster(world, lambda pod: 1 if annotations_of(pod).get(INDEX) == "1" else 0)
    limits: dict[str, Any] = {"backoffLimitPerIndex": 1, "maxFailedIndexes": 3, "backoffLimit": 2**31 - 1}
    world.api.seed(JOBS, a_job(completions=3, parallelism=3, completionMode="Indexed", **limits))

    async with cluster.running():
        await asyncio.sleep(120)

    assert cluster.status("completedIndexes", "failedIndexes", "succeeded", "failed") == ["0,2", "1", 2, 2]
    assert cluster.condition("Failed")["reason"] == "FailedIndexes"
    counts = sorted(
        annotations_of(p)["batch.kubernetes.io/job-index-failure-count"] for p in cluster.pods() if annotations_of(p)[INDEX] == "1"
    )
    assert counts == ["0", "1"]
    assert cluster.tracked() == []


@virtually
async def test_a_finished_job_goes_after_its_ttl(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(JOBS, a_job(ttlSecondsAfterFinished=100))

    async with cluster.running():
        await asyncio.sleep(90)
        there = world.api.peek(JOBS, SPACE, "work") is not None
        await asyncio.sleep(30)

    marked = world.api.peek(JOBS, SPACE, "work")
    assert there
    assert marked is None or metadata(marked).get("deletionTimestamp")


@virtually
async def test_pods_of_a_job_that_is_gone_are_let_go(world: World) -> None:
    cluster = Cluster(world, lambda pod: None)
    world.api.seed(JOBS, a_job())

    async with cluster.running():
        await asyncio.sleep(5)
        world.api.erase(JOBS, SPACE, "work")
        await asyncio.sleep(5)

    assert cluster.tracked() == []


@virtually
async def test_success_of_what_the_policy_names_is_enough(world: World) -> None:
    cluster = Cluster(world, lambda pod: 0 if annotations_of(pod).get(INDEX) == "0" else None)
    policy = {"rules": [{"succeededIndexes": "0"}]}
    world.api.seed(JOBS, a_job(completions=3, parallelism=3, completionMode="Indexed", successPolicy=policy))

    async with cluster.running():
        await asyncio.sleep(20)

    assert cluster.condition("Complete")["reason"] == "SuccessPolicy"
    assert cluster.status("completedIndexes", "active") == ["0", None]


@virtually
async def test_a_job_whose_pods_are_refused_has_begun_and_meets_its_deadline(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(JOBS, a_job(activeDeadlineSeconds=30))
    for _ in range(200):
        world.api.fail_next(forbidden("pods", "", "work", "exceeded quota: q"), "create")

    async with cluster.running():
        await asyncio.sleep(5)
        started = cluster.status("startTime")
        await asyncio.sleep(120)

    assert started != [None]
    assert cluster.condition("Failed")["reason"] == "DeadlineExceeded"
    assert cluster.pods() == []


KILLS = st.lists(st.integers(0, 40).map(lambda n: n / 10), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(KILLS, st.sampled_from(["NonIndexed", "Indexed"]), st.integers(1, 4), st.integers(0, 2))
def test_however_often_the_controller_is_killed_it_counts_exactly(pauses: list[float], mode: str, parallelism: int, failures: int) -> None:
    async def main() -> None:
        world = World()
        bad: set[str] = set()

        def verdict(pod: Object) -> int:
            uid = metadata(pod)["uid"]
            if len(bad) < failures:
                bad.add(uid)
            return int(uid in bad)

        kubelet = Kubelet(world.api, world.now, verdict, period_s=0.3)
        world.api.seed(NODES, a_node("a"))
        world.api.seed(JOBS, a_job(completions=5, parallelism=parallelism, completionMode=mode))
        keeping = asyncio.create_task(kubelet.run())
        for pause in (*pauses, 600.0):
            await _one_life(world, pause)
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        found = world.api.peek(JOBS, SPACE, "work")
        assert found is not None
        ended = [dig(p, "status", "phase") for p in world.api.all(PODS)]
        assert is_true(dig(found, "status", "conditions"), "Complete")
        assert dig(found, "status", "succeeded") == ended.count("Succeeded") == 5
        assert dig(found, "status", "failed", default=0) == ended.count("Failed") == failures
        assert dig(found, "status", "uncountedTerminatedPods") == {}

    run_virtually(main())


async def _one_life(world: World, seconds: float) -> None:
    """Run the controller anew, with informers of its own, and kill it."""
    informers = Informers(world.api)
    jobs = Jobs(world.api, informers, world.now)
    follow = asyncio.create_task(informers.run())
    await informers.wait_synced()
    work = asyncio.create_task(jobs.run())
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends and not is_true(dig(world.api.all(JOBS)[0], "status", "conditions"), "Complete"):
        await asyncio.sleep(min(1.0, ends - asyncio.get_running_loop().time()))
    for task in (follow, work):
        task.cancel()
    await asyncio.gather(follow, work, return_exceptions=True)
