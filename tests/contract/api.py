"""What every `kube.Api` promises: the fake, HTTP against the real server, and the embedded server without HTTP.

Subclass `ApiContract` and give the fixtures `api` and `space` (a namespace that exists and is the test's own).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from skerry.kube.api import ClusterApi, WatchEvent
from skerry.kube.closing import closing
from skerry.model.errors import ApiError
from skerry.model.objects import Object, metadata, name_of, revision_of
from skerry.model.resources import CONFIGMAPS, DEPLOYMENTS, LEASES, PODS

WAIT_S = 60.0


def a_configmap(space: str, name: str, *, labels: dict[str, str] | None = None, **data: str) -> Object:
    return {"metadata": {"namespace": space, "name": name, "labels": labels or {}}, "data": data or {"a": "1"}}


def a_pod(space: str, name: str, *, node: str = "") -> Object:
    spec: Object = {"containers": [{"name": "main", "image": "host.skerry.invalid/true"}]}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"namespace": space, "name": name}, "spec": spec}


def a_deployment(space: str, name: str) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "host.skerry.invalid/true"}]}}
    return {
        "metadata": {"namespace": space, "name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[WatchEvent]:
    """Return the next *count* events that are not bookmarks."""
    found: list[WatchEvent] = []
    async with asyncio.timeout(WAIT_S):
        while len(found) < count:
            event = await anext(events)
            if event.type != "BOOKMARK":
                found.append(event)
    return found


def _seen(events: list[WatchEvent]) -> list[tuple[str, str]]:
    return [(e.type, name_of(e.object).name) for e in events]


class ApiContract:
    async def test_what_was_created_can_be_read(self, api: ClusterApi, space: str) -> None:
        created = await api.create(CONFIGMAPS, a_configmap(space, "one", a="1"))

        found = await api.get(CONFIGMAPS, space, "one")

        assert found == created
        assert (found["apiVersion"], found["kind"], found["data"]) == ("v1", "ConfigMap", {"a": "1"})
        assert metadata(found)["uid"]
        assert metadata(found)["creationTimestamp"].endswith("Z")
        assert revision_of(found) > 0

    async def test_a_missing_object_is_404_in_kubernetes_words(self, api: ClusterApi, space: str) -> None:
        with pytest.raises(ApiError, match=r'^configmaps "none" not found$') as caught:
            await api.get(CONFIGMAPS, space, "none")

        assert (caught.value.code, caught.value.reason) == (404, "NotFound")
        assert caught.value.details["name"] == "none"

    async def test_a_second_object_of_the_name_is_refused(self, api: ClusterApi, space: str) -> None:
        await api.create(CONFIGMAPS, a_configmap(space, "one"))

        with pytest.raises(ApiError, match='configmaps "one" already exists') as caught:
            await api.create(CONFIGMAPS, a_configmap(space, "one"))

        assert (caught.value.code, caught.value.reason) == (409, "AlreadyExists")

    async def test_generate_name_gives_a_name_of_its_own(self, api: ClusterApi, space: str) -> None:
        draft = {"metadata": {"namespace": space, "generateName": "gen-"}, "data": {}}

        names = {name_of(await api.create(CONFIGMAPS, draft)).name for _ in range(3)}

        assert len(names) == 3
        assert all(n.startswith("gen-") and len(n) == 9 for n in names)

    async def test_the_server_sets_uid_and_times_itself(self, api: ClusterApi, space: str) -> None:
        draft = a_configmap(space, "one")
        draft["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z"}

        created = await api.create(CONFIGMAPS, draft)

        assert metadata(created)["uid"] != "mine"
        assert not metadata(created)["creationTimestamp"].startswith("2001")

    async def test_a_list_is_complete_typed_and_sorted(self, api: ClusterApi, space: str) -> None:
        for name in ("b", "a", "c"):
            await api.create(CONFIGMAPS, a_configmap(space, name))

        found = await api.list(CONFIGMAPS, space)

        names = [name_of(o).name for o in found.items if name_of(o).name in ("a", "b", "c")]
        assert names == ["a", "b", "c"]
        assert {o["kind"] for o in found.items} == {"ConfigMap"}
        assert int(found.revision) >= max(revision_of(o) for o in found.items)

    async def test_every_answer_says_which_cluster_and_epoch_it_is_from(self, api: ClusterApi, space: str) -> None:
        found = await api.list(CONFIGMAPS, space)

        assert found.origin.cluster
        assert found.origin.epoch

    async def test_lists_honour_label_and_field_selectors(self, api: ClusterApi, space: str) -> None:
        await api.create(CONFIGMAPS, a_configmap(space, "one", labels={"tier": "a"}))
        await api.create(CONFIGMAPS, a_configmap(space, "two", labels={"tier": "b"}))

        by_label = await api.list(CONFIGMAPS, space, labels="tier in (b,c)")
        by_field = await api.list(CONFIGMAPS, space, fields="metadata.name=one")

        assert [name_of(o).name for o in by_label.items] == ["two"]
        assert [name_of(o).name for o in by_field.items] == ["one"]

    async def test_replace_with_an_old_revision_is_a_conflict(self, api: ClusterApi, space: str) -> None:
        first = await api.create(CONFIGMAPS, a_configmap(space, "one", a="1"))
        second = await api.replace(CONFIGMAPS, {**first, "data": {"a": "2"}})

        with pytest.raises(ApiError, match="the object has been modified") as caught:
            await api.replace(CONFIGMAPS, {**first, "data": {"a": "3"}})

        assert (caught.value.code, caught.value.reason) == (409, "Conflict")
        assert (await api.get(CONFIGMAPS, space, "one"))["data"] == {"a": "2"}
        assert revision_of(second) > revision_of(first)

    async def test_a_write_that_changes_nothing_makes_no_revision(self, api: ClusterApi, space: str) -> None:
        created = await api.create(CONFIGMAPS, a_configmap(space, "one", a="1"))

        again = await api.patch(CONFIGMAPS, space, "one", {"data": {"a": "1"}})

        assert revision_of(again) == revision_of(created)

    async def test_merge_patch_sets_and_removes(self, api: ClusterApi, space: str) -> None:
        await api.create(CONFIGMAPS, a_configmap(space, "one", a="1", b="2"))

        found = await api.patch(CONFIGMAPS, space, "one", {"data": {"a": None, "c": "3"}})

        assert found["data"] == {"b": "2", "c": "3"}

    async def test_json_patch_tests_before_it_changes(self, api: ClusterApi, space: str) -> None:
        await api.create(CONFIGMAPS, a_configmap(space, "one", a="1"))
        steps: list[dict[str, Any]] = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/b", "value": "2"}]

        found = await api.patch(CONFIGMAPS, space, "one", steps, form="json")
        with pytest.raises(ApiError) as caught:
            await api.patch(CONFIGMAPS, space, "one", [{"op": "test", "path": "/data/a", "value": "9"}], form="json")

        assert found["data"] == {"a": "1", "b": "2"}
        assert caught.value.code == 422

    async def test_strategic_patch_merges_conditions_by_type(self, api: ClusterApi, space: str) -> None:
        await api.create(PODS, a_pod(space, "p"))
        for kind in ("Ready", "PodScheduled"):
            patch = {"status": {"conditions": [{"type": kind, "status": "True"}]}}
            await api.patch(PODS, space, "p", patch, form="strategic", subresource="status")

        found = await api.get(PODS, space, "p")

        assert {c["type"] for c in found["status"]["conditions"]} == {"Ready", "PodScheduled"}

    async def test_status_and_spec_are_written_apart(self, api: ClusterApi, space: str) -> None:
        created = await api.create(DEPLOYMENTS, a_deployment(space, "d"))
        both = {"spec": {"replicas": 5}, "status": {"replicas": 3, "observedGeneration": 1}}

        after_status = await api.patch(DEPLOYMENTS, space, "d", both, subresource="status")
        after_spec = await api.patch(DEPLOYMENTS, space, "d", {"spec": {"replicas": 5}, "status": {"replicas": 9}})

        assert (after_status["spec"]["replicas"], after_status["status"]["replicas"]) == (1, 3)
        assert (after_spec["spec"]["replicas"], after_spec["status"]["replicas"]) == (5, 3)
        assert [metadata(o)["generation"] for o in (created, after_status, after_spec)] == [1, 1, 2]

    async def test_delete_removes_at_once(self, api: ClusterApi, space: str) -> None:
        await api.create(CONFIGMAPS, a_configmap(space, "one"))

        await api.delete(CONFIGMAPS, space, "one")

        with pytest.raises(ApiError, match="not found"):
            await api.get(CONFIGMAPS, space, "one")

    async def test_delete_with_another_uid_is_a_conflict(self, api: ClusterApi, space: str) -> None:
        await api.create(CONFIGMAPS, a_configmap(space, "one"))

        with pytest.raises(ApiError) as caught:
            await api.delete(CONFIGMAPS, space, "one", uid="another")

        assert (caught.value.code, caught.value.reason) == (409, "Conflict")
        assert await api.get(CONFIGMAPS, space, "one")

    async def test_a_finalizer_holds_the_object_until_it_is_taken_away(self, api: ClusterApi, space: str) -> None:
        draft = a_configmap(space, "one")
        draft["metadata"]["finalizers"] = ["example.com/hold"]
        await api.create(CONFIGMAPS, draft)

        await api.delete(CONFIGMAPS, space, "one")
        held = await api.get(CONFIGMAPS, space, "one")
        await api.patch(CONFIGMAPS, space, "one", {"metadata": {"finalizers": None}})

        assert metadata(held)["deletionTimestamp"]
        with pytest.raises(ApiError, match="not found"):
            await api.get(CONFIGMAPS, space, "one")

    @pytest.mark.parametrize(("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
    async def test_propagation_waits_for_the_garbage_collector(self, api: ClusterApi, space: str, propagation: Any, finalizer: str) -> None:
        await api.create(DEPLOYMENTS, a_deployment(space, f"d-{propagation.lower()}"))

        await api.delete(DEPLOYMENTS, space, f"d-{propagation.lower()}", propagation=propagation)

        found = await api.get(DEPLOYMENTS, space, f"d-{propagation.lower()}")
        assert metadata(found)["finalizers"] == [finalizer]
        assert metadata(found)["deletionTimestamp"]

    async def test_a_bound_pod_gets_its_grace_and_an_unbound_one_goes_at_once(self, api: ClusterApi, space: str) -> None:
        await api.create(PODS, a_pod(space, "bound", node="n1"))
        await api.create(PODS, a_pod(space, "unbound"))

        await api.delete(PODS, space, "bound")
        await api.delete(PODS, space, "unbound")
        dying = await api.get(PODS, space, "bound")
        await api.delete(PODS, space, "bound", grace_s=0)

        assert metadata(dying)["deletionGracePeriodSeconds"] == 30
        assert [name_of(o).name for o in (await api.list(PODS, space)).items] == []

    async def test_a_pod_is_bound_once(self, api: ClusterApi, space: str) -> None:
        await api.create(PODS, a_pod(space, "p"))
        target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"namespace": space, "name": "p"}, "target": target}

        await api.create(PODS, binding, subresource="binding")
        with pytest.raises(ApiError) as caught:
            await api.create(PODS, binding, subresource="binding")

        assert (await api.get(PODS, space, "p"))["spec"]["nodeName"] == "n1"
        assert caught.value.code == 409

    async def test_a_watch_goes_on_where_the_list_ended(self, api: ClusterApi, space: str) -> None:
        await api.create(CONFIGMAPS, a_configmap(space, "before"))
        listed = await api.list(CONFIGMAPS, space)
        await api.create(CONFIGMAPS, a_configmap(space, "after"))
        await api.patch(CONFIGMAPS, space, "after", {"data": {"a": "2"}})
        await api.delete(CONFIGMAPS, space, "after")

        async with closing(api.watch(CONFIGMAPS, space, revision=listed.revision)) as events:
            found = await take(events, 3)

        assert _seen(found) == [("ADDED", "after"), ("MODIFIED", "after"), ("DELETED", "after")]
        revisions = [revision_of(e.object) for e in found]
        assert revisions == sorted(set(revisions))
        assert found[0].origin == listed.origin

    async def test_a_watch_without_revision_begins_with_what_there_is(self, api: ClusterApi, space: str) -> None:
        await api.create(CONFIGMAPS, a_configmap(space, "one", labels={"mine": "yes"}))

        async with closing(api.watch(CONFIGMAPS, space, labels="mine=yes")) as events:
            first = await take(events, 1)
            await api.create(CONFIGMAPS, a_configmap(space, "two", labels={"mine": "yes"}))
            second = await take(events, 1)

        assert _seen(first + second) == [("ADDED", "one"), ("ADDED", "two")]
        assert first[0].object["kind"] == "ConfigMap"

    async def test_leaving_a_watched_selection_is_a_deletion_with_the_previous_content(self, api: ClusterApi, space: str) -> None:
        created = await api.create(CONFIGMAPS, a_configmap(space, "one", labels={"tier": "a"}))
        start = metadata(created)["resourceVersion"]
        left = await api.patch(CONFIGMAPS, space, "one", {"metadata": {"labels": {"tier": "b"}}})
        await api.patch(CONFIGMAPS, space, "one", {"metadata": {"labels": {"tier": "a"}}})

        async with closing(api.watch(CONFIGMAPS, space, labels="tier=a", revision=start)) as events:
            found = await take(events, 2)

        assert _seen(found) == [("DELETED", "one"), ("ADDED", "one")]
        assert metadata(found[0].object)["labels"] == {"tier": "a"}
        assert revision_of(found[0].object) == revision_of(left)

    async def test_pods_of_one_node_can_be_watched(self, api: ClusterApi, space: str) -> None:
        listed = await api.list(PODS, fields="spec.nodeName=n7")
        await api.create(PODS, a_pod(space, "theirs", node="n8"))
        await api.create(PODS, a_pod(space, "ours", node="n7"))

        async with closing(api.watch(PODS, fields="spec.nodeName=n7", revision=listed.revision)) as events:
            found = await take(events, 1)

        assert _seen(found) == [("ADDED", "ours")]

    async def test_discovery_names_every_resource_with_its_verbs(self, api: ClusterApi, space: str) -> None:
        found = {s.resource.key: s for s in await api.discover()}

        assert {"configmaps", "deployments.apps", "leases.coordination.k8s.io", "devices.skerry.dev"} <= set(found)
        assert found["leases.coordination.k8s.io"].resource == LEASES
        assert {"list", "delete"} <= found["configmaps"].verbs
