"""Volumes made by hand: which claim gets which, where its Pod then goes, and what becomes of both afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from skerry.controllers.volumes import matching as rules
from skerry.controllers.volumes.binder import VolumeBinder
from skerry.controllers.volumes.placing import VolumePlacer
from skerry.controllers.volumes.told import PlacedPods
from skerry.controllers.workloads.scheduler import Scheduler
from skerry.model.conditions import get_condition
from skerry.model.objects import Object, annotations_of, dig
from skerry.model.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from skerry.model.volumes import LOCAL_PATHS
from tests.unit.controllers.world import SPACE, World, a_node, a_pod, virtually


def a_volume(name: str, size: str = "10Gi", *, node: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    found: Object = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local", **spec}
    found.setdefault("local", {"path": f"/data/{name}"})
    if node:
        term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
        found["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": found, "status": {"phase": "Available"}}


def a_claim(name: str = "c", size: str = "5Gi", **spec: Any) -> Object:
    found = {"resources": {"requests": {"storage": size}}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local", **spec}
    return {"metadata": {"namespace": SPACE, "name": name, "uid": f"uid-{name}"}, "spec": found, "status": {"phase": "Pending"}}


def a_class(mode: str) -> Object:
    return {"metadata": {"name": "local"}, "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": mode}


@pytest.mark.parametrize(
    ("volume", "claim", "suits"),
    [
        (a_volume("v"), a_claim(), True),
        (a_volume("v", "4Gi"), a_claim(), False),
        (a_volume("v", storageClassName="other"), a_claim(), False),
        (a_volume("v"), a_claim(accessModes=["ReadWriteMany"]), False),
        (a_volume("v"), a_claim(volumeMode="Block"), False),
        (a_volume("v", labels={"disk": "ssd"}), a_claim(selector={"matchLabels": {"disk": "ssd"}}), True),
        (a_volume("v"), a_claim(selector={"matchLabels": {"disk": "ssd"}}), False),
    ],
)
def test_a_volume_has_to_be_what_the_claim_asks_for(volume: Object, claim: Object, suits: bool) -> None:
    assert rules.suits(volume, claim) is suits


def test_the_smallest_that_is_large_enough_is_taken_unless_one_is_kept() -> None:
    kept = a_volume("kept", "50Gi", claimRef={"namespace": SPACE, "name": "c"})
    volumes = [a_volume("large", "20Gi"), a_volume("small", "5Gi"), a_volume("tiny", "1Gi"), a_volume("taken", claimRef={"name": "x"})]

    found, better = rules.find(a_claim(), volumes), rules.find(a_claim(), [*volumes, kept])

    assert (found, better) == (volumes[1], kept)


async def _seed(world: World, *volumes: Object) -> None:
    for volume in volumes:
        await world.api.create(PERSISTENTVOLUMES, volume)


def _phases(world: World) -> dict[str, str]:
    every = [*world.api.all(PERSISTENTVOLUMES), *world.api.all(PERSISTENTVOLUMECLAIMS)]
    return {o["metadata"]["name"]: dig(o, "status", "phase") for o in every}


@virtually
async def test_a_claim_is_bound_at_once_and_its_volume_is_kept_when_it_goes(world: World) -> None:
    binder = VolumeBinder(world.api, world.informers, world.now)
    world.api.seed(STORAGECLASSES, a_class("Immediate"))
    seen = []
    async with world.running(binder.controller.run):
        await _seed(world, a_volume("v", "20Gi"), a_volume("w", "6Gi"))
        await world.api.create(PERSISTENTVOLUMECLAIMS, a_claim())
        await asyncio.sleep(5)
        seen.append(_phases(world))
        bound = world.api.peek(PERSISTENTVOLUMECLAIMS, SPACE, "c") or {}
        await world.api.delete(PERSISTENTVOLUMECLAIMS, SPACE, "c")
        await asyncio.sleep(5)
        seen.append(_phases(world))
        await world.api.create(PERSISTENTVOLUMECLAIMS, {**a_claim(), "metadata": {"namespace": SPACE, "name": "c"}})
        await asyncio.sleep(5)
        seen.append(_phases(world))

    assert (bound["spec"]["volumeName"], bound["status"]["capacity"]) == ("w", {"storage": "6Gi"})
    assert annotations_of(bound) == {rules.BIND_COMPLETED: "yes", rules.BOUND_BY_US: "yes"}
    assert seen == [
        {"v": "Available", "w": "Bound", "c": "Bound"},
        {"v": "Available", "w": "Released"},
        {"v": "Bound", "w": "Released", "c": "Bound"},
    ]


@virtually
async def test_what_nobody_here_can_clean_fails_and_says_so(world: World) -> None:
    binder = VolumeBinder(world.api, world.informers, world.now)
    async with world.running(binder.controller.run):
        await _seed(world, a_volume("v", persistentVolumeReclaimPolicy="Delete"))
        await world.api.create(PERSISTENTVOLUMECLAIMS, a_claim())
        await asyncio.sleep(5)
        await world.api.delete(PERSISTENTVOLUMECLAIMS, SPACE, "c")
        await asyncio.sleep(5)

    volume = world.api.peek(PERSISTENTVOLUMES, "", "v") or {}
    assert (volume["status"]["phase"], "by hand" in volume["status"]["message"]) == ("Failed", True)


@virtually
async def test_a_claim_that_waits_for_its_first_pod_takes_the_pod_where_a_volume_is(world: World) -> None:
    binder, placer = VolumeBinder(world.api, world.informers, world.now), VolumePlacer(world.api, world.informers)
    scheduler = Scheduler(world.api, world.informers, world.now, placer)
    world.api.seed(STORAGECLASSES, a_class("WaitForFirstConsumer"))
    world.api.seed(NODES, *[a_node(n) for n in "abc"])
    pod = a_pod("p", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}])
    async with world.running(binder.controller.run, scheduler.controller.run):
        await world.api.create(PERSISTENTVOLUMECLAIMS, a_claim())
        await world.api.create(PODS, pod)
        await asyncio.sleep(5)
        waiting = get_condition(dig(world.api.peek(PODS, SPACE, "p"), "status", "conditions"), "PodScheduled") or {}
        await _seed(world, a_volume("v", node="b"))
        await asyncio.sleep(5)

    found = world.api.peek(PODS, SPACE, "p") or {}
    assert waiting["message"] == "0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind."
    assert (_phases(world), found["spec"]["nodeName"]) == ({"v": "Bound", "c": "Bound"}, "b")
    assert msgspec.json.decode(annotations_of(found)[LOCAL_PATHS]) == {"c": "/data/v"}


@virtually
async def test_a_bound_claim_says_where_its_pod_goes(world: World) -> None:
    placer = VolumePlacer(world.api, world.informers)
    scheduler = Scheduler(world.api, world.informers, world.now, placer)
    claim = a_claim(volumeName="v")
    claim["status"]["phase"] = "Bound"
    world.api.seed(NODES, a_node("a"), a_node("b", cpu="0"))
    world.api.seed(PERSISTENTVOLUMES, a_volume("v", node="b"))
    world.api.seed(PERSISTENTVOLUMECLAIMS, claim)
    pod = a_pod("p", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}])
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    async with world.running(scheduler.controller.run):
        await world.api.create(PODS, pod)
        await world.api.create(PODS, a_pod("q", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "none"}}]))
        await asyncio.sleep(5)

    said = [get_condition(dig(world.api.peek(PODS, SPACE, n), "status", "conditions"), "PodScheduled") or {} for n in "pq"]
    assert said[0]["message"] == "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had volume node affinity conflict."
    assert said[1]["message"] == '0/2 nodes are available: persistentvolumeclaim "none" not found.'


@virtually
async def test_a_claim_stays_while_a_pod_uses_it(world: World) -> None:
    binder = VolumeBinder(world.api, world.informers, world.now)
    claim = a_claim()
    claim["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
    async with world.running(binder.controller.run):
        await world.api.create(PERSISTENTVOLUMECLAIMS, claim)
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]
        await world.api.create(PODS, a_pod("waits", volumes=volumes))  # without a node it holds nothing
        await world.api.create(PODS, a_pod("p", node="a", volumes=volumes))
        await world.api.delete(PERSISTENTVOLUMECLAIMS, SPACE, "c")
        await asyncio.sleep(5)
        held = world.names(PERSISTENTVOLUMECLAIMS)
        await world.api.delete(PODS, SPACE, "p", grace_s=0)
        await asyncio.sleep(5)

    assert (held, world.names(PERSISTENTVOLUMECLAIMS)) == (["c"], [])


@virtually
async def test_a_pod_that_comes_with_its_node_is_told_its_volumes_once_they_are_bound(world: World) -> None:
    placer, binder = VolumePlacer(world.api, world.informers), VolumeBinder(world.api, world.informers, world.now)
    placed = PlacedPods(world.api, world.informers, placer)
    world.api.seed(NODES, a_node("a"), a_node("b"))
    pods = [a_pod(n, node=n, volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]) for n in "ab"]
    async with world.running(placed.controller.run, binder.controller.run):
        for pod in pods:
            await world.api.create(PODS, pod)
        await world.api.create(PERSISTENTVOLUMECLAIMS, a_claim())
        await asyncio.sleep(5)
        before = [annotations_of(p) for p in world.api.all(PODS)]
        await world.api.create(PERSISTENTVOLUMES, a_volume("v", node="a", local={"path": "/data"}))
        await asyncio.sleep(5)

    assert before == [{}, {}]
    assert [annotations_of(p) for p in world.api.all(PODS)] == [{LOCAL_PATHS: '{"c":"/data"}'}, {}]
