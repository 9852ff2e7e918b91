"""Hard rules of placement against a checker that knows nothing of the scheduler; priorities, and who makes room for whom."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.controllers.workloads.preemption import preempt
from skerry.controllers.workloads.scheduler import Scheduler
from skerry.controllers.workloads.scheduling import Placed, Unschedulable, node_state, schedule
from skerry.controllers.workloads.waiting import Waiting
from skerry.model.objects import Name, Object, dig
from skerry.model.resources import EVENTS, NODES, PODS
from tests.unit.controllers.world import SPACE, World, a_node, a_pod, virtually

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _rules(kind: str, key: str, app: str) -> dict[str, Any]:
    selector = {"matchLabels": {"app": app}}
    if kind == "spread":
        return {
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
            ]
        }
    return {"affinity": {kind: {REQUIRED: [{"labelSelector": selector, "topologyKey": key}]}}}


_POD = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(("", "podAffinity", "podAntiAffinity", "spread")),
    st.sampled_from((ZONE, HOST)),
    st.sampled_from("abc"),
    st.integers(0, 3),
    st.sampled_from(("", "x", "y")),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_POD, max_size=10), st.lists(st.sampled_from(("x", "y", "z")), min_size=1, max_size=5), st.integers(0, 5), st.booleans())
def test_no_hard_rule_is_ever_broken_and_nobody_waits_who_could_go(pods: Any, zones: list[str], start: int, tainted: bool) -> None:
    nodes = {f"n{i}": a_node(f"n{i}", labels={ZONE: z}, cpu="4") for i, z in enumerate(zones)}
    if tainted:
        nodes["n0"]["spec"]["taints"] = [{"key": "k", "value": "v", "effect": "NoExecute"}]
    there: list[tuple[Object, str]] = []

    for i, (app, kind, key, other, cpu, zone, tolerant) in enumerate(pods):
        pod = a_pod(f"p{i}", labels={"app": app}, **(_rules(kind, key, other) if kind else {}))
        pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": str(cpu)}}
        if zone:
            pod["spec"]["nodeSelector"] = {ZONE: zone}
        if tolerant:
            pod["spec"]["tolerations"] = [{"key": "k", "operator": "Exists"}]
        states = [node_state(n, [p for p, where in there if where == name]) for name, n in nodes.items()]
        allowed = {name for name in nodes if _allowed(pod, name, nodes, there)}
        match schedule(pod, states, start=start):
            case Placed(node):
                assert node in allowed
                there.append((pod, node))
            case Unschedulable(message):
                assert allowed == set(), message


def _allowed(pod: Object, name: str, nodes: dict[str, Object], there: list[tuple[Object, str]]) -> bool:
    """Say by the letter of the documentation whether *pod* may be on the node; shares no code with the scheduler."""
    node, spec = nodes[name], pod["spec"]
    labels = node["metadata"]["labels"]
    used = sum(int(p["spec"]["containers"][0]["resources"]["requests"]["cpu"]) for p, where in there if where == name)
    if used + int(spec["containers"][0]["resources"]["requests"]["cpu"]) > 4:
        return False
    if node["spec"].get("taints") and not spec.get("tolerations"):
        return False
    if any(labels.get(k) != v for k, v in spec.get("nodeSelector", {}).items()):
        return False
    if not _keeps_company(pod, labels, nodes, there):
        return False
    for other, where in there:
        for key, app in _apart(other):
            if pod["metadata"]["labels"]["app"] == app and nodes[where]["metadata"]["labels"][key] == labels[key]:
                return False
    return _stays_even(pod, labels, nodes, there)


def _apart(pod: Object) -> list[tuple[str, str]]:
    terms = pod["spec"].get("affinity", {}).get("podAntiAffinity", {}).get(REQUIRED, [])
    return [(t["topologyKey"], t["labelSelector"]["matchLabels"]["app"]) for t in terms]


def _keeps_company(pod: Object, labels: dict[str, str], nodes: dict[str, Object], there: list[tuple[Object, str]]) -> bool:
    for term in pod["spec"].get("affinity", {}).get("podAffinity", {}).get(REQUIRED, []):
        key, app = term["topologyKey"], term["labelSelector"]["matchLabels"]["app"]
        mates = [where for p, where in there if p["metadata"]["labels"]["app"] == app]
        if not mates and pod["metadata"]["labels"]["app"] == app:
            continue
        if not any(nodes[where]["metadata"]["labels"][key] == labels[key] for where in mates):
            return False
    for key, app in _apart(pod):
        for p, where in there:
            if p["metadata"]["labels"]["app"] == app and nodes[where]["metadata"]["labels"][key] == labels[key]:
                return False
    return True


def _stays_even(pod: Object, labels: dict[str, str], nodes: dict[str, Object], there: list[tuple[Object, str]]) -> bool:
    wanted = pod["spec"].get("nodeSelector", {})
    for constraint in pod["spec"].get("topologySpreadConstraints", []):
        key, app = constraint["topologyKey"], constraint["labelSelector"]["matchLabels"]["app"]
        counts: dict[str, int] = {}
        for name, node in nodes.items():
            own = node["metadata"]["labels"]
            if all(own.get(k) == v for k, v in wanted.items()):
                here = sum(p["metadata"]["labels"]["app"] == app for p, where in there if where == name)
                counts[own[key]] = counts.get(own[key], 0) + here
        mine = pod["metadata"]["labels"]["app"] == app
        if counts[labels[key]] + mine - min(counts.values()) > 1:
            return False
    return True


def weighty(name: str, priority: int, cpu: str = "1", **spec: Any) -> Object:
    pod = a_pod(name, priority=priority, **spec)
    pod["metadata"]["uid"] = f"uid-{name}"
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return pod


def test_the_cheapest_room_is_made() -> None:
    on = {
        "a": [weighty("a1", 50, "2")],
        "b": [weighty("b1", 10), weighty("b2", 10)],
        "c": [weighty("c1", 10), weighty("c2", 200)],
        "d": [weighty("d1", 300, "2")],
    }
    states = [node_state(a_node(n, cpu="2"), pods) for n, pods in on.items()]

    one, two, none = (preempt(weighty("p", 100, cpu), states, [], frozenset()) for cpu in ("1", "2", "3"))

    assert one is not None
    assert (one.node, [v["metadata"]["name"] for v in one.victims]) == ("b", ["b2"])
    assert two is not None
    assert (two.node, len(two.victims)) == ("b", 2)
    assert none is None


def test_a_budget_with_nothing_to_spare_is_hurt_last() -> None:
    budget = {
        "metadata": {"namespace": SPACE, "name": "pdb"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": 0},
    }
    kept = weighty("kept", 1)
    kept["metadata"]["labels"] = {"app": "web"}
    states = [node_state(a_node("a", cpu="1"), [kept]), node_state(a_node("b", cpu="1"), [weighty("other", 5)])]

    found = preempt(weighty("p", 100), states, [budget], frozenset())

    assert found is not None
    assert (found.node, found.hurt) == ("b", 0)


def test_no_pod_of_a_silent_node_makes_room() -> None:
    node = a_node("a", cpu="1")
    node["status"]["conditions"] = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]

    assert preempt(weighty("p", 100), [node_state(node, [weighty("old", 1)])], [], frozenset()) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=20))
def test_the_most_important_goes_first_and_the_older_of_two(pods: list[tuple[int, int]]) -> None:
    waiting = Waiting()
    wanted = [(-priority, f"{created:02}", Name("", f"p{i}")) for i, (priority, created) in enumerate(pods)]
    for priority, created, name in random.Random(1).sample(wanted, len(wanted)):
        waiting.put(name, priority=-priority, created=created)
        waiting.put(name, priority=-priority, created=created)

    assert [waiting.pop() for _ in wanted] == [name for _, _, name in sorted(wanted)]
    assert (waiting.pop(), len(waiting)) == (None, 0)


@pytest.mark.parametrize("policy", ["PreemptLowerPriority", "Never"])
def test_a_pod_that_matters_gets_room(policy: str) -> None:
    @virtually
    async def scenario(world: World) -> None:
        scheduler = Scheduler(world.api, world.informers, world.now)
        world.api.seed(NODES, a_node("a", cpu="2"))
        world.api.seed(PODS, weighty("low", 0, "2", node="a"))
        async with world.running(scheduler.controller.run, world.kubelet):
            await asyncio.sleep(2)
            await world.api.create(PODS, weighty("high", 1000, "1", preemptionPolicy=policy))
            await asyncio.sleep(60)

        preempted = [e["message"] for e in world.api.all(EVENTS) if e["reason"] == "Preempted"]
        found = world.api.peek(PODS, SPACE, "high")
        if policy == "Never":
            assert (world.names(PODS), preempted) == (["high", "low"], [])
        else:
            assert (world.names(PODS), dig(found, "spec", "nodeName"), dig(found, "status", "nominatedNodeName")) == (["high"], "a", "a")
            assert preempted == [f"Preempted by pod {found['metadata']['uid'] if found else ''} on node a"]

    scenario()


@virtually
async def test_gates_hold_a_pod_back_until_they_are_gone(world: World) -> None:
    scheduler = Scheduler(world.api, world.informers, world.now)
    world.api.seed(NODES, a_node("a"))
    async with world.running(scheduler.controller.run):
        await world.api.create(PODS, a_pod("p", schedulingGates=[{"name": "wait"}]))
        await asyncio.sleep(5)
        held = dig(world.api.peek(PODS, SPACE, "p"), "spec", "nodeName")
        await world.api.patch(PODS, SPACE, "p", {"spec": {"schedulingGates": None}})
        await asyncio.sleep(5)

    assert (held, dig(world.api.peek(PODS, SPACE, "p"), "spec", "nodeName")) == (None, "a")


def test_likes_and_soft_spread_choose_among_nodes_that_fit() -> None:
    wish = {"weight": 10, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": ZONE}}
    soft = [{"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "web"}}}]
    web, db = a_pod("w", labels={"app": "web"}), a_pod("d", labels={"app": "db"})
    near = a_pod("p", affinity={"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}})
    far = a_pod("p", affinity={"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}})
    states = [node_state(a_node("a", labels={ZONE: "x"}), [web]), node_state(a_node("b", labels={ZONE: "y"}), [db])]

    assert schedule(near, states) == Placed("b")
    assert schedule(far, states) == Placed("a")
    assert schedule(a_pod("p", labels={"app": "web"}, topologySpreadConstraints=soft), states) == Placed("b")


def test_those_that_run_say_whom_they_would_like() -> None:
    def wishing(kind: str) -> Object:
        wish = {"weight": 10, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": ZONE}}
        return a_pod("old", affinity={kind: {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}})

    web, other = a_pod("p", labels={"app": "web"}), a_pod("p", labels={"app": "other"})
    a, b = a_node("a", labels={ZONE: "x"}), a_node("b", labels={ZONE: "y"})

    assert schedule(web, [node_state(a), node_state(b, [wishing("podAffinity")])]) == Placed("b")
    assert schedule(web, [node_state(a, [wishing("podAntiAffinity")]), node_state(b, [a_pod("q"), a_pod("r")])]) == Placed("b")
    assert schedule(other, [node_state(a), node_state(b, [wishing("podAffinity")])]) == Placed("a")


@pytest.mark.parametrize(
    ("where", "kept_apart"),
    [
        ({}, False),
        ({"namespaces": ["prod"]}, True),
        ({"namespaceSelector": {}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "blue"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "red"}}}, False),
        ({"namespaceSelector": {"matchLabels": {"team": "red"}}, "namespaces": ["prod"]}, True),
    ],
)
def test_a_term_speaks_of_the_namespaces_that_it_names_or_selects(where: dict[str, Any], kept_apart: bool) -> None:
    there = a_pod("old", labels={"app": "web"})
    there["metadata"]["namespace"] = "prod"
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": HOST, **where}
    pod = a_pod("p", affinity={"podAntiAffinity": {REQUIRED: [term]}})
    spaces = {"prod": {"team": "blue"}}

    found = schedule(pod, [node_state(a_node("a"), [there])], spaces=lambda name: spaces.get(name, {}))

    assert isinstance(found, Unschedulable) is kept_apart


def test_company_is_a_pod_that_all_terms_speak_of() -> None:
    terms = [{"labelSelector": {"matchLabels": {k: "1"}}, "topologyKey": HOST} for k in ("x", "y")]
    pod = a_pod("p", affinity={"podAffinity": {REQUIRED: terms}})
    halves = [a_pod("q", labels={"x": "1"}), a_pod("r", labels={"y": "1"})]

    assert isinstance(schedule(pod, [node_state(a_node("a"), halves)]), Unschedulable)
    assert schedule(pod, [node_state(a_node("a"), halves), node_state(a_node("b"), [a_pod("s", labels={"x": "1", "y": "1"})])]) == Placed(
        "b"
    )


@pytest.mark.parametrize(("policy", "placed"), [("Ignore", False), ("Honor", True)])
def test_nodes_whose_taints_are_not_tolerated_count_for_a_spread_unless_it_says_otherwise(policy: str, placed: bool) -> None:
    selector = {"matchLabels": {"app": "web"}}
    constraint = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": selector,
        "nodeTaintsPolicy": policy,
    }
    pod = a_pod("p", labels={"app": "web"}, topologySpreadConstraints=[constraint])
    full = node_state(a_node("a", labels={ZONE: "x"}), [a_pod("q", labels={"app": "web"})])
    tainted = node_state(a_node("b", labels={ZONE: "y"}, taints=[{"key": "k", "effect": "NoSchedule"}]))

    assert isinstance(schedule(pod, [full, tainted]), Placed) is placed


def test_a_node_counts_its_pods_again_only_when_something_about_it_changed() -> None:
    selector = {"matchLabels": {"app": "web"}}
    constraint = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
    pod = a_pod("p", labels={"app": "web"}, topologySpreadConstraints=[constraint])

    class Counted(list[Object]):
        times = 0

        def __iter__(self) -> Any:
            Counted.times += 1
            return super().__iter__()

    found = node_state(a_node("a", labels={ZONE: "x"}))
    state = replace(found, pods=Counted([a_pod("q", labels={"app": "web"})]))

    for _ in range(5):
        schedule(pod, [state])

    assert Counted.times == 1
