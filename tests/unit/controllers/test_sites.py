"""What a Site's status costs: little for each thing that its nodes write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from skerry.controllers.fleet.site_plan import status
from skerry.controllers.fleet.sites import Sites
from skerry.model.objects import Object
from skerry.model.resources import NODES, SITE_LABEL
from tests.unit.controllers.world import World, a_node, virtually


class _Incomparable(dict[str, Any]):
    """A node that is told from others by its name: to compare thousands with each other takes seconds."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("nodes were compared")

    __hash__ = None


def a_member(revision: int, *, ready: str = "True", image: str = "") -> Object:
    node = a_node("a", labels={SITE_LABEL: "dock"})
    node["metadata"]["resourceVersion"] = str(revision)
    node["status"] |= {"images": [image], "conditions": [{"type": "Ready", "status": ready}]}
    return node


def test_nodes_are_counted_without_comparing_them() -> None:
    nodes: list[Object] = [_Incomparable(a_node(f"n{i}")) for i in range(3)]
    nodes[1]["status"]["conditions"][0]["status"] = "Unknown"

    found = status({"metadata": {"name": "dock"}}, nodes, datetime(2026, 1, 1, tzinfo=UTC))

    assert (found["nodes"], found["readyNodes"]) == (3, 2)
    assert found["conditions"][0]["message"] == "1 of 3 nodes are not ready: n1"


@virtually
async def test_a_site_is_looked_at_only_when_a_node_of_it_comes_goes_or_falls_silent(world: World) -> None:
    nodes = world.informers.of(NODES)
    queue = Sites(world.api, world.informers, world.now).controller.queue

    async def looks() -> int:
        count = len(queue)
        while len(queue):
            queue.done(await queue.get())
        return count

    seen = []
    for node in (a_member(1), a_member(2, image="a"), a_member(3, ready="Unknown"), a_member(4, ready="Unknown", image="b"), a_member(5)):
        nodes.learn(node)
        seen.append(await looks())

    assert seen == [1, 0, 1, 0, 1]
