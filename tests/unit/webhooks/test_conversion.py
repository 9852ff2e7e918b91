"""Conversion webhooks: an object is written and read in any version that its kind has, and stored in one."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from aiohttp import web

from skerry.apiserver.registry import watch
from skerry.apiserver.server import ApiServer
from skerry.apiserver.store import Key
from skerry.apiserver.webhooks import conversion
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap
from tests.unit.webhooks.serving import Served

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OLD, NEW = "/apis/example.com/v1/namespaces/default/gauges", "/apis/example.com/v2/namespaces/default/gauges"


def schema(field: str) -> dict[str, Any]:
    extra = {"type": "integer", "default": 7}
    spec = {"type": "object", "properties": {field: {"type": "string"}, "level": extra}}
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}


def crd(hook: Served, *, storage: str = "v1") -> dict[str, Any]:
    client = hook.url("/convert")
    versions = [{"name": v, "served": True, "storage": v == storage, "schema": schema(f)} for v, f in (("v1", "host"), ("v2", "address"))]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gauges.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "gauges", "kind": "Gauge"},
            "versions": versions,
            "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}},
        },
    }


class Converter:
    """Renames `host` to `address` and back; `change` may spoil what is returned."""

    def __init__(self, hook: Served) -> None:
        self.asked: list[tuple[str, int]] = []
        self.spoken: set[str] = set()
        self.spoil: dict[str, Any] | None = None
        hook.handle = self.handle  # type: ignore[method-assign]

    async def handle(self, request: web.Request) -> web.Response:
        review = json.loads(await request.read())
        asked = review["request"]
        self.asked.append((asked["desiredAPIVersion"], len(asked["objects"])))
        self.spoken.add(review["apiVersion"])
        objects = [self._converted(o, asked["desiredAPIVersion"]) for o in asked["objects"]]
        response = {"uid": asked["uid"], "result": {"status": "Success"}, "convertedObjects": objects, **(self.spoil or {})}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})

    @staticmethod
    def _converted(obj: dict[str, Any], version: str) -> dict[str, Any]:
        spec = dict(obj.get("spec") or {})
        source, target = ("host", "address") if version.endswith("v2") else ("address", "host")
        if source in spec:
            spec[target] = spec.pop(source)
        return {**obj, "apiVersion": version, "spec": spec}


@pytest.fixture
def converter(hook: Served) -> Converter:
    return Converter(hook)


@pytest.fixture
async def served(server: ApiServer, ask: Asker, hook: Served, converter: Converter) -> Converter:
    status, answer = await ask("POST", CRDS, crd(hook))
    assert status == 201, answer
    await server.custom.settle_all()
    return converter


def gauge(name: str, version: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"example.com/{version}", "kind": "Gauge", "metadata": {"name": name}, "spec": spec}


async def test_what_is_written_in_one_version_is_read_in_the_other(server: ApiServer, ask: Asker, served: Converter) -> None:
    status, made = await ask("POST", NEW, gauge("g", "v2", address="here"))

    assert status == 201, made
    assert (made["apiVersion"], made["spec"]) == ("example.com/v2", {"address": "here", "level": 7})
    record = server.store.get(Key("gauges.example.com", "default", "g"))
    assert record is not None
    assert b'"host":"here"' in record.value
    assert (await ask("GET", f"{OLD}/g"))[1]["spec"] == {"host": "here", "level": 7}
    assert (await ask("GET", f"{NEW}/g"))[1]["spec"] == {"address": "here", "level": 7}


@pytest.mark.parametrize(("known", "spoken"), [(["v1alpha1", "v1beta1"], "v1beta1"), (["v1beta1", "v1"], "v1beta1"), (["v2", "v1"], "v1")])
async def test_a_webhook_is_asked_in_the_first_version_that_it_knows(
    server: ApiServer, ask: Asker, hook: Served, converter: Converter, known: list[str], spoken: str
) -> None:
    definition = crd(hook)
    definition["spec"]["conversion"]["webhook"]["conversionReviewVersions"] = known
    assert (await ask("POST", CRDS, definition))[0] == 201
    await server.custom.settle_all()

    status, made = await ask("POST", NEW, gauge("g", "v2", address="here"))

    assert (status, made["spec"]) == (201, {"address": "here", "level": 7})
    assert converter.spoken == {f"apiextensions.k8s.io/{spoken}"}


async def test_an_object_at_one_revision_is_converted_once(ask: Asker, served: Converter) -> None:
    await ask("POST", OLD, gauge("g", "v1", host="here"))
    served.asked.clear()

    for _ in range(3):
        await ask("GET", f"{NEW}/g")

    assert served.asked == [("example.com/v2", 1)]


async def test_a_list_is_converted_in_one_request(ask: Asker, served: Converter) -> None:
    for i in range(5):
        await ask("POST", OLD, gauge(f"g{i}", "v1", host=str(i)))
    served.asked.clear()

    _, found = await ask("GET", NEW)

    assert [o["spec"]["address"] for o in found["items"]] == ["0", "1", "2", "3", "4"]
    assert {o["apiVersion"] for o in found["items"]} == {"example.com/v2"}
    assert served.asked == [("example.com/v2", 5)]


async def test_patch_and_delete_work_in_either_version(server: ApiServer, ask: Asker, served: Converter) -> None:
    await ask("POST", OLD, gauge("g", "v1", host="here"))

    status, changed = await ask("PATCH", f"{NEW}/g", {"spec": {"address": "there"}}, content_type=MERGE)

    assert (status, changed["spec"]["address"], changed["metadata"]["generation"]) == (200, "there", 2)
    assert (await ask("GET", f"{OLD}/g"))[1]["spec"]["host"] == "there"
    assert (await ask("DELETE", f"{NEW}/g"))[0] == 200
    assert server.store.get(Key("gauges.example.com", "default", "g")) is None


async def test_a_watch_shows_its_own_version(ask: Asker, served: Converter) -> None:
    await ask("POST", OLD, gauge("one", "v1", host="1"))
    events = await ask.watch(f"{NEW}?watch=true")
    first = await anext(events)
    await ask("POST", OLD, gauge("two", "v1", host="2"))
    second = await anext(events)
    await events.aclose()

    assert [(e["type"], e["object"]["apiVersion"], e["object"]["spec"]["address"]) for e in (first, second)] == [
        ("ADDED", "example.com/v2", "1"),
        ("ADDED", "example.com/v2", "2"),
    ]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"result": {"status": "Failure", "message": "no idea"}}, "no idea"),
        ({"convertedObjects": []}, "webhook returned 0 objects, expected 1"),
        (
            {"convertedObjects": [{"apiVersion": "example.com/v2", "kind": "Gauge", "metadata": {"name": "other"}}]},
            "webhook changed metadata.name",
        ),
        ({"convertedObjects": [{"apiVersion": "example.com/v1", "kind": "Gauge", "metadata": {}}]}, "expected 'example.com/v2'"),
        ({"uid": "x"}, "expected response.uid="),
    ],
)
async def test_a_conversion_that_fails_is_an_error_that_names_it(ask: Asker, served: Converter, spoil: dict[str, Any], why: str) -> None:
    await ask("POST", OLD, gauge("g", "v1", host="here"))
    served.spoil = spoil

    status, answer = await ask("GET", f"{NEW}/g")

    assert status == 500
    assert answer["message"].startswith("conversion webhook for example.com/v1, Kind=Gauge failed: ")
    assert why in answer["message"]
    assert (await ask("GET", f"{OLD}/g"))[0] == 200


async def test_objects_of_an_earlier_storage_version_stay_readable(server: ApiServer, ask: Asker, hook: Served, served: Converter) -> None:
    await ask("POST", OLD, gauge("g", "v1", host="here"))
    _, present = await ask("GET", f"{CRDS}/gauges.example.com")
    versions = crd(hook, storage="v2")["spec"]["versions"]

    status, changed = await ask("PATCH", f"{CRDS}/gauges.example.com", {"spec": {"versions": versions}}, content_type=MERGE)
    await server.custom.settle_all()

    assert status == 200, changed
    assert present["status"]["storedVersions"] == ["v1"]
    assert changed["status"]["storedVersions"] == ["v1", "v2"]
    assert (await ask("GET", f"{NEW}/g"))[1]["spec"]["address"] == "here"
    assert (await ask("GET", f"{OLD}/g"))[1]["spec"]["host"] == "here"


async def test_a_kind_that_nobody_can_convert_is_refused(ask: Asker, hook: Served) -> None:
    body = crd(hook)
    body["spec"]["conversion"] = {"strategy": "Webhook"}

    status, answer = await ask("POST", CRDS, body)

    assert status == 422
    assert "spec.conversion.webhookClientConfig: Required value" in answer["message"]


@pytest.mark.parametrize(("policy", "seen"), [("Equivalent", ["example.com/v1"]), ("Exact", [])])
async def test_an_admission_webhook_sees_the_version_that_it_knows(
    ask: Asker, hook: Served, served: Converter, policy: str, seen: list[str]
) -> None:
    asked: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        if request.path != "/admit":
            return await served.handle(request)
        review = json.loads(await request.read())
        asked.append(review["request"])
        operation = {"op": "add", "path": "/spec/host", "value": "patched"}
        patch = base64.b64encode(json.dumps([operation]).encode()).decode()
        response = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})

    hook.handle = handle  # type: ignore[method-assign]
    rule = {"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["gauges"]}
    mutator = {"name": "m.example.com", "clientConfig": hook.url("/admit"), "rules": [rule], "matchPolicy": policy}
    body = {"metadata": {"name": "m"}, "webhooks": [{**mutator, "sideEffects": "None", "admissionReviewVersions": ["v1"]}]}
    await ask("POST", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", body)

    status, made = await ask("POST", NEW, gauge("g", "v2", address="here"))

    assert status == 201, made
    assert [a["object"]["apiVersion"] for a in asked] == seen
    assert made["spec"]["address"] == ("patched" if seen else "here")
    if seen:
        assert asked[0]["object"]["spec"]["host"] == "here"
        assert asked[0]["requestKind"]["version"] == "v2"


async def seen(events: AsyncGenerator[dict[str, Any], None]) -> list[dict[str, Any]]:
    """Return the events of a watch that ends by itself."""
    async with asyncio.timeout(60):
        return [event async for event in events]


async def test_a_watch_whose_first_objects_cannot_be_converted_says_so_and_ends(ask: Asker, served: Converter) -> None:
    await ask("POST", OLD, gauge("g", "v1", host="here"))
    served.spoil = {"result": {"status": "Failure", "message": "no idea"}}

    [event] = await seen(await ask.watch(f"{NEW}?watch=true"))

    assert (event["type"], event["object"]["code"]) == ("ERROR", 500)
    assert event["object"]["message"].endswith("failed: no idea")


async def test_a_watch_whose_next_object_cannot_be_converted_says_so_and_ends(ask: Asker, served: Converter) -> None:
    await ask("POST", OLD, gauge("one", "v1", host="1"))
    events = await ask.watch(f"{NEW}?watch=true")
    first = await anext(events)
    served.spoil = {"convertedObjects": []}
    await ask("POST", OLD, gauge("two", "v1", host="2"))

    [event] = await seen(events)

    assert (first["type"], event["type"], event["object"]["code"]) == ("ADDED", "ERROR", 500)


async def test_a_watch_of_an_object_that_cannot_be_kept_says_so_and_ends(
    ask: Asker, served: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask("POST", OLD, gauge("g", "v1", host="here"))
    monkeypatch.setattr(conversion, "MAX_KEPT_BYTES", 0)

    [event] = await seen(await ask.watch(f"{NEW}?watch=true"))

    assert (event["type"], event["object"]["code"]) == ("ERROR", 500)
    assert "at once" in event["object"]["message"]


async def test_a_watch_shows_more_than_can_be_kept_at_once(ask: Asker, served: Converter, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(9):
        await ask("POST", OLD, gauge(f"g{i}", "v1", host="x" * 9000))
    monkeypatch.setattr(conversion, "MAX_KEPT_BYTES", 40_000)
    monkeypatch.setattr(watch, "MAX_TOGETHER_BYTES", 30_000)
    events = await ask.watch(f"{NEW}?watch=true")

    found = [(await anext(events))["object"]["metadata"]["name"] for _ in range(9)]

    await events.aclose()
    assert found == [f"g{i}" for i in range(9)]


async def test_what_a_watch_shows_is_not_lost_while_others_ask(ask: Asker, served: Converter, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        await ask("POST", OLD, gauge(f"g{i}", "v1", host="x" * 9000))
    monkeypatch.setattr(watch, "MAX_CHUNK_BYTES", 1)
    events = await ask.watch(f"{NEW}?watch=true")
    first = await anext(events)
    monkeypatch.setattr(conversion, "MAX_KEPT_BYTES", 0)
    await ask("POST", NEW, gauge("other", "v2", address="x"))

    rest = [(await anext(events))["object"]["metadata"]["name"] for _ in range(3)]

    await events.aclose()
    assert [first["object"]["metadata"]["name"], *rest] == ["g0", "g1", "g2", "g3"]


@pytest.mark.parametrize(("version", "status"), [("v1", 201), ("v2", 422)])
async def test_a_policy_does_not_wait_for_its_parameters_to_be_converted(ask: Asker, served: Converter, version: str, status: int) -> None:
    await ask("POST", OLD, gauge("limits", "v1", host="here"))
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    spec = {
        "paramKind": {"apiVersion": f"example.com/{version}", "kind": "Gauge"},
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "params.spec.host == 'here'"}],
    }
    group = "/apis/admissionregistration.k8s.io/v1"
    await ask("POST", f"{group}/validatingadmissionpolicies", {"metadata": {"name": "p"}, "spec": spec})
    ref = {"name": "limits", "parameterNotFoundAction": "Deny"}
    bound = {"policyName": "p", "validationActions": ["Deny"], "paramRef": ref}
    await ask("POST", f"{group}/validatingadmissionpolicybindings", {"metadata": {"name": "b"}, "spec": bound})

    found, answer = await ask("POST", CONFIGMAPS, configmap("c"))

    assert found == status, answer
    assert "name the stored version" in answer.get("message", "name the stored version")


QUOTAS = "/api/v1/namespaces/default/resourcequotas"


async def test_a_quota_holds_while_objects_are_converted_for_the_store(ask: Asker, served: Converter) -> None:
    await ask("POST", QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"count/gauges.example.com": "1"}}})

    answers = await asyncio.gather(*[ask("POST", NEW, gauge(f"g{i}", "v2", address="here")) for i in range(3)])

    assert sorted(status for status, _ in answers) == [201, 403, 403]


async def test_nothing_is_made_in_a_namespace_that_went_while_it_was_converted(ask: Asker, hook: Served, served: Converter) -> None:
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "site"}})

    async def meanwhile(request: web.Request) -> web.Response:
        await ask("DELETE", "/api/v1/namespaces/site")
        return await served.handle(request)

    hook.handle = meanwhile  # type: ignore[method-assign]

    status, answer = await ask("POST", NEW.replace("default", "site"), gauge("g", "v2", address="here"))

    assert (status, "being terminated" in answer["message"]) == (403, True), answer
