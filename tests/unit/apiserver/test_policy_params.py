"""Nobody reads through a policy's messages what they may not read themselves."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.http.message import User
from tests.unit.apiserver.asking import MERGE, Asker

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES, BINDINGS = f"{GROUP}/validatingadmissionpolicies", f"{GROUP}/validatingadmissionpolicybindings"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
MAL = User("mal", ("system:authenticated",))


def policy(name: str, kind: str = "Secret") -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    spec: dict[str, Any] = {"matchConstraints": {"resourceRules": [rule]}, "paramKind": {"apiVersion": "v1", "kind": kind}}
    spec["validations"] = [{"expression": "false", "messageExpression": "string(params.data['p'])"}]
    return {"metadata": {"name": name}, "spec": spec}


def binding(own: str, /, **ref: Any) -> dict[str, Any]:
    ref = {"parameterNotFoundAction": "Deny", **ref}
    return {"metadata": {"name": own}, "spec": {"policyName": "p", "paramRef": ref, "validationActions": ["Deny"]}}


async def grant(ask: Asker, name: str, *rules: dict[str, Any]) -> None:
    await ask("POST", f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": list(rules)})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mal"}
    await ask("POST", f"{RBAC}/clusterrolebindings", {"metadata": {"name": name}, "roleRef": ref, "subjects": [subject]})


async def test_a_policys_parameters_are_what_its_writer_may_read(ask: Asker) -> None:
    await grant(ask, "policies", {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]})
    mal = ask.as_user(MAL)

    status, refused = await mal("POST", POLICIES, policy("p"))
    assert status == 403
    assert (
        'user mal must have "get" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)' in refused["message"]
    )
    assert (await mal("POST", POLICIES, policy("p", "NobodyKnowsIt")))[0] == 403

    await grant(ask, "configmaps", {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]})
    assert (await mal("POST", POLICIES, policy("p", "ConfigMap")))[0] == 201
    change = {"spec": {"paramKind": {"kind": "Secret"}}}
    assert (await mal("PATCH", f"{POLICIES}/p", change, content_type=MERGE))[0] == 403
    assert (await ask("PATCH", f"{POLICIES}/p", change, content_type=MERGE))[0] == 200, "masters may"
    assert (await mal("PATCH", f"{POLICIES}/p", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE))[0] == 200, "it stays as it was"


async def test_a_bindings_parameters_are_what_its_writer_may_read(ask: Asker) -> None:
    bindings = {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingadmissionpolicybindings"], "verbs": ["*"]}
    await grant(ask, "bindings", bindings)
    await grant(ask, "one", {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"], "verbs": ["get"]})
    mal = ask.as_user(MAL)

    assert (await mal("POST", BINDINGS, binding("early", name="mine", namespace="default")))[0] == 403, "of what, nobody knows"
    assert (await ask("POST", POLICIES, policy("p")))[0] == 201
    assert (await mal("POST", BINDINGS, binding("b", name="mine", namespace="default")))[0] == 201
    assert (await mal("POST", BINDINGS, binding("c", name="hush", namespace="default")))[0] == 403
    assert (await mal("POST", BINDINGS, binding("d", selector={}, namespace="default")))[0] == 403
    assert (await mal("PATCH", f"{BINDINGS}/b", {"spec": {"paramRef": {"name": "hush"}}}, content_type=MERGE))[0] == 403
