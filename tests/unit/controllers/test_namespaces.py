"""Namespaces begin with an account and the CA, and end empty; Events end after an hour."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from skerry.controllers.workloads.expiry import EventExpiry
from skerry.controllers.workloads.namespaces import NamespaceDefaults, NamespacePurge
from skerry.model.conditions import get_condition
from skerry.model.errors import internal
from skerry.model.objects import Object, dig
from skerry.model.resources import CONFIGMAPS, DEVICES, EVENTS, NAMESPACES, PODS, SECRETS, SERVICEACCOUNTS, Resource
from skerry.model.times import rfc3339
from tests.unit.controllers.world import SPACE, World, a_pod, virtually

WIDGETS = Resource("example.com", "v1", "widgets", "Widget")


def named(name: str, **meta: object) -> Object:
    return {"metadata": {"namespace": SPACE, "name": name, **meta}}


@virtually
async def test_a_deleted_namespace_is_emptied_of_everything_and_then_goes(world: World) -> None:
    purge = NamespacePurge(world.api, world.informers, world.now)
    await world.api.create(NAMESPACES, {"metadata": {"name": SPACE}})
    for resource in (CONFIGMAPS, SECRETS, DEVICES, WIDGETS):
        await world.api.create(resource, named("one"))
    await world.api.create(PODS, a_pod("p", node="a"))
    await world.api.create(CONFIGMAPS, {"metadata": {"namespace": "other", "name": "kept"}})

    async with world.running(purge.controller.run, world.kubelet):
        await world.api.delete(NAMESPACES, "", SPACE)
        await asyncio.sleep(20)

    assert world.names(NAMESPACES) == []
    assert [n for r in (CONFIGMAPS, SECRETS, DEVICES, WIDGETS, PODS) for n in world.names(r)] == ["kept"]


@virtually
async def test_what_holds_a_namespace_is_named_until_it_lets_go(world: World) -> None:
    purge = NamespacePurge(world.api, world.informers, world.now)
    await world.api.create(NAMESPACES, {"metadata": {"name": SPACE}})
    await world.api.create(CONFIGMAPS, named("one", finalizers=["example.com/hold"]))

    async with world.running(purge.controller.run):
        await world.api.delete(NAMESPACES, "", SPACE)
        await asyncio.sleep(20)
        held = world.api.peek(NAMESPACES, "", SPACE)
        await world.api.patch(CONFIGMAPS, SPACE, "one", {"metadata": {"finalizers": None}})
        await asyncio.sleep(20)

    condition = get_condition(dig(held, "status", "conditions"), "NamespaceFinalizersRemaining") or {}
    contents = get_condition(dig(held, "status", "conditions"), "NamespaceContentRemaining") or {}
    assert contents["message"] == "Some resources are remaining: configmaps. has 1 resource instances"
    assert condition["message"] == "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    assert world.names(NAMESPACES) == []


@virtually
async def test_a_resource_that_cannot_be_listed_keeps_the_namespace(world: World) -> None:
    purge = NamespacePurge(world.api, world.informers, world.now)
    await world.api.create(NAMESPACES, {"metadata": {"name": SPACE}})

    async with world.running(purge.controller.run):
        await asyncio.sleep(1)
        world.api.fail_next(internal("no"), "list")
        await world.api.delete(NAMESPACES, "", SPACE)
        await asyncio.sleep(20)

    ends = [w.split()[1] for w in world.api.writes() if "namespaces/" in w]
    assert ends == ["namespaces/status", "namespaces/finalize"]
    assert world.names(NAMESPACES) == []


@virtually
async def test_a_new_namespace_gets_its_account_and_ca_and_gets_them_back(world: World) -> None:
    defaults = NamespaceDefaults(world.api, world.informers, ca_pem="PEM")
    await world.api.create(NAMESPACES, {"metadata": {"name": SPACE}})

    async with world.running(defaults.run):
        await asyncio.sleep(1)
        await world.api.delete(SERVICEACCOUNTS, SPACE, "default")
        await world.api.patch(CONFIGMAPS, SPACE, "kube-root-ca.crt", {"data": {"ca.crt": "other", "x": "y"}})
        await asyncio.sleep(1)

    assert world.names(SERVICEACCOUNTS) == ["default"]
    assert dig(world.api.peek(CONFIGMAPS, SPACE, "kube-root-ca.crt"), "data") == {"ca.crt": "PEM"}


@virtually
async def test_events_live_for_an_hour_after_they_last_happened(world: World) -> None:
    expiry = EventExpiry(world.api, world.now)

    def event(name: str, age: timedelta) -> Object:
        at = rfc3339(world.now() - age)
        return {**named(name), "metadata": {**named(name)["metadata"], "creationTimestamp": at}, "lastTimestamp": at}

    world.api.seed(EVENTS, event("old", timedelta(minutes=50)), event("ancient", timedelta(days=3)), event("future", -timedelta(days=3)))
    world.api.seed(EVENTS, {**event("late", timedelta(days=3)), **named("late", creationTimestamp=rfc3339(world.now()))})

    async with world.running(expiry.run):
        await asyncio.sleep(60)
        first = world.names(EVENTS)
        await world.api.create(EVENTS, event("new", timedelta(0)))
        await asyncio.sleep(660)
        second = world.names(EVENTS)
        await world.api.patch(EVENTS, SPACE, "new", {"count": 2})
        await asyncio.sleep(3400)
        third = world.names(EVENTS)
        await asyncio.sleep(3600)

    assert (first, second, third, world.names(EVENTS)) == (["future", "late", "old"], ["future", "late", "new"], ["new"], [])
