"""Server-side apply and field ownership through the dispatcher: what is stored, refused and left alone."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from skerry.apiserver.http.message import User
from skerry.apiserver.local import LocalApi
from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.server import ApiServer
from skerry.model.resources import CONFIGMAPS as CONFIG_MAPS
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap
from tests.unit.apiserver.test_crds import crd, until

APPLY = "application/apply-patch+yaml"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

TWICE = b'{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1","a":"2"}}'


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    body = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": body}


def entries(obj: Any) -> list[tuple[str, str, str]]:
    """Return who manages: manager, operation, subresource."""
    found = obj["metadata"].get("managedFields", [])
    return [(e["manager"], e["operation"], e.get("subresource", "")) for e in found]


async def test_apply_creates_then_merges_then_does_nothing(ask: Asker) -> None:
    first, made = await ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=m", configmap("a", x="1"), content_type=APPLY)
    second, changed = await ask(
        "PATCH", f"{CONFIGMAPS}/a?fieldManager=m", b"apiVersion: v1\nkind: ConfigMap\ndata: {z: '2'}", content_type=APPLY
    )
    third, again = await ask(
        "PATCH", f"{CONFIGMAPS}/a?fieldManager=m", b"apiVersion: v1\nkind: ConfigMap\ndata: {z: '2'}", content_type=APPLY
    )

    assert (first, second, third) == (201, 200, 200)
    assert made["data"] == {"x": "1"}
    assert changed["data"] == {"z": "2"}
    assert again == changed


async def test_conflicts_are_refused_field_by_field_and_can_be_forced(ask: Asker) -> None:
    await ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=one", configmap("a", x="1"), content_type=APPLY)

    refused, status = await ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=two", configmap("a", x="2"), content_type=APPLY)
    forced, obj = await ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=two&force=true", configmap("a", x="2"), content_type=APPLY)

    assert (refused, status["reason"]) == (409, "Conflict")
    assert status["details"]["causes"] == [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}]
    assert (forced, obj["data"], entries(obj)) == (200, {"x": "2"}, [("two", "Apply", "")])


async def test_a_dry_run_stores_nothing(ask: Asker) -> None:
    status, obj = await ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=m&dryRun=All", configmap("a", x="1"), content_type=APPLY)

    assert (status, entries(obj)) == (201, [("m", "Apply", "")])
    assert (await ask("GET", f"{CONFIGMAPS}/a"))[0] == 404


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        ({"resourceVersion": "1"}, 409),
        ({"uid": "zz"}, 409),
        ({"managedFields": []}, 400),
        ({"name": "b"}, 400),
        ({"namespace": "kube-system"}, 400),
    ],
)
async def test_what_the_configuration_says_of_the_object_is_checked(ask: Asker, meta: dict[str, Any], code: int) -> None:
    await ask("POST", CONFIGMAPS, configmap("a"))

    status, _ = await ask(
        "PATCH", f"{CONFIGMAPS}/a?fieldManager=m", {**configmap("a"), "metadata": {"name": "a", **meta}}, content_type=APPLY
    )

    assert status == code


@pytest.mark.parametrize(
    ("query", "body", "code", "words"),
    [
        ("", {}, 422, "fieldManager: Required value: is required for apply patch"),
        ("fieldManager=" + "x" * 129, {}, 422, "Too long"),
        ("fieldManager=%01", {}, 422, "invalid character U+0001 (at position 0)"),
        ("fieldManager=m", {"apiVersion": "v2", "kind": "ConfigMap"}, 400, "invalid object type: /v2, Kind=ConfigMap"),
        ("fieldManager=m", {"apiVersion": "apps/v1", "kind": "X"}, 400, "invalid object type: apps/v1, Kind=X"),
        ("fieldManager=m", b"a: [", 400, "error decoding YAML"),
        ("fieldManager=m", b"[]", 400, "error decoding YAML"),
        ("fieldManager=m&fieldValidation=Strict", TWICE, 400, 'key "data.a" already set in map'),
    ],
)  # fmt: skip
async def test_what_is_no_apply_is_refused_in_words(ask: Asker, query: str, body: Any, code: int, words: str) -> None:
    status, answer = await ask("PATCH", f"{CONFIGMAPS}/a?{query}", body, content_type=APPLY)

    assert status == code
    assert words in answer["message"]


async def test_the_cbor_form_is_refused_by_name(ask: Asker) -> None:
    status, answer = await ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=m", b"x", content_type="application/apply-patch+cbor")

    assert (status, answer["reason"]) == (415, "UnsupportedMediaType")


async def test_another_object_that_was_expected_is_told(ask: Asker) -> None:
    body = {**configmap("a"), "metadata": {"name": "a", "uid": "zz"}}

    status, answer = await ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=m", body, content_type=APPLY)

    assert status == 409
    assert "uid mismatch: the provided object specified uid zz, and no existing object was found" in answer["message"]


async def test_every_write_is_somebodys(ask: Asker) -> None:
    await ask("POST", DEPLOYMENTS, deployment(replicas=1), user_agent="kubectl-create/1.32 (linux)")
    await ask("PATCH", f"{DEPLOYMENTS}/d?fieldManager=patcher", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    await ask("PATCH", f"{DEPLOYMENTS}/d/status", {"status": {"replicas": 1}}, content_type=MERGE, user_agent="watcher")
    await ask("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 2}}, content_type=MERGE, user_agent="scaler/x")

    _, obj = await ask("GET", f"{DEPLOYMENTS}/d")

    assert sorted(entries(obj)) == [
        ("kubectl-create", "Update", ""),
        ("patcher", "Update", ""),
        ("scaler", "Update", "scale"),
        ("watcher", "Update", "status"),
    ]


async def test_a_scale_that_nobody_managed_is_not_tracked(ask: Asker) -> None:
    await ask("PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", deployment(), content_type=APPLY)

    await ask("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 2}}, content_type=MERGE, user_agent="scaler/x")

    assert entries((await ask("GET", f"{DEPLOYMENTS}/d"))[1]) == [("m", "Apply", "")]


async def test_a_put_of_what_was_read_changes_nothing(ask: Asker) -> None:
    await ask("POST", DEPLOYMENTS, deployment(), user_agent="one")
    _, before = await ask("GET", f"{DEPLOYMENTS}/d")

    status, after = await ask("PUT", f"{DEPLOYMENTS}/d", before, user_agent="two")

    assert (status, after) == (200, before)


async def test_a_put_without_managed_fields_does_not_lose_them(ask: Asker) -> None:
    await ask("POST", CONFIGMAPS, configmap("a", x="1"), user_agent="one")

    _, found = await ask("PUT", f"{CONFIGMAPS}/a", configmap("a", x="1", y="2"), user_agent="two")

    assert entries(found) == [("one", "Update", ""), ("two", "Update", "")]


@pytest.mark.parametrize("given", [None, [], [{}]])
async def test_managed_fields_can_be_cleared_and_stay_cleared_until_the_next_apply(ask: Asker, given: Any) -> None:
    await ask("POST", CONFIGMAPS, configmap("a", x="1"), user_agent="one")

    _, cleared = await ask("PATCH", f"{CONFIGMAPS}/a", {"metadata": {"managedFields": given}}, content_type=MERGE)
    _, untracked = await ask("PATCH", f"{CONFIGMAPS}/a", {"data": {"x": "2"}}, content_type=MERGE)
    _, applied = await ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=m", configmap("a", y="1"), content_type=APPLY)

    assert (entries(cleared), entries(untracked)) == ([], [])
    assert entries(applied) == [("m", "Apply", ""), ("before-first-apply", "Update", "")]


async def test_a_patch_may_rewrite_who_manages(ask: Asker) -> None:
    _, made = await ask("POST", CONFIGMAPS, configmap("a", x="1"), user_agent="one")
    entry = {**made["metadata"]["managedFields"][0], "manager": "two", "operation": "Apply"}
    patch = [{"op": "replace", "path": "/metadata/managedFields", "value": [entry]}]

    status, found = await ask("PATCH", f"{CONFIGMAPS}/a", patch, content_type="application/json-patch+json")

    assert (status, entries(found)) == (200, [("two", "Apply", "")])


async def test_managed_fields_that_cannot_be_read_are_not_taken(ask: Asker) -> None:
    await ask("POST", CONFIGMAPS, configmap("a", x="1"), user_agent="one")

    body = {"metadata": {"managedFields": [{"manager": "x", "operation": "Apply", "apiVersion": "v1", "fieldsType": "Other"}]}}
    status, found = await ask("PATCH", f"{CONFIGMAPS}/a", body, content_type=MERGE)

    assert (status, entries(found)) == (200, [("one", "Update", "")])


async def test_an_apply_that_says_the_same_in_other_words_keeps_its_revision(ask: Asker) -> None:
    containers = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1000m"}}}]
    body = deployment(template={"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}})
    _, first = await ask("PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", body, content_type=APPLY)

    _, second = await ask("PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", body, content_type=APPLY)

    assert first["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1"
    assert second == first


async def test_a_status_is_applied_on_its_own(ask: Asker) -> None:
    await ask("PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", {**deployment(), "status": {"replicas": 7}}, content_type=APPLY)

    body = {**deployment(), "status": {"replicas": 3}}
    status, found = await ask("PATCH", f"{DEPLOYMENTS}/d/status?fieldManager=s", body, content_type=APPLY)

    assert (status, found["status"]) == (200, {"replicas": 3})
    assert [(e["manager"], e["fieldsV1"]) for e in found["metadata"]["managedFields"] if e.get("subresource")] == [
        ("s", {"f:status": {"f:replicas": {}}})
    ]


async def test_the_status_of_what_is_not_there_is_not_applied(ask: Asker) -> None:
    body = {**deployment(), "status": {"replicas": 3}}

    assert (await ask("PATCH", f"{DEPLOYMENTS}/d/status?fieldManager=s", body, content_type=APPLY))[0] == 404


async def test_versions_of_a_custom_kind_have_field_sets_of_their_own(ask: Asker) -> None:
    await ask("POST", CRDS, crd(versions=("v1", "v2")))
    await until(ask, "/apis/example.com/v2/namespaces/default/boxes", 200)
    boxes = "/apis/example.com/{}/namespaces/default/boxes/b?fieldManager={}"
    bodies = {v: {"apiVersion": f"example.com/{v}", "kind": "Box", "metadata": {"name": "b"}} for v in ("v1", "v2")}

    one, _ = await ask("PATCH", boxes.format("v1", "one"), {**bodies["v1"], "spec": {"size": 1}}, content_type=APPLY)
    two, refused = await ask("PATCH", boxes.format("v2", "two"), {**bodies["v2"], "spec": {"size": 2}}, content_type=APPLY)
    shared, found = await ask("PATCH", boxes.format("v2", "two"), {**bodies["v2"], "spec": {"size": 1}}, content_type=APPLY)

    assert (one, two, shared) == (201, 409, 200)
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.size'
    assert sorted((e["manager"], e["apiVersion"]) for e in found["metadata"]["managedFields"]) == [
        ("one", "example.com/v1"),
        ("two", "example.com/v2"),
    ]


async def test_lists_and_tables_show_who_manages(ask: Asker) -> None:
    await ask("POST", CONFIGMAPS, configmap("a", x="1"), user_agent="one")

    _, plain = await ask("GET", CONFIGMAPS)
    _, table = await ask("GET", CONFIGMAPS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")

    assert any(entries(o) == [("one", "Update", "")] for o in plain["items"])
    assert any(entries(row["object"]) == [("one", "Update", "")] for row in table["rows"])


async def test_who_may_only_patch_does_not_create_by_applying(ask: Asker) -> None:
    rules = [{"apiGroups": ["", "rbac.authorization.k8s.io"], "resources": ["configmaps", "roles"], "verbs": ["get", "patch", "update"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "patcher"}, "rules": rules}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "patcher"}
    binding = {**role, "kind": "ClusterRoleBinding", "roleRef": ref, "subjects": [{"kind": "User", "name": "p"}]}
    del binding["rules"]
    await ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    await ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    patcher = ask.as_user(User("p", ("system:authenticated",)))
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"

    refused, answer = await patcher("PATCH", f"{CONFIGMAPS}/a?fieldManager=m", configmap("a", x="1"), content_type=APPLY)
    put, _ = await patcher("PUT", f"{roles}/r", {**role, "kind": "Role", "metadata": {"name": "r"}, "rules": []})
    await ask("POST", CONFIGMAPS, configmap("a"))
    allowed, _ = await patcher("PATCH", f"{CONFIGMAPS}/a?fieldManager=m", configmap("a", x="1"), content_type=APPLY)

    assert (refused, put, allowed) == (403, 403, 200)
    assert 'cannot create resource "configmaps" in API group ""' in answer["message"]


async def test_a_controller_applies_without_http(ask: Asker, server: ApiServer) -> None:
    api = LocalApi(server.registry)
    wanted = {"metadata": {"name": "a", "namespace": "default"}, "data": {"x": "1"}}

    made = await api.apply(CONFIG_MAPS, wanted, manager="controller")
    again = await api.apply(CONFIG_MAPS, wanted, manager="controller")

    assert entries(made) == [("controller", "Apply", "")]
    assert again == made


class Meddler:
    """Admission outside that writes what it likes into managedFields."""

    def __init__(self, entries: Any) -> None:
        self._entries = entries

    def mutating(self, asked: Admission) -> Awaitable[None]:
        return self._meddle(asked)

    async def _meddle(self, asked: Admission) -> None:
        assert asked.new is not None
        asked.new["metadata"]["managedFields"] = self._entries

    def validating(self, asked: Admission) -> None:
        return None

    below = validating


async def test_managed_fields_that_a_webhook_spoiled_are_put_back(server: ApiServer, ask: Asker) -> None:
    server.chain.outside = Meddler([{"manager": "x", "operation": "Neither"}])

    made = await ask.raw("POST", CONFIGMAPS, configmap("a", x="1"), user_agent="one")
    _, changed = await ask("PATCH", f"{CONFIGMAPS}/a", {"data": {"x": "2"}}, content_type=MERGE, user_agent="one")

    assert "in an invalid state after admission" in str(made.headers)
    assert entries(changed) == [("one", "Update", "")]


async def test_a_scale_is_applied_as_the_replicas_of_what_it_scales(ask: Asker) -> None:
    await ask("PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", deployment(replicas=1), content_type=APPLY)
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 3}}

    refused, answer = await ask("PATCH", f"{DEPLOYMENTS}/d/scale?fieldManager=s", scale, content_type=APPLY)
    forced, found = await ask("PATCH", f"{DEPLOYMENTS}/d/scale?fieldManager=s&force=true", scale, content_type=APPLY)
    other, _ = await ask("PATCH", f"{DEPLOYMENTS}/d/scale?fieldManager=s", deployment(), content_type=APPLY)

    assert (refused, forced, other) == (409, 200, 400)
    assert answer["message"] == 'Apply failed with 1 conflict: conflict with "m": .spec.replicas'
    assert (found["kind"], found["spec"]) == ("Scale", {"replicas": 3})
    _, obj = await ask("GET", f"{DEPLOYMENTS}/d")
    assert (obj["spec"]["replicas"], sorted(entries(obj))) == (3, [("m", "Apply", ""), ("s", "Apply", "scale")])
