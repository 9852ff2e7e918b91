"""Owners and dependents: in the background, in the foreground, orphaned, and across namespaces."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.controllers.workloads.garbage import GarbageCollector
from skerry.controllers.workloads.garbage_elsewhere import FEW
from skerry.controllers.workloads.garbage_plan import Collect, DropReferences, Keep, Owner, decide
from skerry.kube import Propagation
from skerry.model.objects import Object, metadata
from skerry.model.resources import CONFIGMAPS, DEPLOYMENTS, EVENTS, NODES, PODS, REPLICASETS, SECRETS, Resource
from tests.unit.controllers.world import SPACE, World, virtually


def thing(resource: Resource, name: str, *owners: Object, namespace: str = SPACE, blocks: bool = True, **meta: Any) -> Object:
    references = [
        {
            "apiVersion": o["apiVersion"],
            "kind": o["kind"],
            "name": metadata(o)["name"],
            "uid": metadata(o)["uid"],
            "blockOwnerDeletion": blocks,
        }
        for o in owners
    ]
    found = {"namespace": namespace, "name": name, "uid": f"uid-{namespace}-{name}", **meta}
    if references:
        found["ownerReferences"] = references
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": found}


DEPLOYMENT = thing(DEPLOYMENTS, "d")
REPLICASET = thing(REPLICASETS, "rs", DEPLOYMENT)
POD = thing(PODS, "p", REPLICASET)


def seeded(world: World, *objects: Object) -> None:
    resources = {r.kind: r for r in (DEPLOYMENTS, REPLICASETS, PODS, CONFIGMAPS, SECRETS)}
    for obj in objects:
        world.api.seed(resources[obj["kind"]], obj)


def left(world: World) -> list[str]:
    return [n for r in (DEPLOYMENTS, REPLICASETS, PODS, CONFIGMAPS) for n in world.names(r)]


async def settle() -> None:
    await asyncio.sleep(5)


@pytest.mark.parametrize(("propagation", "expected"), [("Background", []), ("Foreground", []), ("Orphan", ["rs", "p"])])
def test_deleting_a_deployment_takes_what_it_should(propagation: Propagation, expected: list[str]) -> None:
    @virtually
    async def run(world: World) -> None:
        seeded(world, DEPLOYMENT, REPLICASET, POD)
        async with world.running(GarbageCollector(world.api, world.now).run):
            await settle()
            await world.api.delete(DEPLOYMENTS, SPACE, "d", propagation=propagation)
            await settle()
        assert left(world) == expected
        for name in expected[:1]:
            found = world.api.peek(REPLICASETS, SPACE, name)
            assert found is not None
            assert not metadata(found).get("ownerReferences")

    run()


@virtually
async def test_in_the_foreground_the_owner_goes_last(world: World) -> None:
    pod = thing(PODS, "p", REPLICASET, finalizers=["example.com/hold"])
    seeded(world, DEPLOYMENT, REPLICASET, pod)

    async with world.running(GarbageCollector(world.api, world.now).run):
        await settle()
        await world.api.delete(DEPLOYMENTS, SPACE, "d", propagation="Foreground")
        await settle()
        held = left(world)
        await world.api.patch(PODS, SPACE, "p", {"metadata": {"finalizers": None}})
        await settle()

    assert held == ["d", "rs", "p"]
    assert left(world) == []


@virtually
async def test_a_dependent_that_does_not_block_lets_the_owner_go_first(world: World) -> None:
    dependent = thing(CONFIGMAPS, "c", DEPLOYMENT, blocks=False, finalizers=["example.com/hold"])
    seeded(world, DEPLOYMENT, dependent)

    async with world.running(GarbageCollector(world.api, world.now).run):
        await settle()
        await world.api.delete(DEPLOYMENTS, SPACE, "d", propagation="Foreground")
        await settle()

    assert left(world) == ["c"]


@virtually
async def test_a_child_of_a_missing_owner_is_collected_and_one_with_another_owner_lives(world: World) -> None:
    gone = thing(CONFIGMAPS, "gone")
    there = thing(CONFIGMAPS, "there")
    seeded(world, there, thing(PODS, "a", gone), thing(PODS, "b", gone, there))

    async with world.running(GarbageCollector(world.api, world.now).run):
        await settle()

    assert left(world) == ["b", "there"]
    found = world.api.peek(PODS, SPACE, "b")
    assert found is not None
    assert [r["name"] for r in metadata(found)["ownerReferences"]] == ["there"]


@virtually
async def test_an_owner_in_another_namespace_or_under_another_uid_counts_as_missing(world: World) -> None:
    elsewhere = thing(CONFIGMAPS, "owner", namespace="elsewhere")
    renewed = thing(CONFIGMAPS, "again")
    seeded(
        world, elsewhere, renewed, thing(PODS, "a", elsewhere), thing(PODS, "b", {**renewed, "metadata": {"name": "again", "uid": "older"}})
    )

    async with world.running(GarbageCollector(world.api, world.now).run):
        await settle()

    assert world.names(PODS) == []
    assert world.names(CONFIGMAPS) == ["owner", "again"]
    said = [(e["involvedObject"]["name"], e["reason"], e["message"]) for e in world.api.all(EVENTS)]
    owner = "[v1/ConfigMap, namespace: team, name: owner, uid: uid-elsewhere-owner]"
    assert said == [("a", "OwnerRefInvalidNamespace", f'ownerRef {owner} does not exist in namespace "team"')]


@virtually
async def test_after_a_restart_many_orphans_cost_few_lists(world: World) -> None:
    orphans = 200
    for i in range(orphans):
        seeded(world, thing(PODS, f"p{i}", thing(CONFIGMAPS, f"gone-{i}")), thing(CONFIGMAPS, f"other-{i}"))
    seeded(world, thing(PODS, "a", thing(CONFIGMAPS, "owner", namespace="elsewhere")), thing(CONFIGMAPS, "owner", namespace="elsewhere"))

    async with world.running(GarbageCollector(world.api, world.now).run):
        await settle()

    assert world.names(PODS) == []
    assert len(world.names(CONFIGMAPS)) == orphans + 1
    assert [e["involvedObject"]["name"] for e in world.api.all(EVENTS)] == ["a"]
    lists = [c for c in world.api.actions if c.verb == "list" and c.resource.key == CONFIGMAPS.key]
    assert len(lists) <= 2 * FEW


@virtually
async def test_a_cluster_wide_dependent_of_what_is_in_a_namespace_stays_and_is_told(world: World) -> None:
    owner = thing(CONFIGMAPS, "owner")
    node = thing(NODES, "n", owner, namespace="")
    del node["metadata"]["namespace"]
    seeded(world, owner)
    world.api.seed(NODES, node)

    async with world.running(GarbageCollector(world.api, world.now).run):
        await settle()
        await world.api.delete(CONFIGMAPS, SPACE, "owner")
        await settle()

    assert world.names(NODES) == ["n"]
    assert {e["reason"] for e in world.api.all(EVENTS)} == {"OwnerRefInvalidNamespace"}


@virtually
async def test_an_owner_of_a_kind_that_is_not_served_keeps_its_dependents(world: World) -> None:
    seeded(world, thing(PODS, "a", {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "uid": "w"}}))

    async with world.running(GarbageCollector(world.api, world.now).run):
        await settle()

    assert left(world) == ["a"]


@virtually
async def test_deletions_that_were_missed_while_the_api_was_away_are_made_up_for(world: World) -> None:
    seeded(world, DEPLOYMENT, REPLICASET, POD)

    async with world.running(GarbageCollector(world.api, world.now).run):
        await settle()
        world.api.disconnect()
        world.api.erase(DEPLOYMENTS, SPACE, "d")
        world.api.compact()
        await asyncio.sleep(60)

    assert left(world) == []


@given(st.dictionaries(st.sampled_from("abcd"), st.sampled_from(Owner), max_size=4), st.booleans())
def test_nothing_with_a_living_or_unknown_owner_is_ever_deleted(owners: dict[str, Owner], has_dependents: bool) -> None:
    found = decide(POD, owners, has_dependents=has_dependents)

    states = set(owners.values())
    if not owners or Owner.UNKNOWN in states or states == {Owner.SOLID}:
        assert found == Keep()
    elif Owner.SOLID in states:
        assert found == DropReferences(frozenset(u for u, s in owners.items() if s is not Owner.SOLID))
    else:
        assert isinstance(found, Collect)
