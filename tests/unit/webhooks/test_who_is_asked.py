"""Which requests webhooks and policies hear of, as what, and what becomes of answers that cannot be used.

The tables are kube-apiserver's behaviour: k8s.io/apiserver/pkg/admission/plugin/webhook and policy/matching, and the pages on them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.apiserver.http.message import Response, User
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap, pod
from tests.unit.apiserver.keys import put_keys
from tests.unit.webhooks.serving import Served, allow, patching
from tests.unit.webhooks.test_admission import GROUP, configure, hook_of

SPACE = "/api/v1/namespaces/default"
PODS, EVENTS = f"{SPACE}/pods", f"{SPACE}/events"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPEC = {
    "selector": {"matchLabels": {"a": "b"}},
    "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
}
EVENT = {
    "metadata": {"name": "e", "namespace": "default"},
    "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
    "message": "m",
    "reason": "R",
    "type": "Normal",
}
NEWER_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
NEWER_EVENT = {
    "metadata": {"name": "e"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "regarding": EVENT["involvedObject"],
    "note": "old",
    "reason": "R",
    "type": "Normal",
    "action": "A",
    "reportingController": "c.example.com",
    "reportingInstance": "i",
}

REQUESTS: dict[str, tuple[str, str, Any]] = {
    "create": ("POST", CONFIGMAPS, configmap("new")),
    "create that is made of a PUT": ("PUT", f"{SPACE}/endpoints/new", {"metadata": {"name": "new"}}),
    "create that is made of an apply": ("PATCH", f"{CONFIGMAPS}/new?fieldManager=m", {**configmap("new"), "data": {}}),
    "update": ("PUT", f"{CONFIGMAPS}/one", configmap("one", a="2")),
    "update of nothing": ("PATCH", f"{CONFIGMAPS}/one", {"data": {"a": "1"}}),
    "delete": ("DELETE", f"{CONFIGMAPS}/one", {"propagationPolicy": "Background", "gracePeriodSeconds": 0}),
    "delete of many": ("DELETE", f"{CONFIGMAPS}?labelSelector=of%3Dmany", None),
    "delete of a Pod": ("DELETE", f"{PODS}/bound", None),
    "dry run": ("POST", f"{CONFIGMAPS}?dryRun=All", configmap("new")),
    "dry delete": ("DELETE", f"{CONFIGMAPS}/one", {"dryRun": ["All"]}),
    "status": ("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}),
    "scale": ("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 2}}),
    "binding": ("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}),
    "eviction": ("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}}),
    "token": ("POST", f"{SPACE}/serviceaccounts/sa/token", {"spec": {"audiences": ["x"]}}),
    "proxy": ("GET", f"{PODS}/p:80/proxy/a/b", None),
    "namespace": ("POST", "/api/v1/namespaces", {"metadata": {"name": "new"}}),
    "finalize": ("PUT", "/api/v1/namespaces/other/finalize", {"metadata": {"name": "other"}, "spec": {}}),
    "read": ("GET", f"{CONFIGMAPS}/one", None),
}

ROWS: list[tuple[str, list[str], list[str], list[tuple[str, str, str, str]]]] = [
    # the request, operations and resources of the rule, and who is asked: operation, kind, subresource, name
    ("create", ["CREATE"], ["configmaps"], [("CREATE", "ConfigMap", "", "new")]),
    ("create", ["UPDATE", "DELETE", "CONNECT"], ["configmaps"], []),
    ("create", ["*"], ["*"], [("CREATE", "ConfigMap", "", "new")]),
    ("create", ["*"], ["*/*"], [("CREATE", "ConfigMap", "", "new")]),
    ("create", ["*"], ["configmaps/*"], [("CREATE", "ConfigMap", "", "new")]),
    ("create", ["*"], ["pods", "configmaps/status", "*/status"], []),
    ("create that is made of a PUT", ["CREATE"], ["endpoints"], [("CREATE", "Endpoints", "", "new")]),
    ("create that is made of an apply", ["CREATE"], ["configmaps"], [("CREATE", "ConfigMap", "", "new")]),
    ("update", ["UPDATE"], ["configmaps"], [("UPDATE", "ConfigMap", "", "one")]),
    ("update of nothing", ["UPDATE"], ["configmaps"], [("UPDATE", "ConfigMap", "", "one")]),
    ("delete", ["DELETE"], ["configmaps"], [("DELETE", "ConfigMap", "", "one")]),
    ("delete", ["UPDATE"], ["configmaps"], []),
    ("delete of many", ["DELETE"], ["configmaps"], [("DELETE", "ConfigMap", "", "many-0"), ("DELETE", "ConfigMap", "", "many-1")]),
    ("delete of a Pod", ["DELETE"], ["pods"], [("DELETE", "Pod", "", "bound")]),
    ("dry run", ["CREATE"], ["configmaps"], [("CREATE", "ConfigMap", "", "new")]),
    ("dry delete", ["DELETE"], ["configmaps"], [("DELETE", "ConfigMap", "", "one")]),
    ("status", ["UPDATE"], ["pods"], []),
    ("status", ["UPDATE"], ["*"], []),
    ("status", ["UPDATE"], ["pods/status"], [("UPDATE", "Pod", "status", "p")]),
    ("status", ["UPDATE"], ["*/status"], [("UPDATE", "Pod", "status", "p")]),
    ("status", ["UPDATE"], ["pods/*"], [("UPDATE", "Pod", "status", "p")]),
    ("scale", ["UPDATE"], ["*/*"], [("UPDATE", "Scale", "scale", "d")]),
    ("scale", ["UPDATE"], ["deployments"], []),
    ("binding", ["*"], ["*/*"], [("CREATE", "Binding", "binding", "p")]),
    ("binding", ["*"], ["pods"], []),
    ("eviction", ["*"], ["*/*"], [("CREATE", "Eviction", "eviction", "p")]),
    ("eviction", ["*"], ["pods", "pods/status"], []),
    ("token", ["*"], ["serviceaccounts/token"], [("CREATE", "TokenRequest", "token", "sa")]),
    ("proxy", ["CONNECT"], ["pods/proxy"], [("CONNECT", "PodProxyOptions", "proxy", "p:80")]),
    ("proxy", ["CREATE"], ["pods/proxy"], []),
    ("namespace", ["*"], ["namespaces"], [("CREATE", "Namespace", "", "new")]),
    ("finalize", ["UPDATE"], ["namespaces/finalize"], [("UPDATE", "Namespace", "finalize", "other")]),
    ("finalize", ["*"], ["namespaces"], []),
    ("read", ["*"], ["*/*"], []),
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """A server that gives out tokens."""
    server = await ApiServer.open(tmp_path / "hub.sqlite", token_keys=put_keys(tmp_path))
    yield server
    await server.close()


async def stage(ask: Asker) -> None:
    """Make what the requests are about."""
    for obj in (configmap("one", a="1"), configmap("many-0", labels={"of": "many"}), configmap("many-1", labels={"of": "many"})):
        await ask("POST", CONFIGMAPS, obj)
    await ask("POST", f"{SPACE}/serviceaccounts", {"metadata": {"name": "sa"}})
    await ask("POST", PODS, pod("p"))
    await ask("POST", PODS, pod("bound", node="n"))
    await ask("POST", DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": SPEC})
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})


async def send(ask: Asker, request: str) -> Response:
    method, path, body = REQUESTS[request]
    patch = "application/apply-patch+yaml" if "fieldManager" in path else MERGE
    return await ask.raw(method, path, body, **({"content_type": patch} if method == "PATCH" else {}))


async def answer_to(ask: Asker, request: str) -> tuple[int, Any]:
    response = await send(ask, request)
    assert isinstance(response.body, bytes)
    return response.status, msgspec.json.decode(response.body)


def rule(operations: list[str], *resources: str, group: str = "*", **more: Any) -> dict[str, Any]:
    return {"operations": operations, "apiGroups": [group], "apiVersions": ["*"], "resources": list(resources), **more}


@pytest.mark.parametrize("request_", REQUESTS)
async def test_who_is_asked_by_which_rule(ask: Asker, hook: Served, request_: str) -> None:
    rows = {str(i): row for i, row in enumerate(ROWS) if row[0] == request_}
    await stage(ask)
    hooks = [hook_of(hook.url(f"/{i}"), f"w{i}.example.com", rules=[rule(row[1], *row[2])]) for i, row in rows.items()]
    await configure(ask, "Validating", *hooks)
    for i, row in rows.items():
        await policy(ask, "false", name=f"p{i}", action="Warn", rules=[rule(row[1], *row[2])])

    answer = await send(ask, request_)

    heard = [(p[1:].partition("?")[0], r) for p, r in zip(hook.paths, hook.asked, strict=True)]
    found = {i: sorted(_told(r) for j, r in heard if i == j) for i in rows}
    assert found == {i: row[3] for i, row in rows.items()}
    assert {r["dryRun"] for r in hook.asked} <= {request_.startswith("dry ")}
    warnings = " ".join(answer.headers.get("Warning", ()))
    warned = {i for i in rows if f"Policy 'p{i}'" in warnings}
    assert warned == {i for i, row in rows.items() if row[3]}


def _told(request: dict[str, Any]) -> tuple[str, str, str, str]:
    return request["operation"], request["kind"]["kind"], request.get("subResource", ""), request.get("name", "")


async def policy(ask: Asker, expression: str, *, name: str = "p", action: str = "Deny", **constraints: Any) -> None:
    """Have a policy find fault with what is matched by *constraints*, unless the expression holds."""
    names = {"rules": "resourceRules", "excluded": "excludeResourceRules"}
    found = {names.get(k, k): v for k, v in constraints.items()}
    body = {"metadata": {"name": name}, "spec": {"matchConstraints": found, "validations": [{"expression": expression}]}}
    status, answer = await ask("POST", f"{GROUP}/validatingadmissionpolicies", body)
    assert status == 201, answer
    binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": [action]}}
    status, answer = await ask("POST", f"{GROUP}/validatingadmissionpolicybindings", binding)
    assert status == 201, answer


OPTIONS: list[tuple[str, Any]] = [
    ("create", {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}),
    ("create that is made of an apply", {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "m"}),
    ("update", {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"}),
    (
        "delete",
        {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"},
    ),
    ("dry delete", {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"]}),
    ("delete of a Pod", {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 30}),
    ("proxy", None),
]


@pytest.mark.parametrize(("request_", "options"), OPTIONS)
async def test_a_webhook_is_told_the_options_of_the_request(ask: Asker, hook: Served, request_: str, options: Any) -> None:
    await stage(ask)
    await configure(ask, "Validating", hook_of(hook.url(), rules=[rule(["*"], "*/*")]))

    await send(ask, request_)

    assert [r["options"] for r in hook.asked] == [options]


@pytest.mark.parametrize("request_", ["dry run", "dry delete"])
async def test_a_dry_run_asks_who_has_no_side_effects(ask: Asker, hook: Served, request_: str) -> None:
    await stage(ask)
    for which in ("Mutating", "Validating"):
        hooks = [hook_of(hook.url(), f"{s.lower()}.example.com", sideEffects=s) for s in ("None", "NoneOnDryRun")]
        await configure(ask, which, *hooks)

    status, _ = await answer_to(ask, request_)

    assert status < 300
    assert [r["dryRun"] for r in hook.asked] == [True] * 4


@pytest.mark.parametrize("policy_", ["Fail", "Ignore"])
@pytest.mark.parametrize("which", ["Mutating", "Validating"])
async def test_a_dry_run_is_refused_where_somebody_may_have_side_effects(
    server: ApiServer, ask: Asker, hook: Served, which: str, policy_: str
) -> None:
    await configure(ask, which, hook_of(hook.url(), failurePolicy=policy_))
    await _as_of_old(server, ask, which)

    status, answer = await answer_to(ask, "dry run")

    assert (status, answer["message"]) == (400, 'admission webhook "check.example.com" does not support dry run')
    assert not hook.asked


async def _as_of_old(server: ApiServer, ask: Asker, which: str) -> None:
    """Give the webhook side effects: only v1beta1 could, so that what is stored may still have such."""
    key = f"{which.lower()}webhookconfigurations.admissionregistration.k8s.io"
    [record] = server.store.list(key).records
    value = record.value.replace(b'"sideEffects":"None"', b'"sideEffects":"Some"')
    revision = b'"resourceVersion":"%d"' % record.revision
    await server.store.update(record.key, lambda r: value.replace(revision, b'"resourceVersion":"%d"' % r), expected=record.revision)


async def test_the_generated_name_is_told_to_those_who_validate(ask: Asker, hook: Served) -> None:
    await configure(ask, "Validating", hook_of(hook.url()))

    _, made = await ask("POST", CONFIGMAPS, {"metadata": {"generateName": "g-"}})

    assert hook.asked[0]["name"] == hook.asked[0]["object"]["metadata"]["name"] == made["metadata"]["name"]


async def test_a_webhook_may_give_a_new_object_its_name(ask: Asker, hook: Served) -> None:
    await configure(ask, "Mutating", hook_of(hook.url()))
    hook.answer = patching({"op": "add", "path": "/metadata/name", "value": "named"})

    _, made = await ask("POST", CONFIGMAPS, {"metadata": {"generateName": "g-"}})

    assert made["metadata"]["name"] == "named"
    assert (await ask("GET", f"{CONFIGMAPS}/named"))[0] == 200


async def test_a_webhook_puts_no_object_into_another_namespace(ask: Asker, hook: Served) -> None:
    await configure(ask, "Mutating", hook_of(hook.url()))
    hook.answer = patching({"op": "add", "path": "/metadata/namespace", "value": "kube-system"})

    status, answer = await ask("POST", CONFIGMAPS, configmap("c"))

    assert status == 500
    assert "does not match the namespace sent on the request" in answer["message"]


async def test_both_objects_of_an_update_are_told_with_their_revision(ask: Asker, hook: Served) -> None:
    await stage(ask)
    for which in ("Mutating", "Validating"):
        await configure(ask, which, hook_of(hook.url()))
    await policy(ask, "object.metadata.resourceVersion == oldObject.metadata.resourceVersion", rules=[rule(["UPDATE"], "configmaps")])

    status, _ = await answer_to(ask, "update")

    assert status == 200
    revisions = {o["metadata"]["resourceVersion"] for r in hook.asked for o in (r["object"], r["oldObject"])}
    assert (len(hook.asked), len(revisions)) == (2, 1)


@pytest.mark.parametrize("policy_", ["Fail", "Ignore"])
@pytest.mark.parametrize(
    ("request_", "operation", "why"),
    [
        (
            "delete",
            {"op": "add", "path": "/data", "value": {}},
            "attempted to modify the object, which is not supported for this operation",
        ),
        ("create", {"op": "remove", "path": "/nothing/there"}, "rejected"),
        ("create", {"op": "replace", "path": "", "value": 1}, "the patch does not leave an object"),
        ("create", {"op": "add", "path": "/data", "value": 1}, "ConfigMap"),
    ],
)
async def test_a_patch_that_cannot_be_carried_out_refuses_whatever_the_policy(
    ask: Asker, hook: Served, policy_: str, request_: str, operation: dict[str, Any], why: str
) -> None:
    await stage(ask)
    await configure(ask, "Mutating", hook_of(hook.url(), failurePolicy=policy_))
    hook.answer = patching(operation)

    status, answer = await answer_to(ask, request_)

    assert (status, answer["reason"]) == (500, "InternalError")
    assert 'admission webhook "check.example.com"' in answer["message"]
    assert why in answer["message"]


async def test_a_webhook_may_change_a_scale(ask: Asker, hook: Served) -> None:
    await stage(ask)
    await configure(ask, "Mutating", hook_of(hook.url(), rules=[rule(["UPDATE"], "deployments/scale")]))
    hook.answer = patching({"op": "replace", "path": "/spec/replicas", "value": 7})

    status, scale = await answer_to(ask, "scale")

    _, found = await ask("GET", f"{DEPLOYMENTS}/d")
    assert (status, scale["spec"], found["spec"]["replicas"], found["metadata"]["generation"]) == (200, {"replicas": 7}, 7, 2)


async def test_the_labels_of_what_is_scaled_are_not_those_of_a_scale(ask: Asker, hook: Served) -> None:
    await ask("POST", DEPLOYMENTS, {"metadata": {"name": "d", "labels": {"l": "1"}}, "spec": SPEC})
    labelled: dict[str, Any] = {"objectSelector": {"matchLabels": {"l": "1"}}}
    await configure(ask, "Validating", hook_of(hook.url(), rules=[rule(["*"], "*/scale")], **labelled))
    await policy(ask, "false", rules=[rule(["*"], "*/scale")], **labelled)

    status, _ = await answer_to(ask, "scale")

    assert status == 200
    assert not hook.asked


@pytest.mark.parametrize(("scope", "asked"), [("*", ["new", "c"]), ("Cluster", ["new"]), ("Namespaced", ["c"])])
async def test_a_namespace_is_in_none(ask: Asker, hook: Served, scope: str, asked: list[str]) -> None:
    await configure(ask, "Validating", hook_of(hook.url(), rules=[rule(["CREATE"], "namespaces", "configmaps", scope=scope)]))

    await send(ask, "namespace")
    await ask("POST", CONFIGMAPS, configmap("c"))

    assert [r["name"] for r in hook.asked] == asked


async def test_a_selector_of_namespaces_is_about_the_namespace_as_it_will_be(ask: Asker, hook: Served) -> None:
    selector: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    await configure(ask, "Validating", hook_of(hook.url(), rules=[rule(["*"], "namespaces", "nodes")], **selector))

    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    await ask("PATCH", "/api/v1/namespaces/n", {"metadata": {"labels": {"team": "a"}}}, content_type=MERGE)
    await ask("PATCH", "/api/v1/namespaces/n", {"metadata": {"labels": {"team": "b"}}}, content_type=MERGE)
    await ask("POST", "/api/v1/nodes", {"metadata": {"name": "in-no-namespace"}})

    assert [(r["operation"], r["name"]) for r in hook.asked] == [("UPDATE", "n"), ("CREATE", "in-no-namespace")]


def numbered(hook: Served, changing: str = "") -> Callable[[dict[str, Any]], Awaitable[Any]]:
    """Answer so that the webhook at one path counts up a label of the object, and the others change nothing."""

    async def answer(request: dict[str, Any]) -> Any:
        labels = request["object"]["metadata"].get("labels", {})
        if not hook.paths[-1].startswith(changing):
            return await allow(request)
        count = {**labels, "count": str(int(labels.get("count", "0")) + 1)}
        return await patching({"op": "add", "path": "/metadata/labels", "value": count})(request)

    return answer


@pytest.mark.parametrize(
    ("again", "changing", "asked"),
    [
        ("abc", "/b", "abca"),  # who was asked before the change, and not who made it
        ("abc", "/a", "abc"),
        ("abc", "/c", "abcab"),
        ("bc", "/c", "abcb"),
        ("", "/c", "abc"),
        ("abc", "/", "abcabc"[:5]),
    ],
)
async def test_who_is_asked_again(ask: Asker, hook: Served, again: str, changing: str, asked: str) -> None:
    hooks = [hook_of(hook.url(f"/{c}"), f"{c}.example.com", reinvocationPolicy="IfNeeded" if c in again else "Never") for c in "abc"]
    await configure(ask, "Mutating", *hooks)
    hook.answer = numbered(hook, changing)

    await ask("POST", CONFIGMAPS, configmap("c"))

    assert "".join(p[1] for p in hook.paths) == asked


async def test_who_was_not_concerned_is_not_asked_for_the_first_time_in_the_second_round(ask: Asker, hook: Served) -> None:
    late: dict[str, Any] = {"objectSelector": {"matchExpressions": [{"key": "count", "operator": "Exists"}]}}
    first = hook_of(hook.url("/a"), "a.example.com", reinvocationPolicy="IfNeeded", **late)
    await configure(ask, "Mutating", first, hook_of(hook.url("/b"), "b.example.com"))
    hook.answer = numbered(hook, "/b")

    await ask("POST", CONFIGMAPS, configmap("c"))

    assert [p[:2] for p in hook.paths] == ["/b"]


async def test_who_wants_to_be_asked_again_is_when_the_server_completed_the_object(ask: Asker, hook: Served) -> None:
    only = hook_of(hook.url(), rules=[rule(["CREATE"], "pods")], reinvocationPolicy="IfNeeded")
    await configure(ask, "Mutating", only)
    hook.answer = patching({"op": "replace", "path": "/spec/tolerations", "value": []})

    await ask("POST", PODS, pod("p"))

    assert len(hook.asked) == 2
    assert len(hook.asked[1]["object"]["spec"]["tolerations"]) == 2


@pytest.mark.parametrize(("match_policy", "asked"), [("Equivalent", ["old"]), ("Exact", [])])
async def test_an_event_is_one_in_either_group(ask: Asker, hook: Served, match_policy: str, asked: list[str]) -> None:
    await configure(ask, "Mutating", hook_of(hook.url(), rules=[rule(["*"], "events", group="")], matchPolicy=match_policy))
    hook.answer = patching({"op": "add", "path": "/message", "value": "said by a webhook"})

    status, made = await ask("POST", NEWER_EVENTS, NEWER_EVENT)

    assert status == 201, made
    assert [r["object"]["message"] for r in hook.asked] == asked
    assert [r["kind"]["group"] for r in hook.asked] == [""] * len(asked)
    assert made["note"] == ("said by a webhook" if asked else "old")


async def test_who_is_not_asked_about_events_of_one_group_is_asked_about_those_of_the_other(ask: Asker, hook: Served) -> None:
    await configure(ask, "Validating", hook_of(hook.url(), rules=[rule(["*"], "events", group="")], matchPolicy="Exact"))
    await ask("POST", NEWER_EVENTS, NEWER_EVENT)

    status, _ = await ask("POST", EVENTS, {**EVENT, "metadata": {"name": "core"}})

    assert (status, [r["name"] for r in hook.asked]) == (201, ["core"])


def two_versions() -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": v, "served": True, "storage": v == "v1", "schema": schema} for v in ("v1", "v2", "v3")]
    names = {"plural": "gauges", "kind": "Gauge"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}
    return {
        "metadata": {"name": "gauges.example.com"},
        "spec": spec,
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
    }


async def make_gauge(server: ApiServer, ask: Asker) -> tuple[int, Any]:
    await ask("POST", CRDS, two_versions())
    await server.custom.settle_all()
    body = {"apiVersion": "example.com/v1", "kind": "Gauge", "metadata": {"name": "g"}}
    return await ask("POST", "/apis/example.com/v1/namespaces/default/gauges", body)


async def test_the_first_rule_says_in_which_version_an_object_is_told(server: ApiServer, ask: Asker, hook: Served) -> None:
    rules = [{**rule(["*"], "gauges"), "apiVersions": [v]} for v in ("v3", "v2")]
    await configure(ask, "Validating", hook_of(hook.url(), rules=rules))

    await make_gauge(server, ask)

    assert [(r["object"]["apiVersion"], r["kind"]["version"], r["requestKind"]["version"]) for r in hook.asked] == [
        ("example.com/v3", "v3", "v1")
    ]


@pytest.mark.parametrize(("match_policy", "status"), [("Equivalent", 201), ("Exact", 201)])
async def test_a_policy_sees_the_version_of_its_rule(server: ApiServer, ask: Asker, match_policy: str, status: int) -> None:
    expression = "object.apiVersion == 'example.com/v2' && request.kind.version == 'v2' && request.requestKind.version == 'v1'"
    await policy(ask, expression, rules=[{**rule(["*"], "gauges"), "apiVersions": ["v2"]}], matchPolicy=match_policy)

    assert (await make_gauge(server, ask))[0] == status


@pytest.mark.parametrize(("match_policy", "status"), [("Equivalent", 201), ("Exact", 422)])
async def test_what_a_policy_excludes_it_excludes_in_every_version(server: ApiServer, ask: Asker, match_policy: str, status: int) -> None:
    excluded = {**rule(["*"], "gauges"), "apiVersions": ["v2"]}
    await policy(ask, "false", rules=[rule(["*"], "gauges")], excluded=[excluded], matchPolicy=match_policy)

    assert (await make_gauge(server, ask))[0] == status


async def test_conditions_may_ask_what_the_user_may_do(ask: Asker, hook: Served) -> None:
    conditions = [
        {"name": "unless-trusted", "expression": "!authorizer.group('').resource('configmaps').name('x').check('breakglass').allowed()"},
        {"name": "by-the-request", "expression": "!authorizer.requestResource.check('breakglass').allowed()"},
    ]
    await configure(ask, "Validating", hook_of(hook.url(), matchConditions=conditions))
    role = {"metadata": {"name": "maker"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]}
    await ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "maker"}
    bound = {"metadata": {"name": "maker"}, "roleRef": ref, "subjects": [{"kind": "User", "name": "bob", "apiGroup": ref["apiGroup"]}]}
    await ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", bound)
    bob = ask.as_user(User("bob", ("system:authenticated",)))

    made = [(await who("POST", CONFIGMAPS, configmap(name)))[0] for who, name in ((ask, "by-admin"), (bob, "by-bob"))]

    assert made == [201, 201]
    assert [r["name"] for r in hook.asked] == ["by-bob"]


async def test_nobody_is_asked_before_it_is_known_who_is_to_be(ask: Asker, hook: Served) -> None:
    broken = hook_of(hook.url("/b"), "b.example.com", matchConditions=[{"name": "x", "expression": "object.zz == 1"}])
    await configure(ask, "Validating", hook_of(hook.url("/a"), "a.example.com"), broken)

    status, _ = await ask("POST", CONFIGMAPS, configmap("c"))

    assert (status, hook.asked) == (403, [])


async def test_a_token_that_a_policy_refuses_is_not_made(ask: Asker) -> None:
    await stage(ask)
    await policy(ask, "object.spec.audiences.all(a, a != 'x')", rules=[rule(["CREATE"], "serviceaccounts/token")])

    refused, answer = await answer_to(ask, "token")
    made, _ = await ask("POST", f"{SPACE}/serviceaccounts/sa/token", {"spec": {"audiences": ["y"]}})

    assert (refused, made) == (422, 201)
    assert b"token" not in msgspec.json.encode(answer.get("status", {}))
