"""CertificateSigningRequests at the API: who asked, what is fixed, who may approve and sign, what a decision may be."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from skerry.apiserver.http.message import User
from tests.unit.apiserver.asking import MERGE, Asker

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
PEM = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
BOB = User("bob", ("dev", "system:authenticated"), "u1", {"scope": ("x",)})
ROLES = "/apis/rbac.authorization.k8s.io/v1"


def a_csr(**spec: Any) -> dict[str, Any]:
    found = {
        "request": base64.b64encode(PEM.encode()).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    return {"metadata": {"name": "c"}, "spec": {**found, **spec}}


async def _grant(ask: Asker, name: str, rule: dict[str, Any]) -> None:
    await ask("POST", f"{ROLES}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}
    body = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    assert (await ask("POST", f"{ROLES}/clusterrolebindings", body))[0] == 201


def _rule(resources: list[str], verbs: list[str], names: list[str] | None = None) -> dict[str, Any]:
    return {"apiGroups": ["certificates.k8s.io"], "resources": resources, "verbs": verbs, **({"resourceNames": names} if names else {})}


@pytest.fixture
async def bob(ask: Asker) -> Asker:
    """Somebody who may write everything about CSRs, and approve and sign nothing."""
    everything = ["certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"]
    await _grant(ask, "writes", _rule(everything, ["*"]))
    return ask.as_user(BOB)


def _decision(*types: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": t, "status": "True", "reason": "r"} for t in types]}}


async def test_the_requester_is_who_asked_whatever_the_request_says(bob: Asker) -> None:
    status, made = await bob("POST", CSRS, a_csr(username="admin", groups=["system:masters"], uid="0", extra={"a": ["b"]}))

    assert status == 201, made
    assert {k: made["spec"][k] for k in ("username", "groups", "uid", "extra")} == {
        "username": "bob",
        "groups": ["dev", "system:authenticated"],
        "uid": "u1",
        "extra": {"scope": ["x"]},
    }


async def test_what_was_asked_for_never_changes(bob: Asker) -> None:
    made = (await bob("POST", CSRS, a_csr()))[1]

    for path in (f"{CSRS}/c", f"{CSRS}/c/status"):
        status, after = await bob("PATCH", path, {"spec": {"username": "admin", "usages": ["any"]}}, content_type=MERGE)
        assert (status, after["spec"]) == (200, made["spec"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"request": "AAAA"}, "spec.request"),
        ({"usages": []}, "spec.usages"),
        ({"usages": ["world domination"]}, "spec.usages[0]"),
        ({"signerName": "kubernetes.io/legacy-unknown"}, "spec.signerName"),
        ({"signerName": "short"}, "spec.signerName"),
        ({"expirationSeconds": 599}, "spec.expirationSeconds"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(bob: Asker, change: dict[str, Any], field: str) -> None:
    status, answer = await bob("POST", CSRS, a_csr(**change))

    assert status == 422
    assert [c["field"] for c in answer["details"]["causes"]] == [field]


async def test_who_may_write_approval_may_not_therefore_approve(bob: Asker, ask: Asker) -> None:
    await bob("POST", CSRS, a_csr())

    status, answer = await bob("PATCH", f"{CSRS}/c/approval", _decision("Approved"), content_type=MERGE)
    assert status == 403
    assert answer["message"].endswith('user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"')

    await _grant(ask, "approves", _rule(["signers"], ["approve"], ["kubernetes.io/*"]))
    status, answer = await bob("PATCH", f"{CSRS}/c/approval", _decision("Approved"), content_type=MERGE)
    assert (status, answer["status"]["conditions"][0]["type"]) == (200, "Approved")


async def test_only_a_signer_sets_the_certificate(bob: Asker, ask: Asker) -> None:
    await bob("POST", CSRS, a_csr())
    change = {"status": {"certificate": base64.b64encode(b"x").decode()}}

    assert (await bob("PATCH", f"{CSRS}/c/status", change, content_type=MERGE))[0] == 403
    await _grant(ask, "signs", _rule(["signers"], ["sign"], ["kubernetes.io/kube-apiserver-client"]))
    status, answer = await bob("PATCH", f"{CSRS}/c/status", change, content_type=MERGE)
    assert (status, answer["status"]) == (200, change["status"])


async def test_by_status_nobody_decides_and_by_approval_nobody_signs(bob: Asker, ask: Asker) -> None:
    await bob("POST", CSRS, a_csr())

    after = (await ask("PATCH", f"{CSRS}/c/status", _decision("Approved"), content_type=MERGE))[1]
    assert after.get("status", {}) == {}
    change = {"status": {"certificate": base64.b64encode(b"x").decode(), **_decision("Approved")["status"]}}
    after = (await ask("PATCH", f"{CSRS}/c/approval", change, content_type=MERGE))[1]
    assert "certificate" not in after["status"]
    assert [c["type"] for c in after["status"]["conditions"]] == ["Approved"]


@pytest.mark.parametrize("decision", [("Approved", "Denied"), ("Approved", "Approved")])
async def test_a_decision_is_one_and_stays(bob: Asker, ask: Asker, decision: tuple[str, ...]) -> None:
    await bob("POST", CSRS, a_csr())
    assert (await ask("PATCH", f"{CSRS}/c/approval", _decision(*decision), content_type=MERGE))[0] == 422

    assert (await ask("PATCH", f"{CSRS}/c/approval", _decision("Denied"), content_type=MERGE))[0] == 200
    assert (await ask("PATCH", f"{CSRS}/c/approval", _decision("Approved"), content_type=MERGE))[0] == 422
    assert (await ask("PATCH", f"{CSRS}/c/approval", {"status": {"conditions": []}}, content_type=MERGE))[0] == 422
