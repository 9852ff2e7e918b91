"""StatefulSets: one Pod an identity, in order, and a rollout that waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.controllers.workloads import history
from skerry.controllers.workloads.statefulsets.identity import POD_INDEX, POD_NAME, REVISION, pod_for
from skerry.controllers.workloads.statefulsets.plan import Create, Delete, Revisions, plan
from skerry.controllers.workloads.statefulsets.statefulset import StatefulSets
from skerry.model.objects import Object, dig, labels_of, metadata, name_of
from skerry.model.resources import CONTROLLERREVISIONS, EVENTS, NODES, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from skerry.testing.clock import run_virtually
from tests.unit.controllers.kubelet import Kubelet
from tests.unit.controllers.world import SPACE, World, a_node, virtually

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def a_set(replicas: int = 3, *, image: str = "host.skerry.invalid/db:1", **spec: Any) -> Object:
    labels = {"app": "db"}
    pod = {"nodeName": "a", "containers": [{"name": "main", "image": image}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"namespace": SPACE, "name": "db", "uid": "set-uid", "generation": 1},
        "spec": {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def a_member(ordinal: int, *, revision: str = "old", state: str = "ready") -> Object:
    pod = pod_for(a_set(), ordinal, a_set()["spec"]["template"], revision)
    pod["metadata"] |= {"uid": f"uid-{ordinal}", "resourceVersion": "1"}
    ready = {"type": "Ready", "status": str(state == "ready"), "lastTransitionTime": "2026-01-05T09:59:00Z"}
    phases = {"failed": "Failed", "pending": "Pending", "succeeded": "Succeeded"}
    pod["status"] = {"phase": phases.get(state, "Running"), "conditions": [ready]}
    if state == "ending":
        pod["metadata"]["deletionTimestamp"] = "2026-01-05T10:00:00Z"
    return pod


def told(statefulset: Object, pods: dict[int, str], *, update: str = "old", revisions: dict[int, str] | None = None) -> list[str]:
    """Return the plan for Pods that are in these states, as words."""
    members = [a_member(o, state=s, revision=(revisions or {}).get(o, "old")) for o, s in pods.items()]
    steps = plan(statefulset, members, Revisions("old", update), now=NOW)
    return [f"+{s.ordinal} {s.revision}" if isinstance(s, Create) else f"-{name_of(s.pod).name[3:]}" for s in steps]


READY3 = {0: "ready", 1: "ready", 2: "ready"}
PARALLEL = {"podManagementPolicy": "Parallel"}


@pytest.mark.parametrize(
    ("spec", "pods", "update", "expected"),
    [
        ({}, {}, "old", ["+0 old"]),
        ({}, {0: "unready"}, "old", []),
        ({}, {0: "ready"}, "old", ["+1 old"]),
        ({}, {0: "ready", 2: "ready"}, "old", ["+1 old"]),
        ({}, {0: "failed", 1: "ready"}, "old", ["-0"]),
        ({}, {0: "succeeded"}, "old", ["-0"]),
        ({}, {0: "ready", 1: "ending", 2: "ready"}, "old", []),
        ({}, READY3, "old", []),
        ({"replicas": 1}, READY3, "old", ["-2"]),
        ({"replicas": 1}, {0: "ready", 1: "ready", 2: "ending"}, "old", []),
        ({"replicas": 1}, {0: "unready", 1: "ready"}, "old", []),
        ({"replicas": 0}, {0: "unready", 1: "unready"}, "old", []),
        ({"replicas": 0}, {0: "ready", 1: "unready"}, "old", ["-1"]),
        ({"replicas": 0}, {0: "unready", 1: "ready"}, "old", ["-1"]),
        ({"ordinals": {"start": 5}, "replicas": 1}, {}, "old", ["+5 old"]),
        ({"ordinals": {"start": 1}, "replicas": 2}, READY3, "old", ["-0"]),
        (PARALLEL, {}, "old", ["+0 old", "+1 old", "+2 old"]),
        (PARALLEL, {0: "unready", 2: "failed"}, "old", ["+1 old", "-2"]),
        ({**PARALLEL, "replicas": 0}, READY3, "old", ["-2", "-1", "-0"]),
        ({}, READY3, "new", ["-2"]),
        ({}, {0: "ready", 1: "ready"}, "new", ["+2 new"]),
        ({}, {0: "ready", 1: "ready", 2: "unready"}, "new", []),
        ({**PARALLEL}, {0: "ready", 1: "unready", 2: "ready"}, "new", ["-2"]),
        ({**PARALLEL}, {0: "ready", 1: "ready", 2: "unready"}, "new", ["-2"]),
        ({**PARALLEL}, {0: "ready", 1: "ready", 2: "ending"}, "new", []),
        ({**PARALLEL, "updateStrategy": {"rollingUpdate": {"maxUnavailable": 1}}}, {**READY3, 1: "unready"}, "new", ["-1"]),
        ({"updateStrategy": {"type": "OnDelete"}}, READY3, "new", []),
        ({"updateStrategy": {"type": "OnDelete"}}, {0: "ready"}, "new", ["+1 new"]),
        ({"updateStrategy": {"rollingUpdate": {"partition": 2}}}, READY3, "new", ["-2"]),
        ({"updateStrategy": {"rollingUpdate": {"partition": 3}}}, READY3, "new", []),
        ({"updateStrategy": {"rollingUpdate": {"partition": 2}}}, {0: "ready"}, "new", ["+1 old"]),
        ({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}, READY3, "new", ["-2", "-1"]),
        ({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}}, READY3, "new", ["-2"]),
        ({"minReadySeconds": 120}, {0: "ready"}, "old", []),
    ],
)
def test_the_plan(spec: dict[str, Any], pods: dict[int, str], update: str, expected: list[str]) -> None:
    assert told(a_set(**spec), pods, update=update) == expected


def test_a_rollout_goes_on_below_those_that_are_new() -> None:
    assert told(a_set(), READY3, update="new", revisions={2: "new"}) == ["-1"]
    assert told(a_set(), {**READY3, 2: "unready"}, update="new", revisions={2: "new"}) == []
    assert told(a_set(), READY3, update="new", revisions=dict.fromkeys(READY3, "new")) == []


def test_a_pod_knows_who_it_is() -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    pod = pod_for(a_set(volumeClaimTemplates=claims), 2, a_set()["spec"]["template"], "db-abc")

    assert name_of(pod).name == pod["spec"]["hostname"] == labels_of(pod)[POD_NAME] == "db-2"
    assert (labels_of(pod)[POD_INDEX], labels_of(pod)[REVISION], pod["spec"]["subdomain"]) == ("2", "db-abc", "db")
    assert pod["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-2"}}]


class Cluster:
    def __init__(self, world: World) -> None:
        self.world = world
        self.sets = StatefulSets(world.api, world.informers, world.now)
        self.kubelet = Kubelet(world.api, world.now, period_s=0.5)
        world.api.seed(NODES, a_node("a"))

    def running(self) -> Any:
        return self.world.running(self.sets.controller.run, self.kubelet.run)

    async def patch(self, spec: Object) -> None:
        await self.world.api.patch(STATEFULSETS, SPACE, "db", {"spec": spec})

    def image(self, tag: str) -> Object:
        return {"template": {"spec": {"containers": [{"name": "main", "image": f"host.skerry.invalid/db:{tag}"}]}}}

    def versions(self) -> dict[str, str]:
        return {name_of(p).name: p["spec"]["containers"][0]["image"][-1] for p in self.world.api.all(PODS)}

    def status(self, *fields: str) -> list[Any]:
        return [dig(self.world.api.peek(STATEFULSETS, SPACE, "db"), "status", f) for f in fields]

    def history(self) -> dict[int, str]:
        revisions = self.world.api.all(CONTROLLERREVISIONS)
        return {history.number(r): r["data"]["spec"]["template"]["spec"]["containers"][0]["image"][-1] for r in revisions}


@virtually
async def test_pods_come_and_go_in_order(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(STATEFULSETS, a_set())

    async with cluster.running():
        await asyncio.sleep(20)
        full, status = (
            cluster.versions(),
            cluster.status("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
        )
        await cluster.patch({"replicas": 1})
        await asyncio.sleep(20)

    created = [a.name for a in world.api.actions if a.verb == "create" and a.resource == PODS]
    deleted = list(dict.fromkeys(a.name for a in world.api.actions if a.verb == "delete" and a.resource == PODS))
    assert (full, status) == ({"db-0": "1", "db-1": "1", "db-2": "1"}, [3, 3, 3, 3, 3])
    assert (created, deleted) == (["db-0", "db-1", "db-2"], ["db-2", "db-1"])
    assert cluster.versions() == {"db-0": "1"}


@virtually
async def test_a_rollout_and_its_undo_keep_a_history(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(STATEFULSETS, a_set(2))

    async with cluster.running():
        await asyncio.sleep(10)
        await cluster.patch(cluster.image("2"))
        await asyncio.sleep(20)
        rolled, first = cluster.versions(), cluster.history()
        same = len(set(cluster.status("currentRevision", "updateRevision")))
        await cluster.patch(cluster.image("1"))
        await asyncio.sleep(20)

    assert (rolled, first, same) == ({"db-0": "2", "db-1": "2"}, {1: "1", 2: "2"}, 1)
    assert cluster.versions() == {"db-0": "1", "db-1": "1"}
    assert cluster.history() == {2: "2", 3: "1"}


@virtually
async def test_old_revisions_beyond_the_limit_go(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(STATEFULSETS, a_set(1, revisionHistoryLimit=1))

    async with cluster.running():
        for tag in "12345":
            await cluster.patch(cluster.image(tag))
            await asyncio.sleep(10)

    assert cluster.history() == {4: "4", 5: "5"}


@virtually
async def test_on_a_node_that_is_cut_off_an_identity_is_never_given_twice(world: World) -> None:
    cluster = Cluster(world)
    world.api.seed(STATEFULSETS, a_set(2, **PARALLEL))

    async with cluster.running():
        await asyncio.sleep(5)
        before = {name_of(p).name: metadata(p)["uid"] for p in world.api.all(PODS)}
        cluster.kubelet.silent.add("a")
        await cluster.patch(cluster.image("2"))
        await world.api.delete(PODS, SPACE, "db-0")
        await asyncio.sleep(600)
        meanwhile = {name_of(p).name: metadata(p)["uid"] for p in world.api.all(PODS)}
        cluster.kubelet.silent.clear()
        await asyncio.sleep(30)

    assert meanwhile == before
    assert cluster.versions() == {"db-0": "2", "db-1": "2"}


@virtually
async def test_claims_are_made_once_and_stay_or_go_as_the_policy_says(world: World) -> None:
    cluster = Cluster(world)
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    world.api.seed(STATEFULSETS, a_set(2, volumeClaimTemplates=claims, persistentVolumeClaimRetentionPolicy=policy))

    async with cluster.running():
        await asyncio.sleep(10)
        owned = [metadata(c)["ownerReferences"][0]["kind"] for c in world.api.all(PERSISTENTVOLUMECLAIMS)]
        await world.api.delete(PODS, SPACE, "db-1")
        await asyncio.sleep(10)
        names = world.names(PERSISTENTVOLUMECLAIMS)
        await cluster.patch({"replicas": 1})
        await asyncio.sleep(10)
        left = {name_of(c).name: metadata(c)["ownerReferences"][0]["kind"] for c in world.api.all(PERSISTENTVOLUMECLAIMS)}

    assert (owned, names) == (["StatefulSet", "StatefulSet"], ["data-db-0", "data-db-1"])
    assert left == {"data-db-0": "StatefulSet", "data-db-1": "Pod"}
    assert labels_of(world.api.all(PERSISTENTVOLUMECLAIMS)[0]) == {"app": "db"}


@virtually
async def test_a_pod_waits_for_a_claim_that_is_being_deleted_and_gets_another(world: World) -> None:
    cluster = Cluster(world)
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    world.api.seed(STATEFULSETS, a_set(1, volumeClaimTemplates=claims))

    async with cluster.running():
        await asyncio.sleep(5)
        await world.api.patch(PERSISTENTVOLUMECLAIMS, SPACE, "data-db-0", {"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}})
        first = metadata(world.api.all(PERSISTENTVOLUMECLAIMS)[0])["uid"]
        await world.api.delete(PERSISTENTVOLUMECLAIMS, SPACE, "data-db-0")
        await world.api.delete(PODS, SPACE, "db-0")
        await asyncio.sleep(5)
        meanwhile = world.names(PODS)
        await world.api.patch(PERSISTENTVOLUMECLAIMS, SPACE, "data-db-0", {"metadata": {"finalizers": None}})
        await asyncio.sleep(30)

    assert (meanwhile, world.names(PODS)) == ([], ["db-0"])
    assert [metadata(c)["uid"] for c in world.api.all(PERSISTENTVOLUMECLAIMS)] != [first]
    said = {(e["reason"], e["message"]) for e in world.api.all(EVENTS)}
    assert said == {
        ("SuccessfulCreate", "create Claim data-db-0 Pod db-0 in StatefulSet db success"),
        ("SuccessfulCreate", "create Pod db-0 in StatefulSet db successful"),
        ("FailedCreate", "create Pod db-0 in StatefulSet db failed error: pvc data-db-0 is being deleted"),
    }


CHANGES = st.lists(
    st.one_of(
        st.builds(lambda n: {"replicas": n}, st.integers(0, 4)),
        st.sampled_from("123").map(
            lambda t: {"template": {"spec": {"containers": [{"name": "main", "image": f"host.skerry.invalid/db:{t}"}]}}}
        ),
        st.integers(0, 2).map(lambda n: {"ordinals": {"start": n}}),
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(CHANGES, st.sampled_from(["OrderedReady", "Parallel"]), st.randoms(use_true_random=False))
def test_whatever_is_changed_meanwhile_it_ends_as_wanted_and_then_rests(changes: list[Object], policy: str, random: Any) -> None:
    async def main() -> None:
        world = World()
        cluster = Cluster(world)
        world.api.seed(STATEFULSETS, a_set(2, podManagementPolicy=policy))
        async with cluster.running():
            for change in changes:
                await cluster.patch(change)
                await asyncio.sleep(random.choice([0.0, 0.5, 3.0]))
            await asyncio.sleep(60)
            found = world.api.all(STATEFULSETS)[0]
            start, count = dig(found, "spec", "ordinals", "start", default=0), found["spec"]["replicas"]
            image = found["spec"]["template"]["spec"]["containers"][0]["image"][-1]
            assert cluster.versions() == {f"db-{o}": image for o in range(start, start + count)}
            assert cluster.status("replicas", "observedGeneration") == [count, metadata(found)["generation"]]
            assert len(set(cluster.status("currentRevision", "updateRevision"))) == 1
            before = len(world.api.writes())
            await asyncio.sleep(60)
            assert world.api.writes()[before:] == []

    run_virtually(main())


def test_the_steps_of_scaling_down_say_that_the_identity_goes() -> None:
    steps = plan(a_set(0), [a_member(0)], Revisions("old", "old"), now=NOW)

    assert [(type(s), getattr(s, "condemned", None)) for s in steps] == [(Delete, True)]
