"""Who has to leave a node, and who stays however long a Site is cut off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry.controllers.evictions import plan as rules
from skerry.controllers.evictions.evictions import Evictions
from skerry.model.objects import Object, annotations_of, dig
from skerry.model.resources import NODES, PODS, SITES
from tests.unit.controllers.world import World, a_node, a_pod, virtually

TAINT = {"key": "k", "value": "v", "effect": "NoExecute", "timeAdded": "2026-01-05T09:59:50Z"}
OPTED_IN = {rules.WHEN_CUT_OFF: rules.REPLACE}


@pytest.mark.parametrize(
    ("tolerations", "left_s"),
    [
        ([], 0.0),
        ([{"key": "k", "operator": "Exists"}], None),
        ([{"key": "k", "operator": "Exists", "tolerationSeconds": 30}], 20.0),
        ([{"key": "k", "operator": "Exists", "tolerationSeconds": 5}], 0.0),
        ([{"operator": "Exists"}, {"key": "k", "operator": "Exists", "tolerationSeconds": 5}], None),
        ([{"key": "other", "operator": "Exists"}], 0.0),
        ([{"key": "k", "operator": "Exists", "effect": "NoSchedule"}], 0.0),
    ],
)
def test_tolerations_say_how_long(tolerations: list[dict[str, Any]], left_s: float | None) -> None:
    assert rules.leaves_in_s(a_pod("p", tolerations=tolerations), [(TAINT, 10.0)]) == left_s


def opted_in(name: str = "p", **spec: Any) -> Object:
    pod = a_pod(name, **spec)
    pod["metadata"]["annotations"] = OPTED_IN
    return pod


def _volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "data", **source}]}


def _container(**asked: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "x", "resources": {"requests": asked}}]}


@pytest.mark.parametrize(
    ("pod", "silent_s", "replaced"),
    [
        (opted_in(), 101, True),
        (opted_in(), 100, False),
        (a_pod("p"), 10**9, False),
        (opted_in(**_volume(hostPath={"path": "/data"})), 10**9, False),
        (opted_in(**_volume(persistentVolumeClaim={"claimName": "local"})), 10**9, False),
        (opted_in(**_volume(persistentVolumeClaim={"claimName": "far"})), 10**9, True),
        (opted_in(**_volume(emptyDir={})), 10**9, True),
        (opted_in(**_container(**{"akri.sh/camera": "1"})), 10**9, False),
        (opted_in(**_container(cpu="1")), 10**9, True),
    ],
)
def test_only_what_opted_in_and_needs_nothing_of_its_node_is_replaced(pod: Object, silent_s: float, replaced: bool) -> None:
    assert rules.is_replaced(pod, silent_s, 100, lambda namespace, claim: claim == "local") is replaced


@virtually
async def test_a_taint_drives_away_who_does_not_tolerate_it(world: World) -> None:
    evictions = Evictions(world.api, world.informers, world.now)
    stays = {"key": "k", "operator": "Exists", "tolerationSeconds": 100}
    world.api.seed(NODES, a_node("a"))
    world.api.seed(PODS, a_pod("goes", node="a"), a_pod("later", node="a", tolerations=[stays]))
    seen, told = [], list[Object]()
    world.informers.of(PODS).subscribe(lambda c: told.extend(dig(c.new, "status", "conditions", default=[])) if c.new else None)
    async with world.running(evictions.run, world.kubelet):
        await asyncio.sleep(5)
        seen.append(world.names(PODS))
        taint = {"key": "k", "effect": "NoExecute"}
        await world.api.patch(NODES, "", "a", {"spec": {"taints": [taint]}})
        for _ in range(2):
            await asyncio.sleep(90)
            seen.append(world.names(PODS))

    assert seen == [["goes", "later"], ["later"], []]
    assert {(c["reason"], c["message"]) for c in told if c["type"] == "DisruptionTarget"} == {
        ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
    }


SILENT = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}


@virtually
async def test_a_site_that_is_cut_off_keeps_what_it_has_for_as_long_as_it_is_built_for(world: World) -> None:
    evictions = Evictions(world.api, world.informers, world.now)
    node = a_node("a", labels={"skerry.dev/site": "shop"}, taints=[TAINT])
    node["status"]["conditions"] = [SILENT]
    world.api.seed(SITES, {"metadata": {"name": "shop"}, "spec": {"longestOutage": "7h"}})
    world.api.seed(NODES, node)
    for pod in (opted_in("may-go"), a_pod("stays")):
        pod["spec"]["nodeName"] = "a"
        world.api.seed(PODS, pod)

    async with world.running(evictions.run):
        await asyncio.sleep(25000)
        before = [p["metadata"]["name"] for p in world.api.all(PODS) if "deletionTimestamp" not in p["metadata"]]
        hours = annotations_of(world.node("a")).get(rules.SILENT_FOR)
        await asyncio.sleep(600)
        after = [p["metadata"]["name"] for p in world.api.all(PODS) if "deletionTimestamp" not in p["metadata"]]

    assert (before, hours, after) == (["may-go", "stays"], "6", ["stays"])


@virtually
async def test_a_hub_that_starts_again_counts_on_from_whole_hours_and_forgets_once_the_node_is_heard(world: World) -> None:
    evictions = Evictions(world.api, world.informers, world.now)
    node = a_node("a")
    node["metadata"]["annotations"] = {rules.SILENT_FOR: "719"}
    node["status"]["conditions"] = [SILENT]
    pod = opted_in()
    pod["spec"]["nodeName"] = "a"
    world.api.seed(NODES, node)
    world.api.seed(PODS, pod)

    async with world.running(evictions.run):
        await asyncio.sleep(3000)
        still = "deletionTimestamp" not in world.api.all(PODS)[0]["metadata"]
        await asyncio.sleep(1000)
        gone = "deletionTimestamp" in world.api.all(PODS)[0]["metadata"]
        ready = {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}
        await world.api.patch(NODES, "", "a", {"status": ready}, subresource="status")
        await asyncio.sleep(5)

    assert (still, gone, annotations_of(world.node("a"))) == (True, True, {})
