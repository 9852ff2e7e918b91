"""Where a Pod goes, and what is said when it goes nowhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.controllers.workloads.replicaset import ReplicaSets
from skerry.controllers.workloads.scheduler import Scheduler
from skerry.controllers.workloads.scheduling import Placed, Unschedulable, node_state, requests, schedule, tolerates
from skerry.model.conditions import get_condition
from skerry.model.objects import Object, dig
from skerry.model.resources import EVENTS, NODES, PODS, REPLICASETS, RUNTIMECLASSES
from tests.unit.controllers.world import SPACE, World, a_node, a_pod, a_replicaset, virtually


def asking(**amounts: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "x", "resources": {"requests": amounts}}]}


def affinity(key: str, operator: str, *values: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}]
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}


def process_class(name: str = "process") -> Object:
    selector = {f"runtime.skerry.dev/{name}": "true"}
    return {"metadata": {"name": name}, "handler": name, "scheduling": {"nodeSelector": selector}}


UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("node", "pod", "reason"),
    [
        (a_node("n", unschedulable=True), {}, "node(s) were unschedulable"),
        (a_node("n", taints=[UNREACHABLE]), {}, "node(s) had untolerated taint {node.kubernetes.io/unreachable: }"),
        (a_node("n"), {"nodeSelector": {"disk": "ssd"}}, "node(s) didn't match Pod's node affinity/selector"),
        (a_node("n"), affinity("disk", "In", "ssd"), "node(s) didn't match Pod's node affinity/selector"),
        (a_node("n", labels={"cores": "4"}), affinity("cores", "Gt", "4"), "node(s) didn't match Pod's node affinity/selector"),
        (a_node("n", cpu="500m"), asking(cpu="501m"), "Insufficient cpu"),
        (a_node("n", cpu="1"), asking(cpu="2", memory="3Gi"), "Insufficient cpu, 1 Insufficient memory"),
        (a_node("n"), asking(**{"akri.sh/meter": "1"}), "Insufficient akri.sh/meter"),
        (a_node("n", pods="0"), {}, "Too many pods"),
    ],
)
def test_a_node_that_does_not_fit_says_why(node: Object, pod: dict[str, Any], reason: str) -> None:
    found = schedule(a_pod("p", **pod), [node_state(node, [])])

    assert found == Unschedulable(f"0/1 nodes are available: 1 {reason}.")


def test_reasons_are_counted_over_the_nodes() -> None:
    nodes = [node_state(a_node(n, taints=[UNREACHABLE]), []) for n in ("a", "b")] + [node_state(a_node("c", cpu="1"), [])]

    found = schedule(a_pod("p", **asking(cpu="2")), nodes)

    taint = "2 node(s) had untolerated taint {node.kubernetes.io/unreachable: }"
    assert found == Unschedulable(f"0/3 nodes are available: 1 Insufficient cpu, {taint}.")


def test_no_nodes_and_no_offer_of_a_runtime_class_say_so() -> None:
    pod = a_pod("p", runtimeClassName="wasm")

    assert schedule(pod, []) == Unschedulable("no nodes available to schedule pods")
    found = schedule(pod, [node_state(a_node("a"), [])], process_class("wasm"))
    assert found == Unschedulable("0/1 nodes are available: no node offers runtime class wasm.")


def test_a_runtime_class_chooses_among_the_nodes_that_offer_it() -> None:
    nodes = [node_state(a_node("a"), []), node_state(a_node("b", labels={"runtime.skerry.dev/process": "true"}), [])]

    assert schedule(a_pod("p", runtimeClassName="process"), nodes, process_class()) == Placed("b")


def test_replicas_spread_over_nodes_and_then_over_sites() -> None:
    owned = {"ownerReferences": [{"kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": True}]}
    pod = a_pod("p")
    pod["metadata"] |= owned
    sites = {"a": "x", "b": "x", "c": "y"}
    on_a = a_pod("q")
    on_a["metadata"] |= owned

    nodes = [node_state(a_node(n, labels={"skerry.dev/site": s}), [on_a] if n == "a" else []) for n, s in sites.items()]

    assert schedule(pod, nodes) == Placed("c")


def test_process_pods_with_the_same_declared_port_do_not_share_a_node() -> None:
    ports: dict[str, Any] = {
        "containers": [{"name": "main", "image": "x", "ports": [{"containerPort": 80}]}],
        "runtimeClassName": "process",
    }
    classes = frozenset({"process"})
    full = node_state(a_node("a"), [a_pod("other", **ports)], classes)

    found = schedule(a_pod("p", **ports), [full], process_classes=classes)

    assert found == Unschedulable("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.")
    assert schedule(a_pod("p", **{**ports, "runtimeClassName": None}), [full], process_classes=classes) == Placed("a")


def test_requests_are_the_sum_or_the_largest_init_container() -> None:
    pod = a_pod("p", **asking(cpu="100m"))
    pod["spec"]["containers"].append({"name": "b", "resources": {"requests": {"cpu": "200m", "memory": "1Mi"}}})
    pod["spec"]["initContainers"] = [{"name": "i", "resources": {"requests": {"cpu": "1", "memory": "1Ki"}}}]

    assert {k: float(v) for k, v in requests(pod).items()} == {"cpu": 1.0, "memory": 2**20}


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k", "value": "v", "effect": "NoExecute"}, False),
        ({"value": "v"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_match_as_kubernetes_says(toleration: dict[str, str], expected: bool) -> None:
    assert tolerates(toleration, {"key": "k", "value": "v", "effect": "NoSchedule"}) is expected


def beside(kind: str, key: str = "kubernetes.io/hostname", **labels: str) -> dict[str, Any]:
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": key}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def test_pods_that_avoid_each_other_are_kept_apart_from_both_sides() -> None:
    shy = a_pod("shy", labels={"app": "db"}, **beside("podAntiAffinity", app="db"))
    plain = a_pod("plain", labels={"app": "db"})

    shy_comes = schedule(shy, [node_state(a_node("a"), [plain])])
    plain_comes = schedule(plain, [node_state(a_node("a"), [shy])])

    assert shy_comes == Unschedulable("0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.")
    assert plain_comes == Unschedulable("0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.")
    assert schedule(shy, [node_state(a_node("a"), [plain]), node_state(a_node("b"), [])]) == Placed("b")


def test_pods_that_seek_company_follow_it_and_the_first_may_start_anywhere() -> None:
    site = "skerry.dev/site"
    nodes = [a_node("a", labels={site: "x"}), a_node("b", labels={site: "y"}), a_node("c", labels={site: "y"})]
    seeking = a_pod("p", labels={"app": "web"}, **beside("podAffinity", site, app="web"))
    company = a_pod("q", labels={"app": "web"})

    found = schedule(seeking, [node_state(nodes[0], []), node_state(nodes[1], [company]), node_state(nodes[2], [])])
    lonely = schedule(a_pod("p", **beside("podAffinity", site, app="web")), [node_state(nodes[0], [])])

    assert found == Placed("c")
    assert schedule(seeking, [node_state(n, []) for n in nodes]) == Placed("a")
    assert lonely == Unschedulable("0/1 nodes are available: 1 node(s) didn't match pod affinity rules.")


def test_a_spread_that_must_hold_leaves_a_pod_waiting() -> None:
    constraint = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    pod = a_pod("p", labels={"app": "web"}, topologySpreadConstraints=[{**constraint, "whenUnsatisfiable": "DoNotSchedule"}])
    there = a_pod("q", labels={"app": "web"})
    full = node_state(a_node("b", taints=[UNREACHABLE]), [])

    found = schedule(pod, [node_state(a_node("a"), [there]), full])

    spread = "1 node(s) didn't match pod topology spread constraints"
    taint = "1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }"
    assert found == Unschedulable(f"0/2 nodes are available: {spread}, {taint}.")
    assert schedule(pod, [node_state(a_node("a"), [])]) == Placed("a")


AMOUNTS = st.lists(st.integers(0, 5), max_size=12)


@given(AMOUNTS, st.lists(st.integers(1, 10), min_size=1, max_size=4))
def test_no_node_is_ever_filled_over_its_capacity(asked: list[int], sizes: list[int]) -> None:
    nodes = {f"n{i}": a_node(f"n{i}", cpu=str(c), pods="5") for i, c in enumerate(sizes)}
    placed: dict[str, list[Object]] = {n: [] for n in nodes}

    for i, cpu in enumerate(asked):
        pod = a_pod(f"p{i}", **asking(cpu=str(cpu)))
        match schedule(pod, [node_state(nodes[n], placed[n]) for n in nodes]):
            case Placed(node):
                placed[node].append(pod)
            case Unschedulable():
                free = [c - sum(float(requests(p)["cpu"]) for p in placed[n]) for n, c in zip(nodes, sizes, strict=True)]
                assert all(f < cpu or len(placed[n]) == 5 for n, f in zip(nodes, free, strict=True))

    for name, pods in placed.items():
        assert sum(float(requests(p)["cpu"]) for p in pods) <= float(nodes[name]["status"]["allocatable"]["cpu"])


@virtually
async def test_pods_are_bound_once_each_and_spread(world: World) -> None:
    scheduler, replicasets = Scheduler(world.api, world.informers, world.now), ReplicaSets(world.api, world.informers, world.now)
    world.api.seed(NODES, a_node("a"), a_node("b"))
    world.api.seed(REPLICASETS, a_replicaset(replicas=6))

    async with world.running(scheduler.controller.run, replicasets.controller.run):
        await asyncio.sleep(2)

    assert sorted(p["spec"]["nodeName"] for p in world.api.all(PODS)) == ["a", "a", "a", "b", "b", "b"]
    assert len([a for a in world.api.actions if a.subresource == "binding"]) == 6


@virtually
async def test_what_cannot_be_bound_says_so_once_and_goes_when_a_node_comes(world: World) -> None:
    scheduler = Scheduler(world.api, world.informers, world.now)
    world.api.seed(RUNTIMECLASSES, process_class())
    world.api.seed(NODES, a_node("a"))
    world.api.seed(PODS, a_pod("p", runtimeClassName="process"), a_pod("q", runtimeClassName="none"))

    async with world.running(scheduler.controller.run):
        await asyncio.sleep(600)
        waiting = world.api.peek(PODS, SPACE, "p")
        await world.api.patch(NODES, "", "a", {"metadata": {"labels": {"runtime.skerry.dev/process": "true"}}})
        await asyncio.sleep(1)

    condition = get_condition(dig(waiting, "status", "conditions"), "PodScheduled") or {}
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"] == "0/1 nodes are available: no node offers runtime class process."
    warnings = sorted(e["message"] for e in world.api.all(EVENTS) if e["reason"] == "FailedScheduling")
    assert warnings == [condition["message"], "no node offers runtime class none: there is no RuntimeClass of that name"]
    assert dig(world.api.peek(PODS, SPACE, "p"), "spec", "nodeName") == "a"
