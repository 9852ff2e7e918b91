"""Admission webhooks over TLS: who is asked, what becomes of the answers, and what happens when there is none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from skerry.apiserver.http.message import User
from skerry.apiserver.server import ApiServer
from skerry.apiserver.webhooks import asking
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap, pod
from tests.unit.webhooks.serving import Served, allow, patching

GROUP = "/apis/admissionregistration.k8s.io/v1"
ANY = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


def hook_of(client: dict[str, Any], name: str = "check.example.com", **more: Any) -> dict[str, Any]:
    found = {"name": name, "clientConfig": client, "rules": [ANY], "sideEffects": "None", "admissionReviewVersions": ["v1"]}
    return {**found, "timeoutSeconds": 5, **more}


async def configure(ask: Asker, kind: str, *hooks: dict[str, Any], name: str = "checks") -> None:
    plural = f"{kind.lower()}webhookconfigurations"
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(hooks),
    }
    status, answer = await ask("POST", f"{GROUP}/{plural}", body)
    assert status == 201, answer


async def test_a_validating_webhook_is_asked_with_everything_it_may_know(ask: Asker, hook: Served) -> None:
    await configure(ask, "Validating", hook_of(hook.url("/check")))

    status, _ = await ask("POST", f"{CONFIGMAPS}?fieldManager=me", configmap("c", a="1"))

    assert status == 201
    [asked] = hook.asked
    assert hook.paths == ["/check?timeout=5s"]
    assert asked["kind"] == asked["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert asked["resource"] == asked["requestResource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (asked["name"], asked["namespace"], asked["operation"], asked["dryRun"]) == ("c", "default", "CREATE", False)
    assert asked["userInfo"] == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
    assert asked["options"]["fieldManager"] == "me"
    assert asked["object"]["data"] == {"a": "1"}
    assert asked["oldObject"] is None


async def test_what_a_webhook_denies_is_refused_in_its_words(ask: Asker, hook: Served) -> None:
    await configure(ask, "Validating", hook_of(hook.url()))

    async def deny(request: dict[str, Any]) -> dict[str, Any]:
        return {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": "not today"}, "warnings": ["soon"]}

    hook.answer = deny
    status, answer = await ask("POST", CONFIGMAPS, configmap("c"))

    assert (status, answer["reason"]) == (403, "Forbidden")
    assert answer["message"] == 'admission webhook "check.example.com" denied the request: not today'
    assert (await ask("GET", f"{CONFIGMAPS}/c"))[0] == 404


async def test_what_a_webhook_warns_of_many_objects_is_told_once(ask: Asker, hook: Served) -> None:
    for i in range(3):
        await ask("POST", CONFIGMAPS, configmap(f"c{i}", labels={"of": "many"}))
    await configure(ask, "Validating", hook_of(hook.url()))

    async def warn(request: dict[str, Any]) -> dict[str, Any]:
        return {"allowed": True, "warnings": ["they are missed"]}

    hook.answer = warn
    answer = await ask.raw("DELETE", f"{CONFIGMAPS}?labelSelector=of%3Dmany")

    assert (len(hook.asked), answer.headers["Warning"]) == (3, ('299 - "they are missed"',))


async def test_a_denial_without_words_is_a_bad_request(ask: Asker, hook: Served) -> None:
    await configure(ask, "Validating", hook_of(hook.url()))

    async def deny(request: dict[str, Any]) -> dict[str, Any]:
        return {"allowed": False}

    hook.answer = deny
    status, answer = await ask("POST", CONFIGMAPS, configmap("c"))

    assert status == 400
    assert answer["message"] == 'admission webhook "check.example.com" denied the request without explanation'


async def test_a_mutating_webhook_changes_what_is_stored(ask: Asker, hook: Served) -> None:
    await configure(ask, "Mutating", hook_of(hook.url()))
    hook.answer = patching({"op": "add", "path": "/data/added", "value": "yes"}, {"op": "add", "path": "/zz", "value": 1})

    status, made = await ask("POST", CONFIGMAPS, configmap("c", a="1"))

    assert status == 201
    assert made["data"] == {"a": "1", "added": "yes"}
    assert "zz" not in made
    assert made["metadata"]["uid"]
    assert "uid" not in hook.asked[0]["object"]["metadata"]


async def test_updates_and_deletions_are_told_with_what_was_there(ask: Asker, hook: Served) -> None:
    await ask("POST", CONFIGMAPS, configmap("c", a="1"))
    await configure(ask, "Mutating", hook_of(hook.url()))

    await ask("PATCH", f"{CONFIGMAPS}/c", {"data": {"a": "2"}}, content_type=MERGE)
    await ask("DELETE", f"{CONFIGMAPS}/c")

    update, delete = hook.asked
    assert (update["operation"], update["oldObject"]["data"], update["object"]["data"]) == ("UPDATE", {"a": "1"}, {"a": "2"})
    assert (delete["operation"], delete["oldObject"]["data"], delete["object"]) == ("DELETE", {"a": "2"}, None)


async def test_a_name_that_the_server_makes_is_not_known_to_mutating_webhooks(ask: Asker, hook: Served) -> None:
    await configure(ask, "Mutating", hook_of(hook.url()))
    hook.answer = patching({"op": "add", "path": "/data", "value": {"x": "y"}})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}}

    _, made = await ask("POST", CONFIGMAPS, body)

    assert "name" not in hook.asked[0]
    assert "name" not in hook.asked[0]["object"]["metadata"]
    assert made["metadata"]["name"].startswith("g-")
    assert made["data"] == {"x": "y"}


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
@pytest.mark.parametrize("trouble", ["refused", "500", "garbage", "other uid", "redirect", "huge", "stranger"])
async def test_every_failure_ends_as_the_policy_says(ask: Asker, hook: Served, policy: str, trouble: str) -> None:
    client = hook.url()
    if trouble == "refused":
        client["url"] = "https://127.0.0.1:1/hook"
    if trouble == "stranger":
        del client["caBundle"]

    async def answer(request: dict[str, Any]) -> dict[str, Any] | web.Response:
        match trouble:
            case "500":
                return web.Response(status=500)
            case "garbage":
                return web.Response(text="hello")
            case "other uid":
                return {"allowed": True, "uid": "other"}
            case "redirect":
                return web.Response(status=302, headers={"Location": f"https://127.0.0.1:{hook.port}/elsewhere"})
            case "huge":
                return web.Response(body=b" " * (4 << 20))
        return await allow(request)

    hook.answer = answer
    await configure(ask, "Validating", hook_of(client, failurePolicy=policy))

    status, made = await ask("POST", CONFIGMAPS, configmap("c"))

    assert not any("elsewhere" in p for p in hook.paths)
    if policy == "Ignore":
        assert status == 201
    else:
        assert (status, made["reason"]) == (500, "InternalError")
        assert made["message"].startswith('Internal error occurred: failed calling webhook "check.example.com": ')
        expected = {"refused": "connect: connection refused", "stranger": "x509: certificate signed by unknown authority"}
        assert expected.get(trouble, "") in made["message"]


@pytest.mark.slow
async def test_a_webhook_that_hangs_holds_nobody_else(ask: Asker, hook: Served) -> None:
    never = asyncio.Event()

    async def hang(request: dict[str, Any]) -> dict[str, Any]:
        await never.wait()
        return {"allowed": True}

    hook.answer = hang
    await configure(ask, "Validating", hook_of(hook.url(), timeoutSeconds=30))
    waiting = asyncio.create_task(ask("POST", CONFIGMAPS, configmap("c")))
    while not hook.asked:
        await asyncio.sleep(0.01)

    others = await asyncio.gather(*[ask("POST", "/api/v1/namespaces", {"metadata": {"name": f"n{i}"}}) for i in range(20)])

    assert [s for s, _ in others] == [201] * 20
    assert not waiting.done()
    await ask("DELETE", f"{GROUP}/validatingwebhookconfigurations/checks")
    await configure(ask, "Validating", hook_of(hook.url(), timeoutSeconds=1), name="hurried")
    status, answer = await ask("POST", CONFIGMAPS, configmap("d"))
    never.set()
    assert status == 500
    assert answer["message"].endswith("context deadline exceeded")
    assert (await waiting)[0] == 201


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_all_webhooks_together_have_so_much_time_and_no_more(
    ask: Asker, hook: Served, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    never = asyncio.Event()

    async def hang(request: dict[str, Any]) -> dict[str, Any]:
        await never.wait()
        return {"allowed": True}

    hook.answer = hang
    monkeypatch.setattr(asking, "TOGETHER_S", 0.3)
    hooks = [hook_of(hook.url(), f"{c}.example.com", timeoutSeconds=30, failurePolicy=policy) for c in "ab"]
    await configure(ask, "Mutating", *hooks)

    status, answer = await ask("POST", CONFIGMAPS, configmap("c"))
    never.set()

    assert (status, answer["reason"]) == (504, "Timeout")
    assert len(hook.asked) <= 1
    assert hook.paths == ["/hook?timeout=1s"][: len(hook.paths)]


async def test_selectors_and_conditions_say_who_is_asked(ask: Asker, hook: Served) -> None:
    conditions = [{"name": "not-me", "expression": "request.userInfo.username != 'quiet' && object.data.a == '1'"}]
    selectors: dict[str, Any] = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "objectSelector": {"matchLabels": {"l": "1"}},
    }
    await configure(ask, "Validating", hook_of(hook.url(), matchConditions=conditions, **selectors))
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    quiet = ask.as_user(User("quiet", ("system:masters", "system:authenticated")))

    await ask("POST", "/api/v1/namespaces/other/configmaps", configmap("n", labels={"l": "1"}, a="1"))
    await ask("POST", CONFIGMAPS, configmap("no-label", a="1"))
    await ask("POST", CONFIGMAPS, configmap("no-match", labels={"l": "1"}, a="2"))
    await quiet("POST", CONFIGMAPS, configmap("quiet", labels={"l": "1"}, a="1"))
    await ask("POST", CONFIGMAPS, configmap("asked", labels={"l": "1"}, a="1"))

    assert [r["name"] for r in hook.asked] == ["asked"]


async def test_a_condition_that_cannot_be_evaluated_refuses_when_the_policy_is_to_fail(ask: Asker, hook: Served) -> None:
    await configure(ask, "Validating", hook_of(hook.url(), matchConditions=[{"name": "x", "expression": "object.zz == 1"}]))

    status, answer = await ask("POST", CONFIGMAPS, configmap("c"))

    assert status == 403
    assert "no such key: zz" in answer["message"]
    assert not hook.asked


async def test_a_dry_run_asks_only_who_has_no_side_effects(ask: Asker, hook: Served) -> None:
    await configure(ask, "Validating", hook_of(hook.url()))

    status, _ = await ask("POST", f"{CONFIGMAPS}?dryRun=All", configmap("c"))

    assert status == 201
    assert hook.asked[0]["dryRun"] is True
    assert hook.asked[0]["options"]["dryRun"] == ["All"]


async def test_webhooks_are_asked_again_when_they_want_to_be(ask: Asker, hook: Served) -> None:
    async def second_adds(request: dict[str, Any]) -> dict[str, Any] | web.Response:
        return (
            await patching({"op": "add", "path": "/data/late", "value": "1"})(request)
            if hook.paths[-1].startswith("/b")
            else await allow(request)
        )

    hook.answer = second_adds
    first = hook_of(hook.url("/a"), "a.example.com", reinvocationPolicy="IfNeeded")
    await configure(ask, "Mutating", first, hook_of(hook.url("/b"), "b.example.com"))

    await ask("POST", CONFIGMAPS, configmap("c", a="1"))

    assert [p.partition("?")[0] for p in hook.paths] == ["/a", "/b", "/a"]
    assert hook.asked[2]["object"]["data"]["late"] == "1"


async def test_a_service_is_reached_through_its_endpoints(ask: Asker, hook: Served) -> None:
    meta = {"name": "hook", "namespace": "default"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": hook.port}]},
    }
    assert (await ask("POST", "/api/v1/namespaces/default/services", service))[0] == 201
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": hook.port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }
    client = {"service": {"namespace": "default", "name": "hook", "path": "/svc"}, "caBundle": hook.bundle}
    await configure(ask, "Validating", hook_of(client))

    status, early = await ask("POST", CONFIGMAPS, configmap("early"))
    await ask("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice_)
    made, _ = await ask("POST", CONFIGMAPS, configmap("c"))

    assert status == 500
    assert 'no endpoints available for service "hook"' in early["message"]
    assert made == 201
    assert hook.paths == ["/svc?timeout=5s"]


async def test_nobody_is_asked_about_the_webhooks_themselves(ask: Asker, hook: Served) -> None:
    everything = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    await configure(ask, "Validating", hook_of(hook.url(), rules=[everything]))

    status, _ = await ask("DELETE", f"{GROUP}/validatingwebhookconfigurations/checks")

    assert status == 200
    assert not hook.asked


async def test_a_webhook_that_is_deleted_is_not_asked_any_more(ask: Asker, hook: Served) -> None:
    await configure(ask, "Validating", hook_of(hook.url()))
    await ask("DELETE", f"{GROUP}/validatingwebhookconfigurations/checks")

    await ask("POST", CONFIGMAPS, configmap("c"))

    assert not hook.asked


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"admissionReviewVersions": ["v1beta1"]}, "must include at least one of v1"),
        ({"clientConfig": {"url": "http://x/y"}}, "'https' is the only allowed URL scheme"),
        ({"timeoutSeconds": 31}, "the timeout value must be between 1 and 30 seconds"),
        ({"matchConditions": [{"name": "x", "expression": "object.a +"}]}, "compilation failed: ERROR: <input>:1:11: Syntax error"),
        ({"matchConditions": [{"name": "x", "expression": "'text'"}]}, "must evaluate to bool"),
        (
            {"matchConditions": [{"name": "x", "expression": "params.allowed"}]},
            "undeclared reference to 'params'",
        ),
    ],
)
async def test_a_configuration_that_cannot_work_is_refused(ask: Asker, change: dict[str, Any], why: str) -> None:
    body = {"metadata": {"name": "bad"}, "webhooks": [{**hook_of({"url": "https://x/y"}), **change}]}

    status, answer = await ask("POST", f"{GROUP}/validatingwebhookconfigurations", body)

    assert status == 422
    assert why in answer["message"]


async def test_a_server_without_webhooks_waits_for_nobody(server: ApiServer, ask: Asker) -> None:
    assert server.chain.outside is not None

    status, _ = await ask("POST", CONFIGMAPS, configmap("c"))

    assert status == 201


async def test_a_scale_is_shown_as_a_scale(ask: Asker, hook: Served) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}}
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    await ask("POST", deployments, body)
    rule = {"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}
    await configure(ask, "Validating", hook_of(hook.url(), rules=[rule]))

    await ask("PATCH", f"{deployments}/d/scale", {"spec": {"replicas": 3}}, content_type=MERGE)
    await ask("PATCH", f"{deployments}/d", {"spec": {"replicas": 4}}, content_type=MERGE)

    [asked] = hook.asked
    assert asked["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert (asked["resource"]["resource"], asked["subResource"]) == ("deployments", "scale")
    assert (asked["oldObject"]["spec"], asked["object"]["spec"]) == ({"replicas": 1}, {"replicas": 3})


async def test_evictions_bindings_and_commands_are_judged_by_their_own_objects(ask: Asker, hook: Served) -> None:
    rule = {"operations": ["CREATE", "CONNECT", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"]}
    resources = ["pods/eviction", "pods/binding", "pods/exec"]
    pods = "/api/v1/namespaces/default/pods"
    await ask("POST", pods, pod("p"))
    await configure(ask, "Validating", hook_of(hook.url(), rules=[{**rule, "resources": resources}]))

    target = {"apiVersion": "v1", "kind": "Node", "name": "n"}
    bound, _ = await ask("POST", f"{pods}/p/binding", {"metadata": {"name": "p"}, "target": target})

    async def deny(request: dict[str, Any]) -> dict[str, Any]:
        return {"allowed": False, "status": {"message": "hands off", "code": 403}}

    hook.answer = deny
    evicted, _ = await ask("POST", f"{pods}/p/eviction", {"metadata": {"name": "p"}})
    ran, answer = await ask("GET", f"{pods}/p/exec?command=ls&stdout=true", upgrade="websocket")

    assert (bound, evicted, ran) == (201, 403, 403)
    assert "hands off" in answer["message"]
    assert [(r["operation"], r["kind"]["kind"], r["subResource"]) for r in hook.asked] == [
        ("CREATE", "Binding", "binding"),
        ("CREATE", "Eviction", "eviction"),
        ("CONNECT", "PodExecOptions", "exec"),
    ]
    assert hook.asked[2]["object"]["command"] == ["ls"]
