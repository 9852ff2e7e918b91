"""The history of DaemonSets and StatefulSets, and the small controllers around Pods."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skerry.controllers.workloads.autoscalers import AUTOSCALERS, Autoscalers
from skerry.controllers.workloads.history import DAEMONSET_HASH, Drop, Keep, Renumber, current, number, plan, template_of
from skerry.controllers.workloads.pod_garbage import EndedPods, surplus
from skerry.controllers.workloads.replicaset import replication_controllers
from skerry.model.objects import Object, annotations_of, controller_of, dig, labels_of, metadata, name_of
from skerry.model.resources import CONTROLLERREVISIONS, DAEMONSETS, NODES, PODS, REPLICATIONCONTROLLERS
from tests.unit.controllers.test_daemonset import NEW, a_daemonset, running
from tests.unit.controllers.world import SPACE, World, a_node, a_pod, virtually


def owner(tag: str = "1", **spec: Any) -> Object:
    return a_daemonset(f"host.skerry.invalid/app:{tag}", **spec)


def steps(daemonset: Object, revisions: list[Object], live: set[str] | None = None) -> list[Any]:
    return plan(daemonset, revisions, live=live or set(), hash_label=DAEMONSET_HASH)


def kept(tags: str, **spec: Any) -> list[Object]:
    """Return the history after the templates with these tags."""
    revisions: list[Object] = []
    for tag in tags:
        revisions = carried_out(revisions, steps(owner(tag, **spec), revisions))
    return revisions


def carried_out(revisions: list[Object], done: list[Any]) -> list[Object]:
    found = {name_of(r).name: r for r in revisions}
    for step in done:
        name = name_of(step.revision).name
        match step:
            case Keep(revision):
                found[name] = revision
            case Renumber(revision, patch):
                meta = {
                    **metadata(revision),
                    "annotations": {**annotations_of(revision), **dig(patch, "metadata", "annotations", default={})},
                }
                found[name] = {**revision, "revision": patch.get("revision", number(revision)), "metadata": meta}
            case Drop():
                del found[name]
    return list(found.values())


def tags(revisions: list[Object]) -> dict[int, str]:
    return {number(r): template_of(r)["spec"]["containers"][0]["image"][-1] for r in revisions}


def test_the_first_template_is_revision_one_and_a_patch_on_its_owner() -> None:
    (revision,) = kept("1")

    assert (number(revision), revision["data"]["spec"]["template"]["$patch"]) == (1, "replace")
    assert labels_of(revision)["app"] == "agent"
    assert name_of(revision).name == f"agent-{labels_of(revision)[DAEMONSET_HASH]}"
    assert (controller_of(revision) or {})["kind"] == "DaemonSet"


def test_each_template_has_one_revision_and_the_one_gone_back_to_is_the_newest() -> None:
    assert tags(kept("12")) == {1: "1", 2: "2"}
    assert tags(kept("121")) == {2: "2", 3: "1"}
    assert tags(kept("1213")) == {2: "2", 3: "1", 4: "3"}


def test_at_rest_there_is_nothing_to_do() -> None:
    assert steps(owner("2"), kept("12")) == []


def test_the_limit_counts_what_nobody_runs() -> None:
    revisions = kept("1234", revisionHistoryLimit=10)
    first = name_of(next(r for r in revisions if number(r) == 1)).name
    daemonset = owner("4", revisionHistoryLimit=1)

    assert sorted(number(s.revision) for s in steps(daemonset, revisions)) == [1, 2]
    assert sorted(number(s.revision) for s in steps(daemonset, revisions, {first})) == [2]
    assert sorted(number(s.revision) for s in steps(owner("4", revisionHistoryLimit=0), revisions)) == [1, 2, 3]


def test_the_cause_of_a_change_goes_into_its_revision() -> None:
    daemonset = owner("1")
    daemonset["metadata"]["annotations"] = {"kubernetes.io/change-cause": "why", "kubectl.kubernetes.io/last-applied-configuration": "{}"}

    found = carried_out(kept("1"), steps(daemonset, kept("1")))

    assert [annotations_of(r) for r in found] == [{"kubernetes.io/change-cause": "why"}]


def test_what_is_being_deleted_gets_no_revision() -> None:
    daemonset = owner()
    daemonset["metadata"]["deletionTimestamp"] = "2026-01-05T10:00:00Z"

    assert steps(daemonset, []) == []


@given(st.text("1234", min_size=1, max_size=12), st.integers(0, 3))
def test_the_present_template_is_always_the_newest_and_planning_again_gives_nothing(given_tags: str, limit: int) -> None:
    revisions, last = kept(given_tags, revisionHistoryLimit=limit), owner(given_tags[-1], revisionHistoryLimit=limit)

    present = current(last, revisions)

    assert present is not None
    assert number(present) == max(map(number, revisions))
    assert len({number(r) for r in revisions}) == len(revisions) <= limit + 1
    assert steps(last, revisions) == []


@virtually
async def test_a_daemonset_keeps_its_history_in_the_cluster(world: World) -> None:
    world.api.seed(NODES, a_node("a"))
    world.api.seed(DAEMONSETS, a_daemonset())

    async with running(world):
        await asyncio.sleep(5)
        await world.api.patch(DAEMONSETS, SPACE, "agent", NEW)
        await asyncio.sleep(20)

    assert tags(world.api.all(CONTROLLERREVISIONS)) == {1: "1", 2: "2"}
    pod = world.api.all(PODS)[0]
    newest = max(world.api.all(CONTROLLERREVISIONS), key=number)
    assert labels_of(pod)[DAEMONSET_HASH] == labels_of(newest)[DAEMONSET_HASH]


@virtually
async def test_a_replication_controller_makes_adopts_and_removes_pods(world: World) -> None:
    template = {"metadata": {"labels": {"app": "rc"}}, "spec": {"containers": [{"name": "main", "image": "host.skerry.invalid/app"}]}}
    spec = {"replicas": 3, "selector": {"app": "rc"}, "template": template}
    world.api.seed(REPLICATIONCONTROLLERS, {"metadata": {"namespace": SPACE, "name": "rc", "generation": 1}, "spec": spec})
    world.api.seed(PODS, a_pod("orphan", labels={"app": "rc"}), a_pod("other", labels={"app": "other"}))
    controller = replication_controllers(world.api, world.informers, world.now)

    async with world.running(controller.controller.run, world.kubelet):
        await asyncio.sleep(5)
        owners = [(controller_of(p) or {}).get("kind") for p in world.api.all(PODS)]
        status = dict((world.api.peek(REPLICATIONCONTROLLERS, SPACE, "rc") or {})["status"])
        await world.api.patch(REPLICATIONCONTROLLERS, SPACE, "rc", {"spec": {"replicas": 0}})
        await asyncio.sleep(5)

    assert sorted(str(o) for o in owners) == ["None", *["ReplicationController"] * 3]
    assert (status["replicas"], status["readyReplicas"], status["observedGeneration"]) == (3, 3, 1)
    assert world.names(PODS) == ["other"]


def an_ended_pod(name: str, created: str) -> Object:
    pod = a_pod(name)
    pod["metadata"]["creationTimestamp"] = f"2026-01-05T{created}:00Z"
    return {**pod, "status": {"phase": "Failed"}}


def test_the_oldest_ended_pods_beyond_the_limit_go_and_no_others() -> None:
    pods = [an_ended_pod("new", "09:00"), an_ended_pod("old", "07:00"), an_ended_pod("mid", "08:00"), a_pod("running")]

    assert [name_of(p).name for p in surplus(pods, 1)] == ["old", "mid"]
    assert surplus(pods, 3) == []


@virtually
async def test_ended_pods_are_bounded(world: World) -> None:
    ended = EndedPods(world.api, world.informers, most=3)
    world.api.seed(PODS, *(an_ended_pod(f"p{i}", f"0{i}:00") for i in range(8)), a_pod("running"))

    async with world.running(ended.controller.run):
        await asyncio.sleep(60)

    assert world.names(PODS) == ["p5", "p6", "p7", "running"]


@virtually
async def test_an_autoscaler_is_told_that_nothing_acts_on_it_once(world: World) -> None:
    autoscalers = Autoscalers(world.api, world.informers, world.now)
    world.api.seed(AUTOSCALERS, {"metadata": {"namespace": SPACE, "name": "hpa"}, "spec": {"maxReplicas": 3}})

    async with world.running(autoscalers.controller.run):
        await asyncio.sleep(60)

    condition = dig(world.api.peek(AUTOSCALERS, SPACE, "hpa"), "status", "conditions", 0)
    assert (condition["type"], condition["status"], condition["reason"]) == ("ScalingActive", "False", "NotSupported")
    assert len(world.api.writes()) == 1
