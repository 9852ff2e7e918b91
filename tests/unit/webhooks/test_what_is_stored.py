"""What is stored of an object that webhooks had in hand: generation, status, owners of fields.

As in kube-apiserver, who owns a field is settled before webhooks are asked, and what the server itself says of an object (its status
where that is a subresource, its generation) after them.
"""

from __future__ import annotations

from typing import Any

import pytest

from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap, pod
from tests.unit.webhooks.serving import Served, patching
from tests.unit.webhooks.test_admission import configure, hook_of

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GAUGES = "/apis/example.com/v1/namespaces/default/gauges"


def rule(*resources: str, group: str = "") -> dict[str, Any]:
    return {"operations": ["*"], "apiGroups": [group], "apiVersions": ["*"], "resources": list(resources)}


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    found = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": found}


def gauges() -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    names = {"plural": "gauges", "kind": "Gauge"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gauges.example.com"},
        "spec": spec,
    }


def replaced(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def managers(obj: dict[str, Any]) -> list[tuple[str, str]]:
    return [(e["manager"], e.get("subresource", "")) for e in obj["metadata"].get("managedFields", [])]


@pytest.mark.parametrize(
    ("asked", "hooked", "generation"),
    [
        ({"metadata": {"labels": {"l": "1"}}}, [], 1),
        ({"metadata": {"labels": {"l": "1"}}}, [replaced("/spec/replicas", 5)], 2),
        ({"spec": {"replicas": 4}}, [replaced("/spec/replicas", 5)], 2),
        ({"spec": {"replicas": 4}}, [replaced("/spec/replicas", 1)], 1),
        ({"spec": {"replicas": 4}}, [replaced("/metadata/generation", 9)], 2),
        ({"metadata": {"labels": {"l": "1"}}}, [replaced("/status/replicas", 9)], 1),
    ],
)
async def test_the_generation_counts_what_is_left_after_webhooks(
    ask: Asker, hook: Served, asked: Any, hooked: list[dict[str, Any]], generation: int
) -> None:
    await ask("POST", DEPLOYMENTS, deployment())
    await configure(ask, "Mutating", hook_of(hook.url(), rules=[rule("deployments", group="apps")]))
    hook.answer = patching(*hooked)

    status, changed = await ask("PATCH", f"{DEPLOYMENTS}/d", asked, content_type=MERGE)

    assert (status, changed["metadata"]["generation"]) == (200, generation)
    assert "replicas" not in changed["status"]
    assert hook.asked[0]["object"]["metadata"]["generation"] == 1


async def test_a_change_that_a_webhook_takes_back_is_no_change(ask: Asker, hook: Served) -> None:
    _, made = await ask("POST", DEPLOYMENTS, deployment())
    await configure(ask, "Mutating", hook_of(hook.url(), rules=[rule("deployments", group="apps")]))
    hook.answer = patching(replaced("/spec/replicas", 1))

    _, changed = await ask("PATCH", f"{DEPLOYMENTS}/d", {"spec": {"replicas": 4}}, content_type=MERGE)

    assert changed["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


@pytest.mark.parametrize(("subresource", "generation"), [("status", 1), ("scale", 2)])
async def test_a_webhook_for_a_subresource_changes_no_more_than_it(ask: Asker, hook: Served, subresource: str, generation: int) -> None:
    await ask("POST", DEPLOYMENTS, deployment())
    await configure(ask, "Mutating", hook_of(hook.url(), rules=[rule("deployments/status", group="apps")]))
    hook.answer = patching(replaced("/spec/replicas", 5), replaced("/status/observedGeneration", 7))
    body = {"status": {"replicas": 2}} if subresource == "status" else {"spec": {"replicas": 2}}

    status, _ = await ask("PATCH", f"{DEPLOYMENTS}/d/{subresource}", body, content_type=MERGE)

    _, found = await ask("GET", f"{DEPLOYMENTS}/d")
    assert (status, found["metadata"]["generation"]) == (200, generation)
    assert found["spec"]["replicas"] == (1 if subresource == "status" else 2)
    assert found["status"] == ({"replicas": 2, "observedGeneration": 7} if subresource == "status" else {})


async def test_a_new_object_gets_no_status_and_no_generation_from_a_webhook(ask: Asker, hook: Served) -> None:
    await configure(ask, "Mutating", hook_of(hook.url(), rules=[rule("deployments", group="apps")]))
    hook.answer = patching(
        replaced("/status", {"replicas": 9}),
        replaced("/metadata/generation", 7),
        replaced("/metadata/deletionTimestamp", "2020-01-01T00:00:00Z"),
    )

    status, made = await ask("POST", DEPLOYMENTS, deployment())

    assert (status, made["metadata"]["generation"], made["status"]) == (201, 1, {})
    assert "deletionTimestamp" not in made["metadata"]
    assert "generation" not in hook.asked[0]["object"]["metadata"]


async def test_the_quality_of_a_new_pod_is_that_of_what_a_webhook_left(ask: Asker, hook: Served) -> None:
    await configure(ask, "Mutating", hook_of(hook.url(), rules=[rule("pods")]))
    hook.answer = patching(replaced("/spec/containers/0/resources", {"limits": {"cpu": "1", "memory": "1Gi"}}))

    _, made = await ask("POST", PODS, pod("p"))

    assert made["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert made["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}


async def test_the_quality_of_a_new_pod_is_that_of_what_a_limit_range_left(ask: Asker) -> None:
    limits = [{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}}]
    body = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": limits}}
    await ask("POST", "/api/v1/namespaces/default/limitranges", body)

    _, made = await ask("POST", PODS, pod("p"))

    assert made["status"]["qosClass"] == "Guaranteed"


async def test_what_a_webhook_adds_is_nobodys(ask: Asker, hook: Served) -> None:
    await configure(ask, "Mutating", hook_of(hook.url()))
    hook.answer = patching(replaced("/data/added", "yes"))

    _, made = await ask("POST", f"{CONFIGMAPS}?fieldManager=one", configmap("c", a="1"))
    _, changed = await ask("PATCH", f"{CONFIGMAPS}/c?fieldManager=two", {"data": {"b": "2"}}, content_type=MERGE)

    owned = {e["manager"]: e["fieldsV1"]["f:data"] for e in changed["metadata"]["managedFields"]}
    assert made["data"] == {"a": "1", "added": "yes"}
    assert owned == {"one": {".": {}, "f:a": {}}, "two": {"f:b": {}}}


async def test_a_webhook_may_say_who_owns_what(ask: Asker, hook: Served) -> None:
    await configure(ask, "Mutating", hook_of(hook.url()))
    hook.answer = patching(replaced("/metadata/managedFields/0/manager", "other"))

    _, made = await ask("POST", f"{CONFIGMAPS}?fieldManager=one", configmap("c", a="1"))

    assert managers(made) == [("other", "")]


async def test_a_webhook_that_spoils_the_owners_is_told_so(ask: Asker, hook: Served) -> None:
    await configure(ask, "Mutating", hook_of(hook.url()))
    hook.answer = patching(replaced("/metadata/managedFields/0/operation", "Neither"))

    made = await ask.raw("POST", f"{CONFIGMAPS}?fieldManager=one", configmap("c", a="1"))

    assert "in an invalid state after admission" in str(made.headers)
    assert managers((await ask("GET", f"{CONFIGMAPS}/c"))[1]) == [("one", "")]


async def test_who_writes_a_custom_status_owns_it_whatever_a_webhook_adds(server: ApiServer, ask: Asker, hook: Served) -> None:
    await ask("POST", CRDS, gauges())
    await server.custom.settle_all()
    body = {"apiVersion": "example.com/v1", "kind": "Gauge", "metadata": {"name": "g"}, "spec": {"a": 1}}
    await ask("POST", f"{GAUGES}?fieldManager=one", body)
    await configure(ask, "Mutating", hook_of(hook.url(), rules=[rule("gauges/status", group="example.com")]))
    hook.answer = patching(replaced("/status/added", 1), replaced("/spec/a", 2))

    _, changed = await ask("PATCH", f"{GAUGES}/g/status?fieldManager=two", {"status": {"b": 1}}, content_type=MERGE)

    assert (changed["spec"], changed["status"], changed["metadata"]["generation"]) == ({"a": 1}, {"b": 1, "added": 1}, 1)
    assert managers(changed) == [("one", ""), ("two", "status")]
