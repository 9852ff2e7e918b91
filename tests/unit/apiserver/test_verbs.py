"""Create, update, patch and delete, as clients of Kubernetes know them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap, pod

PODS = "/api/v1/namespaces/default/pods"


async def test_the_server_owns_what_it_sets(ask: Asker) -> None:
    draft = configmap("a")
    draft["metadata"] |= {
        "uid": "mine",
        "creationTimestamp": "2001-01-01T00:00:00Z",
        "selfLink": "/x",
        "deletionTimestamp": "2001-01-01T00:00:00Z",
    }

    status, made = await ask("POST", CONFIGMAPS, draft)

    assert status == 201
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["creationTimestamp"] > "2020"
    assert not {"selfLink", "deletionTimestamp"} & set(made["metadata"])


async def test_a_dry_run_stores_nothing_and_has_no_revision(server: ApiServer, ask: Asker) -> None:
    before = server.store.revision

    status, made = await ask("POST", f"{CONFIGMAPS}?dryRun=All", configmap("a", k="v"))

    assert (status, made["data"], made["metadata"].get("resourceVersion")) == (201, {"k": "v"}, None)
    assert server.store.revision == before
    assert (await ask("GET", f"{CONFIGMAPS}/a"))[0] == 404


async def test_unknown_fields_are_warned_of_refused_or_ignored(ask: Asker) -> None:
    draft = {**configmap("a"), "nonsense": 1, "folly": 2}

    warned = await ask.raw("POST", f"{CONFIGMAPS}?dryRun=All", draft)
    strict = await ask("POST", f"{CONFIGMAPS}?fieldValidation=Strict", draft)
    ignored = await ask.raw("POST", f"{CONFIGMAPS}?dryRun=All&fieldValidation=Ignore", draft)

    assert warned.headers["Warning"] == ('299 - "unknown field \\"nonsense\\""', '299 - "unknown field \\"folly\\""')
    assert strict[0] == 400
    assert 'strict decoding error: unknown field "nonsense", unknown field "folly"' in strict[1]["message"]
    assert "Warning" not in ignored.headers


async def test_nothing_is_made_in_a_namespace_that_is_not_there_or_going(ask: Asker) -> None:
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "old"}})
    await ask("DELETE", "/api/v1/namespaces/old")

    missing = await ask("POST", "/api/v1/namespaces/none/configmaps", configmap("a"))
    going = await ask("POST", "/api/v1/namespaces/old/configmaps", configmap("a"))

    assert (missing[0], missing[1]["message"]) == (404, 'namespaces "none" not found')
    assert (going[0], going[1]["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")


async def test_a_namespace_ends_when_it_is_finalized(ask: Asker) -> None:
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "old"}})
    _, going = await ask("DELETE", "/api/v1/namespaces/old")

    going["spec"]["finalizers"] = []
    status, _ = await ask("PUT", "/api/v1/namespaces/old/finalize", going)

    assert going["status"]["phase"] == "Terminating"
    assert status == 200
    assert (await ask("GET", "/api/v1/namespaces/old"))[0] == 404


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_stay(ask: Asker, name: str) -> None:
    status, answer = await ask("DELETE", f"/api/v1/namespaces/{name}")

    assert (status, answer["message"]) == (403, f'namespaces "{name}" is forbidden: this namespace may not be deleted')


async def test_many_patches_at_once_all_arrive(ask: Asker) -> None:
    await ask("POST", CONFIGMAPS, configmap("a"))

    answers = await asyncio.gather(*[ask("PATCH", f"{CONFIGMAPS}/a", {"data": {f"k{i}": str(i)}}, content_type=MERGE) for i in range(8)])

    assert {status for status, _ in answers} == {200}
    assert (await ask("GET", f"{CONFIGMAPS}/a"))[1]["data"] == {f"k{i}": str(i) for i in range(8)}


async def test_of_two_replacements_of_one_revision_one_is_refused(ask: Asker) -> None:
    _, made = await ask("POST", CONFIGMAPS, configmap("a"))

    answers = await asyncio.gather(*[ask("PUT", f"{CONFIGMAPS}/a", {**made, "data": {"k": v}}) for v in ("1", "2")])

    assert sorted(status for status, _ in answers) == [200, 409]


async def test_a_write_that_changes_nothing_keeps_the_revision_and_wakes_nobody(server: ApiServer, ask: Asker) -> None:
    _, made = await ask("POST", CONFIGMAPS, configmap("a", k="v"))
    before = server.store.revision

    _, put = await ask("PUT", f"{CONFIGMAPS}/a", configmap("a", k="v"))
    _, patched = await ask("PATCH", f"{CONFIGMAPS}/a", {"data": {"k": "v"}}, content_type=MERGE)

    assert put == patched == made
    assert server.store.revision == before


async def test_a_pod_that_runs_gets_its_grace_and_shorter_wins(ask: Asker) -> None:
    await ask("POST", PODS, pod("p", node="n1"))

    _, first = await ask("DELETE", f"{PODS}/p")
    _, second = await ask("DELETE", f"{PODS}/p?gracePeriodSeconds=5")
    _, longer = await ask("DELETE", f"{PODS}/p?gracePeriodSeconds=50")
    status, gone = await ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})

    grace = [o["metadata"]["deletionGracePeriodSeconds"] for o in (first, second, longer)]
    assert grace == [30, 5, 5]
    assert (status, gone["kind"]) == (200, "Pod")
    assert (await ask("GET", f"{PODS}/p"))[0] == 404


async def test_deleting_a_collection_takes_what_is_selected(ask: Asker) -> None:
    for i in range(5):
        await ask("POST", CONFIGMAPS, configmap(f"c{i}", labels={"odd": str(i % 2)}))

    _, deleted = await ask("DELETE", f"{CONFIGMAPS}?labelSelector=odd=1")
    _, left = await ask("GET", CONFIGMAPS)

    assert [o["metadata"]["name"] for o in deleted["items"]] == ["c1", "c3"]
    assert [o["metadata"]["name"] for o in left["items"]] == ["c0", "c2", "c4"]


async def test_pages_are_one_snapshot(ask: Asker) -> None:
    for i in range(5):
        await ask("POST", CONFIGMAPS, configmap(f"c{i}"))

    _, first = await ask("GET", f"{CONFIGMAPS}?limit=2")
    await ask("DELETE", f"{CONFIGMAPS}/c3")
    await ask("POST", CONFIGMAPS, configmap("c31"))
    _, rest = await ask("GET", f"{CONFIGMAPS}?continue={first['metadata']['continue']}")

    names = [o["metadata"]["name"] for o in first["items"] + rest["items"]]
    assert names == ["c0", "c1", "c2", "c3", "c4"]
    assert first["metadata"]["remainingItemCount"] == 3
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_the_runtime_class_of_a_pod_must_exist_and_says_where_it_runs(ask: Asker) -> None:
    status, made = await ask("POST", PODS, pod("p", runtimeClassName="process"))
    refused = await ask("POST", PODS, pod("q", runtimeClassName="nonsense"))

    assert (status, made["spec"]["nodeSelector"]) == (201, {"runtime.skerry.dev/process": "true"})
    assert (refused[0], refused[1]["message"]) == (403, 'pods "q" is forbidden: pod rejected: RuntimeClass "nonsense" not found')


async def test_a_pod_gets_an_account_and_patience_with_silent_nodes(ask: Asker) -> None:
    _, made = await ask("POST", PODS, pod("p"))

    keys = [(t["key"], t["effect"], t["tolerationSeconds"]) for t in made["spec"]["tolerations"]]
    assert made["spec"]["serviceAccountName"] == "default"
    assert keys == [(f"node.kubernetes.io/{k}", "NoExecute", 300) for k in ("not-ready", "unreachable")]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", f"{CONFIGMAPS}/a", 405),
        ("PUT", CONFIGMAPS, 405),
        ("DELETE", "/api/v1/configmaps", 405),
        ("GET", f"{CONFIGMAPS}/a/status", 404),
        ("GET", "/api/v1/namespaces/default/podz", 404),
        ("GET", "/apis/nothing.example.com/v1/things", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("BREW", CONFIGMAPS, 405),
        ("GET", f"{CONFIGMAPS}?limit=many", 400),
        ("GET", f"{CONFIGMAPS}?labelSelector=a=b=c", 400),
        ("GET", f"{CONFIGMAPS}?fieldSelector=data.x=1", 400),
        ("POST", f"{CONFIGMAPS}?dryRun=Some", 422),
    ],
)
async def test_what_cannot_be_asked_is_refused(ask: Asker, method: str, path: str, code: int) -> None:
    assert (await ask(method, path, configmap("a")))[0] == code


async def test_a_server_side_apply_names_its_manager(ask: Asker) -> None:
    status, answer = await ask("PATCH", f"{CONFIGMAPS}/a?force=true", configmap("a"), content_type="application/apply-patch+yaml")

    assert status == 422
    assert 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch' in answer["message"]


async def test_a_server_side_apply_creates_and_owns(ask: Asker) -> None:
    status, answer = await ask(
        "PATCH", f"{CONFIGMAPS}/a?fieldManager=m", configmap("a", x="1"), content_type="application/apply-patch+yaml"
    )

    assert status == 201
    assert [(e["manager"], e["operation"], e["fieldsV1"]) for e in answer["metadata"]["managedFields"]] == [
        ("m", "Apply", {"f:data": {"f:x": {}}})
    ]


@pytest.mark.parametrize(("form", "kind"), [("Table", "Table"), ("PartialObjectMetadataList", "PartialObjectMetadataList")])
async def test_lists_come_in_other_forms(ask: Asker, form: str, kind: str) -> None:
    await ask("POST", CONFIGMAPS, configmap("a", k="v"))

    _, found = await ask("GET", CONFIGMAPS, accept=f"application/json;as={form};v=v1;g=meta.k8s.io")

    assert found["kind"] == kind
    rows: list[Any] = found.get("rows") or found["items"]
    assert rows[0].get("cells", ["a"])[0] == "a"


async def test_an_object_comes_as_yaml(ask: Asker) -> None:
    await ask("POST", CONFIGMAPS, configmap("a", k="v"))

    response = await ask.raw("GET", f"{CONFIGMAPS}/a", accept="application/yaml")

    assert response.headers["Content-Type"] == "application/yaml"
    assert isinstance(response.body, bytes)
    assert b"data:\n  k: v\n" in response.body


async def test_scale_reads_and_writes_replicas(ask: Asker) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}
    draft = {"metadata": {"name": "d"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}}
    path = "/apis/apps/v1/namespaces/default/deployments"
    await ask("POST", path, draft)

    _, scale = await ask("GET", f"{path}/d/scale")
    _, changed = await ask("PATCH", f"{path}/d/scale", {"spec": {"replicas": 5}}, content_type=MERGE)
    refused = await ask("PATCH", f"{path}/d/scale", {"spec": {"replicas": -1}}, content_type=MERGE)
    _, deployment = await ask("GET", f"{path}/d")

    assert (scale["spec"]["replicas"], scale["status"]["selector"], changed["spec"]["replicas"]) == (2, "a=b", 5)
    assert refused[0] == 422
    assert (deployment["spec"]["replicas"], deployment["metadata"]["generation"]) == (5, 2)


async def test_who_writes_a_role_must_hold_what_it_grants(ask: Asker) -> None:
    from skerry.apiserver.http.message import User

    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    binding = {
        "metadata": {"name": "bob"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}],
    }
    assert (await ask("POST", f"{rbac}/rolebindings", binding))[0] == 201
    bob = ask.as_user(User("bob", ("system:authenticated",)))

    def role(resource: str) -> dict[str, Any]:
        return {"metadata": {"name": resource}, "rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]}

    held = await bob("POST", f"{rbac}/roles", role("pods"))
    more = await bob("POST", f"{rbac}/roles", role("nodes"))
    bound = await bob(
        "POST",
        f"{rbac}/rolebindings",
        msgspec.json.decode(msgspec.json.encode(binding).replace(b'"admin"', b'"cluster-admin"').replace(b'"bob"', b'"b2"', 1)),
    )

    assert [r[0] for r in (held, more, bound)] == [201, 403, 403]
    assert "is attempting to grant RBAC permissions not currently held" in more[1]["message"]


async def test_who_writes_the_status_writes_nothing_else(ask: Asker) -> None:
    draft = pod("p", node="n1")
    draft["metadata"]["finalizers"] = ["example.com/hold"]
    await ask("POST", PODS, draft)
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "1"}
    patch = {
        "metadata": {"finalizers": None, "ownerReferences": [owner]},
        "spec": {"nodeName": "n2", "activeDeadlineSeconds": 5},
        "status": {"phase": "Running"},
    }

    status, found = await ask("PATCH", f"{PODS}/p/status", patch, content_type=MERGE)

    assert (status, found["status"]["phase"], found["spec"]["nodeName"]) == (200, "Running", "n1")
    assert "activeDeadlineSeconds" not in found["spec"]
    assert found["metadata"]["finalizers"] == ["example.com/hold"]
    assert "ownerReferences" not in found["metadata"]


async def test_an_object_does_not_grow_past_its_limit(ask: Asker) -> None:
    """Defaults made 13 MB of a patch of 3 MB, and a 500 (input 15)."""
    assert (await ask("POST", "/api/v1/nodes", {"metadata": {"name": "n"}}))[0] == 201
    empties = b'{"status":{"images":[' + b"{}," * 900_000 + b"{}]}}"

    status, answer = await ask("PATCH", "/api/v1/nodes/n/status", empties, content_type=MERGE)

    assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_name_is_refused_only_once_who_took_it_has_it_for_sure(ask: Asker) -> None:
    answered = []

    async def create() -> None:
        status, _ = await ask("POST", CONFIGMAPS, configmap("a"))
        answered.append((status, (await ask("GET", f"{CONFIGMAPS}/a"))[0]))

    await asyncio.gather(create(), create())

    assert sorted(answered) == [(201, 200), (409, 200)]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["pods/p/eviction", "pods/p/binding", "serviceaccounts/default/token"])
async def test_what_only_a_post_does_no_other_method_does(ask: Asker, method: str, path: str) -> None:
    """Each method is authorised as a verb of its own: who may only read would else make tokens and evict Pods."""
    await ask("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}} if "eviction" in path else {}

    status, _ = await ask(method, f"/api/v1/namespaces/default/{path}", body)

    assert status == 405
    assert (await ask("GET", "/api/v1/namespaces/default/pods/p"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "exec"), ("PUT", "attach"), ("PATCH", "portforward"), ("DELETE", "log"), ("POST", "log")]
)
async def test_streams_have_their_methods(ask: Asker, method: str, path: str) -> None:
    assert (await ask(method, f"/api/v1/namespaces/default/pods/p/{path}"))[0] == 405


async def test_an_object_is_no_way_to_say_how_to_delete_it(ask: Asker) -> None:
    await ask("POST", CONFIGMAPS, configmap("a"))

    status, answer = await ask("DELETE", f"{CONFIGMAPS}/a", configmap("a"))

    assert (status, answer["message"]) == (400, "the options provided are unrecognized: they are a ConfigMap, not DeleteOptions")
    assert (await ask("DELETE", f"{CONFIGMAPS}/a", {"apiVersion": "v1", "kind": "DeleteOptions"}))[0] == 200
