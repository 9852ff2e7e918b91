"""All controllers together: from an empty cluster to running Pods, and from a deleted Deployment to none."""

from __future__ import annotations

import asyncio
from typing import Any

from skerry.controllers import Settings, start_all
from skerry.controllers.assembly import Controllers
from skerry.model.conditions import get_condition
from skerry.model.objects import Object, dig
from skerry.model.resources import CONFIGMAPS, DEPLOYMENTS, LEASES, NAMESPACES, NODES, PODS, REPLICASETS, SITES
from tests.unit.controllers.world import SPACE, World, a_deployment, a_node, virtually


def everything(world: World, **settings: Any) -> Controllers:
    return start_all(world.api, Settings(ca_pem="PEM", **settings), world.now)


@virtually
async def test_a_deployment_runs_on_both_nodes_and_goes_without_leaving_anything(world: World) -> None:
    controllers = everything(world)
    world.api.seed(NODES, a_node("a"), a_node("b"))
    await world.api.create(NAMESPACES, {"metadata": {"name": SPACE}})
    await world.api.create(DEPLOYMENTS, a_deployment(replicas=2))

    async with world.running(controllers.run, world.kubelet, lambda: _leases(world)):
        await asyncio.sleep(20)
        nodes = sorted(p["spec"]["nodeName"] for p in world.api.all(PODS))
        available = get_condition(dig(world.deployment(), "status", "conditions"), "Available") or {}
        await world.api.delete(DEPLOYMENTS, SPACE, "web", propagation="Background")
        await asyncio.sleep(20)

    assert (nodes, available["status"]) == (["a", "b"], "True")
    assert [n for r in (DEPLOYMENTS, REPLICASETS, PODS) for n in world.names(r)] == []
    assert world.names(CONFIGMAPS) == ["kube-root-ca.crt"]


@virtually
async def test_a_cluster_at_rest_is_written_to_by_nobody(world: World) -> None:
    controllers = everything(world, events_ttl_s=10.0**9)
    world.api.seed(NODES, a_node("a"))
    await world.api.create(DEPLOYMENTS, a_deployment(replicas=2))

    async with world.running(controllers.run, world.kubelet):
        await asyncio.sleep(20)
        world.silent_nodes.add("a")
        await asyncio.sleep(200)  # the node has no Lease: it turns NotReady, once
        before = len(world.api.writes())
        await asyncio.sleep(3600)

    assert world.api.writes()[before:] == []


@virtually
async def test_beside_a_real_cluster_only_our_own_controllers_run(world: World) -> None:
    controllers = everything(world, workloads=False)

    assert "deployments" not in controllers.runs
    assert "sites" in controllers.runs


@virtually
async def test_a_controller_that_breaks_starts_again_and_the_others_go_on(world: World) -> None:
    times: list[float] = []

    async def broken() -> None:
        times.append(asyncio.get_running_loop().time())
        raise RuntimeError("broken")

    whole = everything(world)
    controllers = Controllers(whole.informers, {**whole.runs, "broken": broken})
    world.api.seed(SITES, {"metadata": {"name": "dock"}})

    async with world.running(controllers.run):
        await asyncio.sleep(30)

    assert len(times) > 3
    assert dig(world.api.peek(SITES, "", "dock"), "status", "nodes") == 0


@virtually
async def test_a_site_counts_its_nodes_and_says_when_nobody_is_heard(world: World) -> None:
    controllers = everything(world, workloads=False)
    world.api.seed(SITES, {"metadata": {"name": "dock", "generation": 2}, "spec": {}})
    world.api.seed(NODES, a_node("a", labels={"skerry.dev/site": "dock"}), a_node("b", labels={"skerry.dev/site": "quay"}))

    async with world.running(controllers.run):
        await asyncio.sleep(1)
        full = world.api.peek(SITES, "", "dock")
        lost = {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
        await world.api.patch(NODES, "", "a", lost, subresource="status")
        await asyncio.sleep(1)

    assert [dig(full, "status", f) for f in ("nodes", "readyNodes", "observedGeneration")] == [1, 1, 2]
    condition: Object = dig(world.api.peek(SITES, "", "dock"), "status", "conditions", 0)
    assert (condition["status"], condition["reason"], condition["message"]) == ("False", "AllNodesSilent", "no node is ready: a")


async def _leases(world: World) -> None:
    while True:
        for node in ("a", "b"):
            world.api.seed(LEASES, {"metadata": {"namespace": "kube-node-lease", "name": node}})
        await asyncio.sleep(10)
