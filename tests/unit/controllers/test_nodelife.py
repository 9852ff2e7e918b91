"""A node that is cut off turns NotReady and keeps its Pods; clocks and restarts of the hub silence nobody."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skerry.controllers.workloads.nodelife import NodeLifecycle, OrphanedPods
from skerry.controllers.workloads.nodelife_plan import REASON, ready_status, silenced_conditions, wanted_taints
from skerry.controllers.workloads.replicaset import ReplicaSets
from skerry.controllers.workloads.silence import Silence
from skerry.model.conditions import get_condition
from skerry.model.objects import Object, dig, metadata
from skerry.model.resources import LEASES, NODES, PODS, REPLICASETS
from tests.unit.controllers.world import SPACE, World, a_node, a_pod, a_replicaset, virtually

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def running_pod(name: str, node: str) -> Object:
    pod = a_pod(name, node=node)
    pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return pod


async def renew(world: World, node: str, *, clock: str = "2026-01-05T10:00:00.000000Z") -> None:
    spec = {"holderIdentity": node, "renewTime": clock, "leaseDurationSeconds": 40, "leaseTransitions": world.api.revision}
    world.api.seed(LEASES, {"metadata": {"namespace": "kube-node-lease", "name": node}, "spec": spec})


async def keep_renewing(world: World, *nodes: str) -> None:
    while True:
        for node in nodes:
            if node not in world.silent_nodes:
                await renew(world, node)
        await asyncio.sleep(10)


def a_world(world: World, *nodes: str, grace_s: float = 40.0) -> Any:
    lifecycle = NodeLifecycle(world.api, world.informers, world.now, grace_s=grace_s)
    world.api.seed(NODES, *(a_node(n) for n in nodes))
    return world.running(lifecycle.run, lambda: keep_renewing(world, *nodes))


def ready(world: World, node: str) -> Any:
    return get_condition(dig(world.node(node), "status", "conditions"), "Ready") or {}


def taints(world: World, node: str) -> list[str]:
    return [t["key"] for t in dig(world.node(node), "spec", "taints", default=[])]


@virtually
async def test_a_silent_node_turns_not_ready_after_its_grace_and_not_before(world: World) -> None:
    async with a_world(world, "a", "b"):
        await asyncio.sleep(100)
        world.silent_nodes.add("a")
        await asyncio.sleep(35)
        early = ready(world, "a")["status"]
        await asyncio.sleep(20)

        assert early == "True"
        assert (ready(world, "a")["status"], ready(world, "a")["reason"]) == ("Unknown", REASON)
        assert taints(world, "a") == ["node.kubernetes.io/unreachable"]
        assert (ready(world, "b")["status"], taints(world, "b")) == ("True", [])


@virtually
async def test_a_node_that_we_marked_was_not_heard_by_that(world: World) -> None:
    async with a_world(world, "a"):
        node = a_node("a")
        for condition in node["status"]["conditions"]:
            condition["lastHeartbeatTime"] = "2026-01-05T10:00:00Z"
        world.api.seed(NODES, node)
        world.silent_nodes.add("a")
        await asyncio.sleep(60)
        states = set()
        for _ in range(60):
            await asyncio.sleep(5)
            states.add(ready(world, "a")["status"])

        assert states == {"Unknown"}


@virtually
async def test_its_pods_are_marked_and_neither_evicted_nor_replaced(world: World) -> None:
    replicasets = ReplicaSets(world.api, world.informers, world.now)
    pods = [running_pod("p1", "a"), running_pod("p2", "b")]
    for pod in pods:
        pod["metadata"]["labels"] = {"app": "web"}
    world.api.seed(REPLICASETS, a_replicaset(replicas=2))
    world.api.seed(PODS, *pods)
    world.silent_nodes.add("a")

    async with a_world(world, "a", "b"), world.running(replicasets.controller.run):
        await asyncio.sleep(6 * 3600)

    assert world.names(PODS) == ["p1", "p2"]
    found = {p["metadata"]["name"]: p for p in world.api.all(PODS)}
    assert not metadata(found["p1"]).get("deletionTimestamp")
    assert [(get_condition(dig(found[n], "status", "conditions"), "Ready") or {})["status"] for n in ("p1", "p2")] == ["False", "True"]
    assert dig(world.api.peek(REPLICASETS, SPACE, "web"), "status", "replicas") == 2


@virtually
async def test_a_node_that_is_heard_again_is_as_it_was(world: World) -> None:
    world.api.seed(PODS, running_pod("p", "a"))
    async with a_world(world, "a"):
        await asyncio.sleep(20)
        before = ready(world, "a")
        world.silent_nodes.add("a")
        await asyncio.sleep(60)
        during = ready(world, "a")["status"]
        world.silent_nodes.clear()
        await asyncio.sleep(15)

        assert during == "Unknown"
        assert ready(world, "a") == before
        assert taints(world, "a") == []
        pod = world.api.peek(PODS, SPACE, "p")
        assert (get_condition(dig(pod, "status", "conditions"), "Ready") or {})["status"] == "True"


@virtually
async def test_after_a_restart_of_the_hub_every_node_has_its_whole_grace(world: World) -> None:
    old = {"metadata": {"namespace": "kube-node-lease", "name": "a"}, "spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}}
    world.api.seed(LEASES, old)
    world.api.seed(NODES, a_node("a"))
    lifecycle = NodeLifecycle(world.api, world.informers, world.now)

    async with world.running(lifecycle.run):
        await asyncio.sleep(35)
        assert ready(world, "a")["status"] == "True"


@virtually
async def test_a_node_whose_clock_is_ten_years_off_is_heard_all_the_same(world: World) -> None:
    async def from_the_past() -> None:
        for i in range(60):
            await renew(world, "a", clock=f"2016-01-05T10:00:{i:02d}.000000Z")
            await asyncio.sleep(10)

    world.api.seed(NODES, a_node("a"))
    lifecycle = NodeLifecycle(world.api, world.informers, world.now)

    async with world.running(lifecycle.run, from_the_past):
        await asyncio.sleep(590)
        assert ready(world, "a")["status"] == "True"


@virtually
async def test_a_cordoned_node_is_tainted_and_untainted(world: World) -> None:
    async with a_world(world, "a"):
        await world.api.patch(NODES, "", "a", {"spec": {"unschedulable": True}})
        await asyncio.sleep(5)
        cordoned = taints(world, "a")
        await world.api.patch(NODES, "", "a", {"spec": {"unschedulable": None}})
        await asyncio.sleep(5)

        assert (cordoned, taints(world, "a")) == (["node.kubernetes.io/unschedulable"], [])


@virtually
async def test_pods_of_a_deleted_node_are_removed_after_a_while_unless_it_comes_back(world: World) -> None:
    world.api.seed(NODES, a_node("a"), a_node("b"))
    world.api.seed(PODS, running_pod("p", "a"), running_pod("q", "b"))
    controller = OrphanedPods(world.api, world.informers, world.now)
    last: dict[str, Object] = {}
    world.informers.of(PODS).subscribe(lambda change: last.update({change.name.name: change.object}))

    async with world.running(controller.controller.run):
        await asyncio.sleep(1)
        world.api.erase(NODES, "", "a")
        world.api.erase(NODES, "", "b")
        await asyncio.sleep(30)
        world.api.seed(NODES, a_node("b"))
        kept = world.names(PODS)
        await asyncio.sleep(40)

    assert kept == ["p", "q"]
    assert world.names(PODS) == ["q"]
    assert {n: (p["status"]["phase"], p["status"]["conditions"][-1]["reason"]) for n, p in last.items() if n == "p"} == {
        "p": ("Failed", "DeletionByPodGC")
    }


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=1, max_size=30),
    st.floats(1, 100),
)
def test_no_single_jump_of_the_clock_makes_a_node_silent(ticks: list[tuple[float, bool]], grace_s: float) -> None:
    silence = Silence(grace_s=grace_s * 5, longest_tick_s=grace_s)
    now, since_heard = 0.0, 0

    silence.tick(now, ["a"])
    for passed, heard in ticks:
        now += passed
        silence.tick(now, ["a"])
        since_heard += 1
        assert not silence.is_silent("a") or since_heard >= 5
        if heard:
            silence.heard("a")
            since_heard = 0


@given(st.sampled_from(["True", "False", "Unknown"]), st.booleans(), st.booleans(), st.booleans())
def test_taints_follow_the_conditions_and_following_again_changes_nothing(
    ready: str, cordoned: bool, pressure: bool, foreign: bool
) -> None:
    node = a_node("a")
    node["spec"]["unschedulable"] = cordoned
    node["status"]["conditions"] = [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": str(pressure)}]
    node["spec"]["taints"] = [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}] if foreign else []

    node["spec"]["taints"] = wanted_taints(node, NOW)

    keys = {t["key"] for t in node["spec"]["taints"]}
    assert ("node.kubernetes.io/unreachable" in keys) is (ready == "Unknown")
    assert ("node.kubernetes.io/not-ready" in keys) is (ready == "False")
    assert ("node.kubernetes.io/unschedulable" in keys) is cordoned
    assert ("node.kubernetes.io/disk-pressure" in keys) is pressure
    assert ("dedicated" in keys) is foreign
    assert wanted_taints(node, NOW + timedelta(hours=1)) == node["spec"]["taints"]
    assert all(t["effect"] == "NoSchedule" for t in node["spec"]["taints"])


def test_a_node_that_never_spoke_is_not_ready_and_says_so_when_silent() -> None:
    node: Object = {"metadata": {"name": "a"}, "spec": {}}

    found = silenced_conditions(node, NOW)

    assert ready_status(node) == "False"
    assert [(c["type"], c["status"], c["message"]) for c in found] == [("Ready", "Unknown", "Kubelet never posted node status.")]
