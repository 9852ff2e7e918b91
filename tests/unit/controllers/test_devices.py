"""Which node drives a Device, and what the hub says when none does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from skerry.controllers.fleet.device_plan import Placement, place, status_patch
from skerry.controllers.fleet.devices import FEW, UNPLACED, Devices
from skerry.model.conditions import get_condition
from skerry.model.objects import Name, Object, name_of
from skerry.model.resources import DEVICES, NODES
from tests.unit.controllers.world import World, virtually

NOW = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)


def a_node(name: str, *, ready: str = "True", **labels: str) -> Object:
    conditions = [{"type": "Ready", "status": ready}]
    return {"metadata": {"name": name, "labels": {k.replace("_", "."): v for k, v in labels.items()}}, "status": {"conditions": conditions}}


def a_device(placement: dict[str, Any] | None = None, **status: Any) -> Object:
    spec = {"profile": "p", **({"placement": placement} if placement else {})}
    return {"metadata": {"name": "d", "namespace": "default", "generation": 3}, "spec": spec, "status": status}


def placed(device: Object, nodes: list[Object], load: dict[str, int] | None = None) -> Placement:
    return place(device, {name_of(n): n for n in nodes}, lambda node: (load or {}).get(node, 0))


def test_a_device_goes_to_a_ready_node_with_its_labels_and_the_fewest_devices() -> None:
    nodes = [a_node("a", site="x"), a_node("b", site="x"), a_node("c", site="y"), a_node("d", ready="Unknown", site="x")]

    assert placed(a_device({"nodeSelector": {"site": "x"}}), nodes, {"a": 2, "b": 1}) == Placement("b")


def test_a_device_stays_with_its_node_also_when_that_is_not_heard() -> None:
    nodes = [a_node("a", ready="Unknown"), a_node("b")]

    assert placed(a_device(nodeName="a"), nodes) == Placement("a")


def test_a_device_moves_when_its_placement_no_longer_allows_the_node() -> None:
    nodes = [a_node("a"), a_node("b")]

    assert placed(a_device({"nodeName": "b"}, nodeName="a"), nodes) == Placement("b")
    assert placed(a_device(nodeName="gone"), nodes, {"a": 1}) == Placement("b")


def test_a_device_without_a_node_says_why() -> None:
    placement = placed(a_device({"nodeSelector": {"site": "z"}}), [a_node("a")])

    assert placement == Placement("", "NoNode", "no node has label site=z")
    patch = status_patch(a_device(), placement, None, now=NOW) or {}
    connected = get_condition(patch["conditions"], "Connected") or {}
    assert (connected["status"], connected["reason"], connected["observedGeneration"]) == ("False", "NoNode", 3)
    assert status_patch(a_device(**{**patch, "nodeName": ""}), placement, None, now=NOW) is None, "it is said once"


def test_a_device_whose_named_node_is_not_there_says_so() -> None:
    assert placed(a_device({"nodeName": "b"}), [a_node("a")]) == Placement("", "NoNode", "no node has name b")
    silent = Placement("", "NodeNotReady", "no node with name b is ready: b")
    assert placed(a_device({"nodeName": "b"}), [a_node("a"), a_node("b", ready="Unknown")]) == silent


class _Searched(dict[Name, Object]):
    """Nodes that are found by name: to walk over thousands for each of thousands of Devices takes minutes."""

    def values(self) -> Any:
        raise AssertionError("nodes were walked over")

    __iter__ = items = values


def test_where_a_device_stays_or_names_its_node_no_others_are_looked_at() -> None:
    nodes = _Searched({name_of(n): n for n in (a_node("a"), a_node("b"))})

    assert place(a_device(nodeName="b"), nodes, lambda _: 0) == Placement("b")
    assert place(a_device({"nodeName": "a"}), nodes, lambda _: 0) == Placement("a")


@virtually
async def test_of_the_devices_without_a_node_those_are_looked_at_that_it_concerns(world: World) -> None:
    devices = Devices(world.api, world.informers, world.now)
    queue = devices.controller.queue
    for i, site in enumerate("xyz"):
        device = a_device({"nodeSelector": {"site": site}})
        device["metadata"] |= {"name": site, "resourceVersion": str(i + 1)}
        world.informers.of(DEVICES).learn(device)

    async def looked_at() -> list[str]:
        found = []
        while len(queue):
            name = await queue.get()
            queue.done(name)
            if name == UNPLACED:
                await devices.reconcile(name)
            else:
                found.append(name.name)
        return found

    async def told(revision: int, **node: str) -> list[str]:
        changed = a_node("a", **node)
        changed["metadata"]["resourceVersion"] = str(revision)
        world.informers.of(NODES).learn(changed)
        return await looked_at()

    assert await looked_at() == ["x", "y", "z"]
    assert await told(4, site="x", ready="Unknown") == ["x"]
    assert await told(5, site="x") == ["x"]
    assert await told(6, site="y") == ["x", "y"], "of where it was they say that it is not there"
    assert await told(7, site="y") == []
    for revision in range(8, 8 + FEW):
        world.informers.of(NODES).learn(dict(a_node("a", ready=str(revision)), metadata={"name": "a", "resourceVersion": str(revision)}))
    assert await looked_at() == ["x", "y", "z"], "of many changes it is not asked whom they concern"


def test_a_device_that_is_placed_is_its_nodes_to_speak_of() -> None:
    said = [{"type": "Connected", "status": "True", "observedGeneration": 3}, {"type": "InSync", "status": "True", "observedGeneration": 3}]
    device = a_device(nodeName="a", conditions=said)

    assert status_patch(device, Placement("a"), a_node("a"), now=NOW) is None
    patch = status_patch(device, Placement("a"), a_node("a", ready="Unknown"), now=NOW) or {}
    assert [c["status"] for c in patch["conditions"]] == ["Unknown", "Unknown"]
    assert status_patch(a_device(nodeName="a", **patch), Placement("a"), a_node("a", ready="Unknown"), now=NOW) is None


def test_a_device_of_another_node_waits_for_the_new_one() -> None:
    patch = status_patch(a_device(nodeName="a"), Placement("b"), a_node("b"), now=NOW) or {}

    assert patch["nodeName"] == "b"
    assert {(c["status"], c["reason"]) for c in patch["conditions"]} == {("Unknown", "Placed")}
