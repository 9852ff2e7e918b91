"""DaemonSets: one Pod on each node that may have one, and rollouts that a silent site does not stop."""

from __future__ import annotations

import asyncio
import copy
import math
from datetime import UTC, datetime
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.controllers.workloads.daemonset import DaemonSets
from skerry.controllers.workloads.daemonset_plan import Delete, node_of, place, plan, pod_for
from skerry.controllers.workloads.scheduler import Scheduler
from skerry.model.objects import Object, metadata
from skerry.model.resources import DAEMONSETS, EVENTS, NODES, PODS
from skerry.testing.clock import run_virtually
from tests.unit.controllers.world import SPACE, World, a_node, virtually


def a_daemonset(image: str = "host.skerry.invalid/app:1", **spec: Any) -> Object:
    labels = {"app": "agent"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}], **spec.pop("pod", {})}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"namespace": SPACE, "name": "agent", "uid": "ds-uid", "generation": 1},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


NEW = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "host.skerry.invalid/app:2"}]}}}}


def running(world: World) -> Any:
    daemonsets, scheduler = DaemonSets(world.api, world.informers, world.now), Scheduler(world.api, world.informers, world.now)
    return world.running(daemonsets.controller.run, scheduler.controller.run, world.kubelet)


def versions(world: World) -> dict[str, str]:
    return {p["spec"]["nodeName"]: p["spec"]["containers"][0]["image"][-1] for p in world.api.all(PODS)}


@virtually
async def test_each_node_that_may_have_one_gets_one_pod(world: World) -> None:
    tainted = a_node("tainted", taints=[{"key": "dedicated", "effect": "NoSchedule"}])
    world.api.seed(NODES, a_node("a"), a_node("b", unschedulable=True), tainted, a_node("other", labels={"kind": "other"}))
    world.api.seed(DAEMONSETS, a_daemonset(pod={"affinity": _not_other()}))

    async with running(world):
        await asyncio.sleep(5)
        first = versions(world)
        await world.api.create(NODES, {"metadata": {"name": "c"}})
        await world.api.patch(NODES, "", "c", {"status": a_node("c")["status"]}, subresource="status")
        await world.api.patch(NODES, "", "a", {"metadata": {"labels": {"kind": "other"}}})
        await asyncio.sleep(5)

    assert set(first) == {"a", "b"}
    assert set(versions(world)) == {"b", "c"}
    status = (world.api.peek(DAEMONSETS, SPACE, "agent") or {})["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"], status["numberMisscheduled"]) == (2, 2, 0)


@virtually
async def test_a_taint_keeps_new_pods_away_and_only_noexecute_ends_those_that_run(world: World) -> None:
    world.api.seed(NODES, a_node("a"), a_node("b"))
    world.api.seed(DAEMONSETS, a_daemonset())

    async with running(world):
        await asyncio.sleep(5)
        await world.api.patch(NODES, "", "a", {"spec": {"taints": [{"key": "dedicated", "effect": "NoSchedule"}]}})
        await asyncio.sleep(5)
        kept = set(versions(world))
        misplaced = (world.api.peek(DAEMONSETS, SPACE, "agent") or {})["status"]
        await world.api.patch(NODES, "", "a", {"spec": {"taints": [{"key": "dedicated", "effect": "NoExecute"}]}})
        await asyncio.sleep(5)

    assert kept == {"a", "b"}
    assert (misplaced["desiredNumberScheduled"], misplaced["numberMisscheduled"]) == (1, 1)
    assert set(versions(world)) == {"b"}


@virtually
async def test_a_pod_that_failed_is_replaced_after_a_pause_that_grows(world: World) -> None:
    world.api.seed(NODES, a_node("a"))
    world.api.seed(DAEMONSETS, a_daemonset())
    seen: list[str] = []

    async with running(world):
        for _ in range(120):
            await asyncio.sleep(1)
            for pod in world.api.all(PODS):
                if pod.get("status", {}).get("phase") == "Running":
                    seen.append(metadata(pod)["uid"])
                    await world.api.patch(PODS, SPACE, metadata(pod)["name"], {"status": {"phase": "Failed"}}, subresource="status")

    assert 4 <= len(set(seen)) <= 8
    start, end = f"Found failed daemon pod {SPACE}/agent-", " on node a, will try to kill it"
    told = [e["message"] for e in world.api.all(EVENTS) if e["reason"] == "FailedDaemonPod"]
    assert {(m[: len(start)], m[-len(end) :]) for m in told} == {(start, end)}


@virtually
async def test_a_new_template_does_not_wait_for_the_pods_that_failed(world: World) -> None:
    world.api.seed(NODES, *(a_node(n) for n in "abc"))
    world.api.seed(DAEMONSETS, a_daemonset(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}))

    async with running(world):
        for _ in range(40):
            await asyncio.sleep(1)
            await _do(world, "kill", "a")
        await world.api.patch(DAEMONSETS, SPACE, "agent", {"spec": {"template": NEW["spec"]["template"]}})
        for _ in range(5):
            await asyncio.sleep(1)
            await _do(world, "kill", "a")
        others = {n: v for n, v in versions(world).items() if n != "a"}
        await asyncio.sleep(10)

    assert others == {"b": "2", "c": "2"}
    assert versions(world) == dict.fromkeys("abc", "2")


def _not_other() -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "kind", "operator": "NotIn", "values": ["other"]}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


@virtually
async def test_a_new_version_rolls_one_node_at_a_time(world: World) -> None:
    world.api.seed(NODES, *(a_node(n) for n in "abcd"))
    world.api.seed(DAEMONSETS, a_daemonset())
    down: list[int] = []

    async with running(world):
        await asyncio.sleep(10)
        world.informers.of(PODS).subscribe(lambda change: down.append(4 - sum(_is_ready(p) for p in world.api.all(PODS))))
        await world.api.patch(DAEMONSETS, SPACE, "agent", NEW)
        await asyncio.sleep(60)

    assert versions(world) == dict.fromkeys("abcd", "2")
    assert max(down) == 1
    status = (world.api.peek(DAEMONSETS, SPACE, "agent") or {})["status"]
    assert (status["updatedNumberScheduled"], status["numberAvailable"], status["observedGeneration"]) == (4, 4, 2)


@virtually
async def test_a_silent_node_stops_no_rollout_and_gets_the_new_version_when_it_is_back(world: World) -> None:
    world.api.seed(NODES, *(a_node(n) for n in "abc"))
    world.api.seed(DAEMONSETS, a_daemonset())

    async with running(world):
        await asyncio.sleep(10)
        world.silent_nodes.add("b")
        lost = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
        await world.api.patch(NODES, "", "b", lost, subresource="status")
        await world.api.patch(DAEMONSETS, SPACE, "agent", NEW)
        await asyncio.sleep(60)
        away = versions(world)
        touched = [p for p in world.api.all(PODS) if p["spec"]["nodeName"] == "b" and metadata(p).get("deletionTimestamp")]
        world.silent_nodes.clear()
        await world.api.patch(NODES, "", "b", {"status": a_node("b")["status"]}, subresource="status")
        await asyncio.sleep(60)

    assert away == {"a": "2", "b": "1", "c": "2"}
    assert touched == []
    assert versions(world) == dict.fromkeys("abc", "2")


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return not metadata(pod).get("deletionTimestamp") and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_a_taint_that_comes_from_the_nodes_state_is_tolerated_and_one_of_the_user_is_not() -> None:
    daemonset = a_daemonset()

    for key, expected in (("node.kubernetes.io/unreachable", True), ("node.kubernetes.io/unschedulable", True), ("mine", False)):
        assert place(daemonset, a_node("a", taints=[{"key": key, "effect": "NoSchedule"}]))[0] is expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["new", "old", "cordon", "label", "kill"]), st.sampled_from("abc")), max_size=6))
def test_whatever_happens_it_ends_with_one_pod_a_node_and_rests(steps: list[tuple[str, str]]) -> None:
    async def main() -> None:
        world = World()
        world.api.seed(NODES, *(a_node(n) for n in "abc"))
        world.api.seed(DAEMONSETS, a_daemonset(pod={"affinity": _not_other()}))
        async with running(world):
            for step, node in steps:
                await _do(world, step, node)
                await asyncio.sleep(2.5)
            await asyncio.sleep(120)
            daemonset, nodes, pods = world.api.all(DAEMONSETS)[0], world.api.all(NODES), world.api.all(PODS)
            assert plan(daemonset, nodes, pods, now=world.now()) == []
            assert sorted(node_of(p) for p in pods) == sorted(n["metadata"]["name"] for n in nodes if place(daemonset, n)[0])
            before = len(world.api.writes())
            await asyncio.sleep(600)
            assert world.api.writes()[before:] == []

    run_virtually(main())


async def _do(world: World, step: str, node: str) -> None:
    match step:
        case "new":
            await world.api.patch(DAEMONSETS, SPACE, "agent", NEW)
        case "old":
            await world.api.patch(DAEMONSETS, SPACE, "agent", {"spec": a_daemonset()["spec"]})
        case "cordon":
            taints = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]
            await world.api.patch(NODES, "", node, {"spec": {"unschedulable": True, "taints": taints}})
        case "label":
            await world.api.patch(NODES, "", node, {"metadata": {"labels": {"kind": "other"}}})
        case "kill":
            for pod in world.api.all(PODS):
                if pod["spec"].get("nodeName") == node:
                    lost = {"status": {"phase": "Failed"}}
                    await world.api.patch(PODS, SPACE, metadata(pod)["name"], lost, subresource="status")


@given(st.integers(1, 6), st.sampled_from([1, 2, "50%"]), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_with_surge_the_new_pod_comes_before_the_old_one_goes(count: int, surge: int | str, random: Random) -> None:
    """Each node has an available Pod at every moment, and at most `maxSurge` nodes have two."""
    nodes = [a_node(f"n{i}") for i in range(count)]
    old = a_daemonset(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": 0}})
    new = copy.deepcopy(old)
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "host.skerry.invalid/app:2"
    now = datetime(2026, 11, 23, tzinfo=UTC)
    pods = [_placed(old, f"n{i}", f"old-{i}", ready=True) for i in range(count)]
    most = math.ceil(count / 2) if surge == "50%" else int(surge)

    for turn in range(60):
        steps = plan(new, nodes, pods, now=now)
        for step in steps:
            if isinstance(step, Delete):
                pods = [p for p in pods if p is not step.pod]
            else:
                pods.append(_placed(new, step.node, f"new-{turn}-{step.node}", ready=False))
        for pod in pods:
            if random.random() < 0.5:
                pod["status"] = _ready()
        for node in nodes:
            there = [p for p in pods if node_of(p) == node["metadata"]["name"]]
            assert any(p["status"] == _ready() for p in there)
        assert len(pods) <= count + most

    assert sorted(p["spec"]["containers"][0]["image"][-1] for p in pods) == ["2"] * count
    assert plan(new, nodes, pods, now=now) == []


def _ready() -> Object:
    return {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T00:00:00Z"}]}


def _placed(daemonset: Object, node: str, name: str, *, ready: bool) -> Object:
    pod = pod_for(daemonset, node)
    pod["metadata"] |= {"name": name, "namespace": SPACE, "creationTimestamp": "2026-11-22T00:00:00Z"}
    pod["spec"]["nodeName"] = node
    pod["status"] = _ready() if ready else {"phase": "Pending"}
    return pod


def test_a_pod_has_the_tolerations_of_its_kind_once_and_the_generation_of_its_template() -> None:
    own = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}
    daemonset = a_daemonset(pod={"hostNetwork": True, "tolerations": [own]})
    daemonset["metadata"]["annotations"] = {"deprecated.daemonset.template.generation": "3"}

    pod = pod_for(daemonset, "a")

    assert pod["spec"]["tolerations"].count(own) == 1
    assert {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"} in pod["spec"]["tolerations"]
    assert metadata(pod)["labels"]["pod-template-generation"] == "3"
