"""Deployments in a small cluster: what kubectl's rollout commands see and do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.controllers.workloads.deployment import Deployments
from skerry.controllers.workloads.deployment_plan import HASH_LABEL, REVISION, ROLL_BACK, bare_template, plan, split, template_hash
from skerry.controllers.workloads.replicaset import ReplicaSets
from skerry.model.conditions import get_condition, is_true
from skerry.model.objects import Object, annotations_of, dig, labels_of, name_of
from skerry.model.resources import DEPLOYMENTS, EVENTS, PODS, REPLICASETS
from skerry.testing.clock import run_virtually
from tests.unit.controllers.world import SPACE, World, a_deployment, virtually

V2 = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "host.skerry.invalid/app:2"}]}}}}
V1 = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "host.skerry.invalid/app:1"}]}}}}


class Cluster:
    def __init__(self, world: World) -> None:
        self.world = world
        self.deployments = Deployments(world.api, world.informers, world.now)
        self.replicasets = ReplicaSets(world.api, world.informers, world.now)

    def running(self) -> Any:
        return self.world.running(self.deployments.controller.run, self.replicasets.controller.run, self.world.kubelet)

    async def patch(self, patch: Object) -> None:
        await self.world.api.patch(DEPLOYMENTS, SPACE, "web", patch)

    def images(self) -> list[str]:
        return sorted(p["spec"]["containers"][0]["image"][-1] for p in self.world.api.all(PODS))

    def sizes(self) -> dict[str, int]:
        return {annotations_of(r)[REVISION]: r["spec"]["replicas"] for r in self.world.api.all(REPLICASETS)}

    def condition(self, kind: str) -> Any:
        return get_condition(dig(self.world.deployment(), "status", "conditions"), kind) or {}


@virtually
async def test_a_deployment_becomes_available_and_complete(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=3))

    async with cluster.running():
        await asyncio.sleep(10)

    found = world.deployment()
    status = {k: v for k, v in found["status"].items() if k != "conditions"}
    assert status == {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3, "observedGeneration": 1}
    assert is_true(found["status"]["conditions"], "Available")
    assert cluster.condition("Progressing")["reason"] == "NewReplicaSetAvailable"
    assert annotations_of(found)[REVISION] == "1"
    pod = world.api.all(PODS)[0]
    assert labels_of(pod)[HASH_LABEL] == labels_of(world.api.all(REPLICASETS)[0])[HASH_LABEL]


@virtually
async def test_a_rolling_update_replaces_all_and_keeps_the_old_size_at_zero(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=4))
    fewest = [99]

    async with cluster.running():
        await asyncio.sleep(10)
        world.informers.of(DEPLOYMENTS).subscribe(
            lambda c: fewest.append(dig(c.object, "status", "availableReplicas", default=0))  # what users see
        )
        await cluster.patch(V2)
        await asyncio.sleep(60)

    assert cluster.images() == ["2", "2", "2", "2"]
    assert cluster.sizes() == {"1": 0, "2": 4}
    assert min(fewest) >= 3
    assert cluster.condition("Progressing")["reason"] == "NewReplicaSetAvailable"


@virtually
async def test_recreate_runs_no_two_versions_at_once(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=2, strategy={"type": "Recreate"}))
    mixes: list[set[str]] = []

    async with cluster.running():
        await asyncio.sleep(10)
        world.informers.of(PODS).subscribe(lambda c: mixes.append(set(cluster.images())))
        await cluster.patch(V2)
        await asyncio.sleep(60)

    assert cluster.images() == ["2", "2"]
    assert all(len(mix) <= 1 for mix in mixes)


@virtually
async def test_going_back_takes_the_old_replicaset_with_a_new_revision(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=2))

    async with cluster.running():
        await asyncio.sleep(10)
        await cluster.patch(V2)
        await asyncio.sleep(30)
        await cluster.patch(V1)
        await asyncio.sleep(30)

    assert cluster.images() == ["1", "1"]
    assert cluster.sizes() == {"2": 0, "3": 2}
    assert annotations_of(world.deployment())[REVISION] == "3"


@virtually
async def test_a_paused_deployment_scales_but_does_not_roll(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=2))

    async with cluster.running():
        await asyncio.sleep(10)
        await cluster.patch({"spec": {"paused": True}})
        await cluster.patch(V2)
        await cluster.patch({"spec": {"replicas": 3}})
        await asyncio.sleep(30)
        paused, reason = cluster.images(), cluster.condition("Progressing")["reason"]
        await cluster.patch({"spec": {"paused": None}})
        await asyncio.sleep(30)

    assert (paused, reason) == (["1", "1", "1"], "DeploymentPaused")
    assert cluster.images() == ["2", "2", "2"]


@virtually
async def test_a_broken_version_stops_the_rollout_and_says_so_after_its_deadline(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=3, progressDeadlineSeconds=60))
    world.broken_images.add("host.skerry.invalid/app:2")

    async with cluster.running():
        await asyncio.sleep(10)
        await cluster.patch(V2)
        await asyncio.sleep(50)
        before = cluster.condition("Progressing")["status"]
        await asyncio.sleep(30)
        after = cluster.condition("Progressing")
        await cluster.patch({"spec": {"paused": True}})
        await asyncio.sleep(5)
        paused = cluster.condition("Progressing")
        await cluster.patch({"spec": {"paused": None, "progressDeadlineSeconds": 2**31 - 1}})
        await asyncio.sleep(5)

    assert before == "True"
    assert (after["status"], after["reason"]) == (paused["status"], paused["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert cluster.condition("Progressing") == {}
    assert cluster.images() == ["1", "1", "1", "2"]
    assert cluster.condition("Available")["status"] == "True"


@virtually
async def test_a_rollout_that_ended_does_not_fail_when_a_node_is_lost_later(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=2, progressDeadlineSeconds=60))

    async with cluster.running():
        await asyncio.sleep(10)
        world.broken_images.add("host.skerry.invalid/app:1")
        for pod in world.api.all(PODS):
            lost = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
            await world.api.patch(PODS, *name_of(pod), lost, subresource="status")
        await asyncio.sleep(600)

    assert len(world.api.all(PODS)) == 2
    assert cluster.condition("Progressing")["status"] == "True"
    assert cluster.condition("Available")["status"] == "False"


@virtually
async def test_old_replicasets_beyond_the_history_limit_are_deleted(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=1, revisionHistoryLimit=1))

    async with cluster.running():
        for version in ("1", "2", "3", "4"):
            containers = [{"name": "main", "image": f"host.skerry.invalid/app:{version}"}]
            await cluster.patch({"spec": {"template": {"spec": {"containers": containers}}}})
            await asyncio.sleep(20)

        before = cluster.sizes()
        await cluster.patch({"spec": {"paused": True, "revisionHistoryLimit": 0}})
        await asyncio.sleep(20)

    assert (before, cluster.sizes()) == ({"3": 0, "4": 1}, {"4": 1})


def test_the_hash_does_not_depend_on_key_order_or_on_itself() -> None:
    template = a_deployment()["spec"]["template"]
    shuffled = dict(reversed(template.items()))
    marked = {**template, "metadata": {"labels": {**template["metadata"]["labels"], HASH_LABEL: "x"}, "creationTimestamp": None}}

    assert template_hash(template) == template_hash(shuffled) == template_hash(marked)
    assert template_hash(template) != template_hash(template, collisions=1)
    assert bare_template(marked) == bare_template(template)


CHANGES = st.lists(
    st.one_of(
        st.builds(lambda n: {"spec": {"replicas": n}}, st.integers(0, 5)),
        st.sampled_from([V1, V2, {"spec": {"paused": True}}, {"spec": {"paused": None}}]),
        st.builds(lambda t: {"spec": {"strategy": {"type": t}}}, st.sampled_from(["Recreate", "RollingUpdate"])),
    ),
    max_size=8,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(CHANGES, st.randoms(use_true_random=False))
def test_whatever_is_changed_meanwhile_it_ends_as_wanted_and_then_rests(changes: list[Object], random: Any) -> None:
    async def main() -> None:
        world = World()
        cluster = Cluster(world)
        world.api.seed(DEPLOYMENTS, a_deployment(replicas=2))
        async with cluster.running():
            for change in changes:
                await cluster.patch(change)
                await asyncio.sleep(random.choice([0.0, 0.5, 3.0, 30.0]))
            await cluster.patch({"spec": {"paused": None}})
            await asyncio.sleep(200)
            found, replicasets = world.deployment(), world.api.all(REPLICASETS)
            assert cluster.images() == [found["spec"]["template"]["spec"]["containers"][0]["image"][-1]] * found["spec"]["replicas"]
            assert plan(found, replicasets, old_pods_remain=False) == []
            assert split(found, replicasets)[0] is not None
            before = len(world.api.writes())
            await asyncio.sleep(3600)
            assert world.api.writes()[before:] == []

    run_virtually(main())


@virtually
async def test_the_annotation_that_asks_for_a_rollback_is_followed_and_removed(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=2))

    async with cluster.running():
        await asyncio.sleep(10)
        await cluster.patch(V2)
        await asyncio.sleep(30)
        await cluster.patch({"metadata": {"annotations": {ROLL_BACK: "1"}}})
        await asyncio.sleep(30)
        undone = cluster.images()
        await cluster.patch({"metadata": {"annotations": {ROLL_BACK: "99"}}})
        await asyncio.sleep(30)

    reasons = {e["reason"] for e in world.api.all(EVENTS)}
    assert undone == cluster.images() == ["1", "1"]
    assert ROLL_BACK not in annotations_of(world.deployment())
    assert {"DeploymentRollback", "DeploymentRollbackRevisionNotFound"} <= reasons


@virtually
async def test_recreate_does_not_wait_for_pods_that_have_ended(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=2, strategy={"type": "Recreate"}))

    async with cluster.running():
        await asyncio.sleep(10)
        ended = world.api.all(PODS)[0]
        await world.api.patch(PODS, *name_of(ended), {"status": {"phase": "Failed"}}, subresource="status")
        await asyncio.sleep(10)
        await cluster.patch(V2)
        await asyncio.sleep(30)

    assert cluster.images().count("2") == 2


@virtually
async def test_a_rollout_says_which_replica_set_it_made_or_found(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(DEPLOYMENTS, a_deployment(replicas=1))
    reasons: list[str] = []

    async with cluster.running():
        world.informers.of(DEPLOYMENTS).subscribe(lambda _: reasons.append(str(cluster.condition("Progressing").get("reason"))))
        await asyncio.sleep(10)
        await cluster.patch(V2)
        await asyncio.sleep(30)
        await cluster.patch(V1)
        await asyncio.sleep(30)

    told = [r for r, before in zip(reasons, ["", *reasons], strict=False) if r not in (before, "None")]
    end = ["ReplicaSetUpdated", "NewReplicaSetAvailable"]
    assert told == ["NewReplicaSetCreated", *end, "NewReplicaSetCreated", *end, "FoundNewReplicaSet", *end]
