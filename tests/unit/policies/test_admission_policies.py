"""ValidatingAdmissionPolicies: what they refuse, in whose words, and what cannot be a policy."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.apiserver.http.message import User
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap

GROUP = "/apis/admissionregistration.k8s.io/v1"
RULES = [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]


def validation(expression: str, **more: Any) -> dict[str, Any]:
    return {"expression": expression, **more}


async def policy(ask: Asker, *validations: dict[str, Any], actions: tuple[str, ...] = ("Deny",), ref: Any = None, **spec: Any) -> None:
    body = {"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": RULES}, "validations": list(validations), **spec}}
    status, answer = await ask("POST", f"{GROUP}/validatingadmissionpolicies", body)
    assert status == 201, answer
    binding = {"policyName": "p", "validationActions": list(actions), **({"paramRef": ref} if ref else {})}
    status, answer = await ask("POST", f"{GROUP}/validatingadmissionpolicybindings", {"metadata": {"name": "b"}, "spec": binding})
    assert status == 201, answer


async def test_a_policy_refuses_in_the_words_of_kubernetes(ask: Asker) -> None:
    await policy(ask, validation("object.data.a != 'bad'"))

    status, answer = await ask("POST", CONFIGMAPS, configmap("c", a="bad"))

    text = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: object.data.a != 'bad'"
    assert (status, answer["reason"]) == (422, "Invalid")
    assert answer["message"] == f'configmaps "c" is forbidden: {text}'
    assert answer["details"]["causes"] == [{"message": text}]
    assert (await ask("POST", CONFIGMAPS, configmap("c", a="good")))[0] == 201


@pytest.mark.parametrize(
    ("more", "status", "tail"),
    [
        ({"message": "no bad"}, 422, "no bad"),
        ({"messageExpression": "'not ' + object.data.a", "message": "x"}, 422, "not bad"),
        ({"messageExpression": "object.data.zz", "message": "plain"}, 422, "plain"),
        ({"reason": "Forbidden", "message": "x"}, 403, "x"),
        ({"reason": "Unauthorized", "message": "x"}, 401, "x"),
        ({"reason": "RequestEntityTooLarge", "message": "x"}, 413, "x"),
    ],
)
async def test_messages_and_reasons(ask: Asker, more: dict[str, str], status: int, tail: str) -> None:
    await policy(ask, validation("object.data.a != 'bad'", **more))

    found, answer = await ask("POST", CONFIGMAPS, configmap("c", a="bad"))

    assert (found, answer["message"].rpartition("denied request: ")[2]) == (status, tail)


async def test_variables_are_computed_from_what_came_before(ask: Asker) -> None:
    variables = [
        {"name": "data", "expression": "object.data"},
        {"name": "all", "expression": "variables.data.all(k, variables.data[k] != '')"},
    ]
    await policy(ask, validation("variables.all"), variables=variables)

    assert (await ask("POST", CONFIGMAPS, configmap("c", a="1", b="")))[0] == 422
    assert (await ask("POST", CONFIGMAPS, configmap("c", a="1", b="2")))[0] == 201


async def test_a_policy_sees_what_was_there_who_asks_and_the_namespace(ask: Asker) -> None:
    expression = (
        "request.operation == 'CREATE' ? oldObject == null && request.userInfo.username == 'admin' "
        "&& namespaceObject.metadata.name == request.namespace : oldObject.data.a == object.data.a"
    )
    await policy(ask, validation(expression))

    assert (await ask("POST", CONFIGMAPS, configmap("c", a="1")))[0] == 201
    assert (await ask("PATCH", f"{CONFIGMAPS}/c", {"data": {"b": "1"}}, content_type=MERGE))[0] == 200
    assert (await ask("PATCH", f"{CONFIGMAPS}/c", {"data": {"a": "2"}}, content_type=MERGE))[0] == 422


async def test_parameters_come_from_another_object(ask: Asker) -> None:
    ref = {"name": "limits", "parameterNotFoundAction": "Deny"}
    conditions = [{"name": "not-the-limits", "expression": "object.metadata.name != 'limits'"}]
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    await ask("POST", CONFIGMAPS, configmap("limits", most="2"))
    await policy(ask, validation("size(object.data) <= int(params.data.most)"), paramKind=kind, ref=ref, matchConditions=conditions)

    assert (await ask("POST", CONFIGMAPS, configmap("two", a="1", b="2")))[0] == 201
    assert (await ask("POST", CONFIGMAPS, configmap("three", a="1", b="2", c="3")))[0] == 422
    await ask("DELETE", f"{CONFIGMAPS}/limits")
    status, answer = await ask("POST", CONFIGMAPS, configmap("one", a="1"))
    assert status == 422
    assert "no params found for policy binding with `Deny` parameterNotFoundAction" in answer["message"]


async def test_warn_and_audit_let_it_pass(ask: Asker) -> None:
    await policy(ask, validation("false", message="hm"), actions=("Warn", "Audit"))

    response = await ask.raw("POST", CONFIGMAPS, configmap("c"))

    assert response.status == 201
    assert "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': hm" in " ".join(response.headers["Warning"])


@pytest.mark.parametrize(("failing", "status"), [("Fail", 422), ("Ignore", 201)])
async def test_an_expression_that_fails_ends_as_the_policy_says(ask: Asker, failing: str, status: int) -> None:
    await policy(ask, validation("object.data.zz == '1'"), failurePolicy=failing)

    found, answer = await ask("POST", CONFIGMAPS, configmap("c", a="1"))

    assert found == status
    if failing == "Fail":
        assert answer["message"].endswith("expression 'object.data.zz == '1'' resulted in error: no such key: zz")


@pytest.mark.parametrize(("other", "status"), [("object.data.a == 'b'", 201), ("object.data.a == 'a'", 422)])
async def test_a_condition_that_does_not_hold_counts_more_than_one_that_fails(ask: Asker, other: str, status: int) -> None:
    conditions = [{"name": "fails", "expression": "object.data.zz == 'x'"}, {"name": "other", "expression": other}]
    await policy(ask, validation("true"), matchConditions=conditions)

    found, answer = await ask("POST", CONFIGMAPS, configmap("c", a="a"))

    assert found == status, answer


async def test_the_authorizer_is_asked_for_whoever_writes(ask: Asker) -> None:
    checks = "authorizer.group('apps').resource('deployments').namespace('default').check('create').allowed()"
    await policy(ask, validation(f"{checks} || authorizer.path('/metrics').check('get').allowed()"))
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}
    await ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {"metadata": {"name": "r"}, "rules": [rule]})
    subject = {"kind": "User", "name": "jo", "apiGroup": "rbac.authorization.k8s.io"}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
    await ask(
        "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {"metadata": {"name": "b"}, "roleRef": ref, "subjects": [subject]}
    )

    assert (await ask("POST", CONFIGMAPS, configmap("by-admin", a="1")))[0] == 201
    assert (await ask.as_user(User("jo", ("system:authenticated",)))("POST", CONFIGMAPS, configmap("by-jo", a="1")))[0] == 422


async def test_the_resource_of_the_request_may_be_checked_by_one_name(ask: Asker) -> None:
    await policy(ask, validation("authorizer.requestResource.check('create').allowed()"))

    assert (await ask("POST", CONFIGMAPS, configmap("c")))[0] == 201


async def test_what_is_excluded_is_not_judged(ask: Asker) -> None:
    excluded = [{**RULES[0], "resourceNames": ["free"]}]
    await policy(ask, validation("false"), matchConstraints={"resourceRules": RULES, "excludeResourceRules": excluded})

    assert (await ask("POST", CONFIGMAPS, configmap("free")))[0] == 201
    assert (await ask("POST", CONFIGMAPS, configmap("other")))[0] == 422


async def test_a_policy_without_a_binding_says_nothing(ask: Asker) -> None:
    await policy(ask, validation("false"))
    await ask("DELETE", f"{GROUP}/validatingadmissionpolicybindings/b")

    assert (await ask("POST", CONFIGMAPS, configmap("c")))[0] == 201


@pytest.mark.parametrize(
    ("spec", "field", "why"),
    [
        ({"validations": []}, "spec.validations", "validations or auditAnnotations must contain at least one item"),
        (
            {"validations": [{"expression": "object."}]},
            "spec.validations[0].expression",
            "compilation failed: ERROR: <input>:1:8: Syntax error",
        ),
        ({"validations": [{"expression": "'x'"}]}, "spec.validations[0].expression", "must evaluate to bool"),
        ({"validations": [{"expression": "params.x"}]}, "spec.validations[0].expression", "undeclared reference to 'params'"),
        ({"validations": [{"expression": "variables.x"}]}, "spec.validations[0].expression", "undefined field 'x'"),
        ({"variables": [{"name": "a b", "expression": "1"}]}, "spec.variables[0].name", "name is not a valid CEL identifier"),
        ({"matchConstraints": None}, "spec.matchConstraints", "Required value"),
        ({"validations": [{"expression": "true", "reason": "Because"}]}, "spec.validations[0].reason", "Unsupported value"),
        ({"auditAnnotations": [{"valueExpression": "'a'"}]}, "spec.auditAnnotations[0].key", "Required value"),
        ({"auditAnnotations": [{"key": "a b", "valueExpression": "'a'"}]}, "spec.auditAnnotations[0].key", "must be a qualified name"),
        ({"auditAnnotations": [{"key": "a", "valueExpression": "1"}]}, "spec.auditAnnotations[0].valueExpression", "must evaluate to"),
        ({"auditAnnotations": [{"key": "a"}]}, "spec.auditAnnotations[0].valueExpression", "valueExpression is not specified"),
    ],
)
async def test_what_cannot_be_a_policy_is_refused(ask: Asker, spec: dict[str, Any], field: str, why: str) -> None:
    body = {
        "metadata": {"name": "p"},
        "spec": {"matchConstraints": {"resourceRules": RULES}, "validations": [{"expression": "true"}], **spec},
    }

    status, answer = await ask("POST", f"{GROUP}/validatingadmissionpolicies", body)

    assert status == 422
    assert any(c["field"] == field and why in c["message"] for c in answer["details"]["causes"]), answer["message"]


@pytest.mark.parametrize("actions", [[], ["Deny", "Warn"], ["Nope"]])
async def test_what_cannot_be_a_binding_is_refused(ask: Asker, actions: list[str]) -> None:
    body = {"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": actions}}

    status, answer = await ask("POST", f"{GROUP}/validatingadmissionpolicybindings", body)

    assert status == 422
    assert "spec.validationActions" in answer["message"]


async def test_a_bomb_of_a_policy_stops_and_refuses(ask: Asker) -> None:
    await policy(ask, validation("object.data.all(a, object.data.all(b, object.data.all(c, a + b + c != '')))"))

    body = {**configmap("c"), "data": {f"k{i}": "v" for i in range(200)}}

    status, answer = await ask("POST", CONFIGMAPS, body)

    assert status == 422
    assert "running out of cost budget" in answer["message"]


async def test_a_policy_of_endless_text_is_refused(ask: Asker) -> None:
    body = {
        "metadata": {"name": "p"},
        "spec": {"matchConstraints": {"resourceRules": RULES}, "validations": [{"expression": "true || " * 9000 + "true"}]},
    }

    status, answer = await ask("POST", f"{GROUP}/validatingadmissionpolicies", body)

    assert status == 422
    assert "the limit is 65536" in answer["message"]
