"""ReplicaSets: the plan as values, then the controller in a small cluster."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skerry.controllers.workloads.replicaset import ReplicaSets
from skerry.controllers.workloads.replicaset_plan import Adopt, Create, Delete, Release, adoption_patch, plan, release_patch, status
from skerry.model.errors import forbidden
from skerry.model.objects import Object, controller_of, dig, metadata, name_of, owner_reference, uid_of
from skerry.model.resources import EVENTS, PODS, REPLICASETS
from tests.unit.controllers.world import SPACE, World, a_pod, a_replicaset, virtually


def owned(name: str, *, ready: bool = True, phase: str = "Running", node: str = "n", deleting: bool = False, app: str = "web") -> Object:
    pod = a_pod(name, labels={"app": app}, node=node)
    pod["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": "1", "ownerReferences": [owner_reference(a_replicaset())]}
    if deleting:
        pod["metadata"]["deletionTimestamp"] = "2026-01-05T10:00:00Z"
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-05T09:59:00Z"}]
    pod["status"] = {"phase": phase, "conditions": conditions}
    return pod


def orphan(name: str, **facts: Any) -> Object:
    pod = owned(name, **facts)
    del pod["metadata"]["ownerReferences"]
    return pod


def test_missing_pods_are_created_and_ended_ones_replaced() -> None:
    pods = [owned("a"), owned("b", phase="Failed"), owned("c", deleting=True)]

    assert plan(a_replicaset(replicas=3), pods) == [Create(2)]


def test_pods_that_are_not_ready_are_neither_deleted_nor_replaced() -> None:
    pods = [owned("a"), owned("b", ready=False), owned("c", ready=False)]

    assert plan(a_replicaset(replicas=3), pods) == []


def test_surplus_pods_go_in_the_order_in_which_they_are_missed_least() -> None:
    unbound = owned("a-unbound", ready=False, phase="Pending", node="")
    pods = [owned("b", node="m"), unbound, owned("c", ready=False, node="m"), owned("d", node="m"), owned("e", node="o")]

    steps = plan(a_replicaset(replicas=2), pods)

    assert [name_of(s.pod).name for s in steps if isinstance(s, Delete)] == ["a-unbound", "c", "b"]


def test_pods_of_nobody_are_adopted_and_those_that_left_the_selection_released() -> None:
    steps = plan(a_replicaset(replicas=1), [orphan("a"), owned("b", app="other"), orphan("c", app="other")])

    assert [(type(s), name_of(s.pod).name) for s in steps if isinstance(s, (Adopt, Release))] == [(Adopt, "a"), (Release, "b")]
    assert len(steps) == 2


def test_a_replicaset_that_is_deleted_does_nothing() -> None:
    replicaset = a_replicaset(replicas=3)
    replicaset["metadata"]["deletionTimestamp"] = "2026-01-05T10:00:00Z"

    assert plan(replicaset, []) == []


FACTS = st.fixed_dictionaries(
    {
        "ready": st.booleans(),
        "phase": st.sampled_from(["Pending", "Running", "Failed", "Succeeded"]),
        "deleting": st.booleans(),
        "node": st.sampled_from(["", "m", "n"]),
        "app": st.sampled_from(["web", "other"]),
    }
)


@given(st.integers(0, 6), st.lists(FACTS, max_size=8), st.lists(FACTS, max_size=4))
def test_planning_again_after_the_steps_gives_nothing(replicas: int, mine: list[Any], nobodys: list[Any]) -> None:
    replicaset = a_replicaset(replicas=replicas)
    pods = [owned(f"o{i}", **f) for i, f in enumerate(mine)] + [orphan(f"x{i}", **f) for i, f in enumerate(nobodys)]

    after = pods
    for step in plan(replicaset, pods):
        after = carried_out(replicaset, after, step)

    assert plan(replicaset, after) == []
    assert status(replicaset, after, now=_now())[0]["replicas"] == replicas


def _now() -> datetime:
    return datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def carried_out(replicaset: Object, pods: list[Object], step: Any) -> list[Object]:
    match step:
        case Create(count):
            return [*pods, *(owned(f"new{i}") for i in range(count))]
        case Delete(pod):
            return [p for p in pods if uid_of(p) != uid_of(pod)]
        case Adopt(pod) | Release(pod):
            patch = (adoption_patch if isinstance(step, Adopt) else release_patch)(replicaset, pod)
            changed = copy.deepcopy(pod)
            changed["metadata"] |= patch["metadata"]
            return [changed if uid_of(p) == uid_of(pod) else p for p in pods]
    raise AssertionError(step)


def test_availability_waits_for_min_ready_seconds() -> None:
    found, again_s = status(a_replicaset(replicas=1, minReadySeconds=90), [owned("a")], now=_now())

    assert (found["readyReplicas"], found.get("availableReplicas"), again_s) == (1, None, 30.0)


@virtually
async def test_the_controller_makes_pods_ready_and_scales_them_down(world: World) -> None:
    controller = ReplicaSets(world.api, world.informers, world.now)
    world.api.seed(REPLICASETS, a_replicaset(replicas=3))

    async with world.running(controller.controller.run, world.kubelet):
        await asyncio.sleep(5)
        full = world.api.peek(REPLICASETS, SPACE, "web")
        await world.api.patch(REPLICASETS, SPACE, "web", {"spec": {"replicas": 1}})
        await asyncio.sleep(5)

    assert full is not None
    counts = {k: v for k, v in full["status"].items() if k != "observedGeneration"}
    assert counts == {"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}
    assert len(world.api.all(PODS)) == 1
    assert len([a for a in world.api.actions if a.verb == "create" and a.resource == PODS]) == 3
    assert {e["reason"] for e in world.api.all(EVENTS)} == {"SuccessfulCreate", "SuccessfulDelete"}
    assert all((controller_of(p) or {})["uid"] == "rs-uid" for p in world.api.all(PODS))


@virtually
async def test_a_pod_that_may_not_be_deleted_is_told(world: World) -> None:
    controller = ReplicaSets(world.api, world.informers, world.now)
    world.api.seed(REPLICASETS, a_replicaset(replicas=1))

    async with world.running(controller.controller.run):
        await asyncio.sleep(1)
        for _ in range(3):
            world.api.fail_next(forbidden("pods", "", "", "hands off"), "delete")
        await world.api.patch(REPLICASETS, SPACE, "web", {"spec": {"replicas": 0}})
        await asyncio.sleep(0.01)
        failing = world.api.peek(REPLICASETS, SPACE, "web")
        await asyncio.sleep(10)

    assert dig(failing, "status", "conditions", 0, "reason") == "FailedDelete"
    assert world.api.all(PODS) == []


@virtually
async def test_a_refused_template_is_tried_with_back_off_and_says_why(world: World) -> None:
    controller = ReplicaSets(world.api, world.informers, world.now)
    world.api.seed(REPLICASETS, a_replicaset(replicas=5))
    for _ in range(3):
        world.api.fail_next(forbidden("pods", "", "", "exceeded quota"), "create")

    async with world.running(controller.controller.run):
        await asyncio.sleep(0.01)
        failing = world.api.peek(REPLICASETS, SPACE, "web")
        await asyncio.sleep(10)

    condition = dig(failing, "status", "conditions", 0)
    assert (condition["type"], condition["reason"], "exceeded quota" in condition["message"]) == ("ReplicaFailure", "FailedCreate", True)
    found = world.api.peek(REPLICASETS, SPACE, "web")
    assert dig(found, "status", "replicas") == 5
    assert "conditions" not in (found or {})["status"]


@virtually
async def test_pods_of_a_silent_node_are_kept_as_they_are(world: World) -> None:
    controller = ReplicaSets(world.api, world.informers, world.now)
    world.api.seed(REPLICASETS, a_replicaset(replicas=2))

    async with world.running(controller.controller.run, world.kubelet):
        await asyncio.sleep(3)
        names = world.names(PODS)
        world.broken_images.add("host.skerry.invalid/app")
        lost = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        await world.api.patch(PODS, SPACE, names[0], lost, subresource="status")
        await asyncio.sleep(3600)

    assert world.names(PODS) == names
    found = world.api.peek(REPLICASETS, SPACE, "web")
    assert (dig(found, "status", "replicas"), dig(found, "status", "readyReplicas")) == (2, 1)
    assert all(not metadata(p).get("deletionTimestamp") for p in world.api.all(PODS))


@virtually
async def test_of_two_alike_the_one_goes_whose_node_has_more_of_the_same_deployment(world: World) -> None:
    def of(name: str, replicas: int) -> Object:
        found = a_replicaset(name, replicas, uid=f"uid-{name}")
        found["metadata"]["ownerReferences"] = [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "d", "controller": True}
        ]
        return found

    def on(node: str, name: str, owner: str) -> Object:
        pod = a_pod(name, labels={"app": owner}, node=node)
        reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": f"uid-{owner}", "controller": True}
        pod["metadata"]["ownerReferences"] = [reference]
        return pod

    controller = ReplicaSets(world.api, world.informers, world.now)
    world.api.seed(REPLICASETS, of("old", 1), of("new", 1))
    world.api.seed(PODS, on("n1", "old-a", "old"), on("n2", "old-b", "old"), on("n2", "new-a", "new"))

    async with world.running(controller.controller.run):
        await asyncio.sleep(5)

    found = {name_of(p).name: metadata(p).get("deletionTimestamp") for p in world.api.all(PODS)}
    assert sorted(name for name, ending in found.items() if not ending) == ["new-a", "old-a"]
