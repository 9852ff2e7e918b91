"""What gets a line in the audit log, and what never does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.access.audit import AuditLog, Auditor, notes, shares, verify
from skerry.apiserver.access.audit.files import files_in
from skerry.apiserver.access.audit.shares import Shares
from skerry.apiserver.http.message import ANONYMOUS, User
from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import CONFIGMAPS, MERGE, Asker, configmap, node_user, pod

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
SECRETS = "/api/v1/namespaces/default/secrets"


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit", batch_s=0.0)


@pytest.fixture
async def server(tmp_path: Path, log: AuditLog) -> AsyncIterator[ApiServer]:
    server = await ApiServer.open(tmp_path / "hub.sqlite", auditor=Auditor(log))
    yield server
    await server.close()
    log.close()


def _lines(log: AuditLog, tmp_path: Path) -> list[dict[str, Any]]:
    log.close(30)
    found = [json.loads(line) for path in files_in(tmp_path / "audit") for line in path.read_text().splitlines()]
    assert verify(tmp_path / "audit").whole
    return found


def _said(log: AuditLog, tmp_path: Path) -> list[tuple[str, str, int]]:
    return [(e["verb"], e["requestURI"], e["responseStatus"]["code"]) for e in _lines(log, tmp_path)]


async def test_writes_reads_of_secrets_and_refusals_get_a_line_and_other_reads_do_not(log: AuditLog, ask: Asker, tmp_path: Path) -> None:
    bob = ask.as_user(User("bob", ("system:authenticated",)))
    await ask("POST", CONFIGMAPS, configmap("a"))
    await ask("GET", f"{CONFIGMAPS}/a")
    await ask("GET", CONFIGMAPS)
    await ask("PATCH", f"{CONFIGMAPS}/a", {"data": {"x": "y"}}, content_type=MERGE)
    await ask("GET", SECRETS)
    await bob("GET", f"{CONFIGMAPS}/a")
    await ask("DELETE", f"{CONFIGMAPS}/a")
    await ask("DELETE", f"{CONFIGMAPS}/a")
    await ask("GET", "/healthz")

    assert _said(log, tmp_path) == [
        ("create", CONFIGMAPS, 201),
        ("patch", f"{CONFIGMAPS}/a", 200),
        ("list", SECRETS, 200),
        ("get", f"{CONFIGMAPS}/a", 403),
        ("delete", f"{CONFIGMAPS}/a", 200),
        ("delete", f"{CONFIGMAPS}/a", 404),
    ]


async def test_a_write_whose_client_goes_away_gets_a_line_all_the_same(log: AuditLog, ask: Asker, tmp_path: Path) -> None:
    writing = asyncio.create_task(ask("POST", CONFIGMAPS, configmap("a")))
    await asyncio.sleep(0)  # it waits for the disk now
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await ask("POST", CONFIGMAPS, configmap("b"))

    assert (await ask("GET", f"{CONFIGMAPS}/a"))[0] == 200, "what was with the disk is stored"
    assert _said(log, tmp_path) == [("create", CONFIGMAPS, 499), ("create", CONFIGMAPS, 201)]


async def test_the_daily_round_of_nodes_gets_no_line(log: AuditLog, ask: Asker, tmp_path: Path) -> None:
    node = ask.as_user(node_user("n1"))
    assert (await node("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}}))[0] == 201
    assert (await node("PATCH", "/api/v1/nodes/n1/status", {"status": {}}, content_type=MERGE))[0] == 200
    lease = {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}
    assert (await node("POST", LEASES, lease))[0] == 201
    assert (await node("PUT", f"{LEASES}/n1", lease))[0] == 200
    await ask("POST", "/api/v1/namespaces/default/pods", pod("p", node="n1"))
    assert (await node("PATCH", "/api/v1/namespaces/default/pods/p/status", {"status": {"phase": "Running"}}, content_type=MERGE))[0] == 200
    assert (await node("PATCH", "/api/v1/nodes/n2/status", {"status": {}}, content_type=MERGE))[0] == 403

    assert [s[:2] for s in _said(log, tmp_path)] == [
        ("create", "/api/v1/nodes"),
        ("create", LEASES),
        ("create", "/api/v1/namespaces/default/pods"),
        ("patch", "/api/v1/nodes/n2/status"),
    ]


async def test_who_acts_as_another_is_named_with_both(log: AuditLog, ask: Asker, tmp_path: Path) -> None:
    await ask("GET", CONFIGMAPS, impersonate_user="eve")

    (event,) = _lines(log, tmp_path)

    assert (event["user"]["username"], event["impersonatedUser"]["username"]) == ("admin", "eve")
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"


async def test_every_answer_has_a_number_and_the_line_has_the_same(log: AuditLog, ask: Asker, tmp_path: Path) -> None:
    answers = [await ask.raw("GET", "/healthz"), await ask.raw("GET", CONFIGMAPS), await ask.raw("POST", CONFIGMAPS, configmap("a"))]

    numbers = [a.headers["Audit-Id"] for a in answers]

    assert len(set(numbers)) == 3
    assert [e["auditID"] for e in _lines(log, tmp_path)] == numbers[2:]


async def test_strangers_cannot_fill_the_log(log: AuditLog, server: ApiServer, ask: Asker, tmp_path: Path) -> None:
    nobody = ask.as_user(ANONYMOUS)
    for _ in range(300):
        await nobody("GET", CONFIGMAPS)

    kept = len(_said(log, tmp_path))

    assert 100 <= kept < 300
    assert server.auditor.counted == 300 - kept


async def test_who_may_read_a_little_cannot_push_everybodys_lines_out(
    log: AuditLog, server: ApiServer, ask: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """380,000 refusals of one viewer, of a minute, were all that the log still held."""
    monkeypatch.setattr(shares, "BURST", 5.0)
    monkeypatch.setattr(shares, "PER_S", 0.0)
    eve = ask.as_user(User("eve", ("system:authenticated",)))
    for _ in range(20):
        await eve("GET", f"{SECRETS}/x")
        await eve("GET", "/api/v1/namespaces/default/pods/x/log")
    for n in range(20):
        await ask("POST", CONFIGMAPS, configmap(f"c{n}"))

    lines = _lines(log, tmp_path)

    assert [e["user"]["username"] for e in lines] == ["eve"] * 6 + ["admin"] * 20  # what changes something always gets its line
    assert "from here on they are counted" in lines[5]["annotations"]["audit.skerry.dev/note"]
    assert server.auditor.counted == 34


def test_what_was_counted_stands_on_the_next_line() -> None:
    found = Shares()
    taken = [found.take(("eve", True), 0.0, stranger=False) for _ in range(int(shares.BURST) + 4)]

    later = [found.take(("eve", True), 1.0, stranger=False) for _ in range(2)]

    assert taken[: int(shares.BURST)] == [""] * int(shares.BURST)
    assert taken[int(shares.BURST)] == shares.BEGINS.format(shares.PER_S)
    assert taken[int(shares.BURST) + 1 :] == [None] * 3
    assert later == [shares.ENDS.format(4), ""]


def test_the_users_that_are_remembered_are_bounded() -> None:
    found = Shares()
    for n in range(3 * shares.MAX_USERS):
        found.take((str(n), True), 0.0, stranger=False)

    assert len(found._of) == shares.MAX_USERS


async def test_no_body_gets_into_the_log(log: AuditLog, ask: Asker, tmp_path: Path) -> None:
    await ask(
        "POST", SECRETS, {"metadata": {"name": "s"}, "stringData": {"password": "canary-of-the-mine"}}, authorization="Bearer canary-too"
    )
    await ask("PATCH", f"{SECRETS}/s", {"stringData": {"password": "canary-of-the-mine"}}, content_type=MERGE)

    assert "canary" not in json.dumps(_lines(log, tmp_path))


async def test_a_hub_that_must_log_refuses_writes_that_it_cannot_and_still_answers_reads(tmp_path: Path, log: AuditLog) -> None:
    server = await ApiServer.open(tmp_path / "hub.sqlite", auditor=Auditor(log, required=True))
    ask = Asker(server)
    log.trouble = "the audit log cannot be written: No space left on device"

    status, answer = await ask("POST", CONFIGMAPS, configmap("a"))

    assert (status, answer["reason"]) == (503, "ServiceUnavailable")
    assert "No space left on device" in answer["message"]
    assert (await ask("GET", CONFIGMAPS))[0] == 200
    ready = (await ask.raw("GET", "/readyz?verbose")).body
    assert isinstance(ready, bytes)
    assert b"[-]audit failed" in ready
    log.trouble = ""
    assert (await ask("POST", CONFIGMAPS, configmap("a")))[0] == 201
    await server.close()
    log.close()


async def test_extra_fields_alone_ask_to_be_somebody_else_too(ask: Asker) -> None:
    status, answer = await ask("GET", CONFIGMAPS, impersonate_extra_project="x")

    assert status == 400
    assert "without a user" in answer["message"]


async def test_what_admission_says_of_a_write_stands_on_its_line(log: AuditLog, ask: Asker, tmp_path: Path) -> None:
    labels = {"pod-security.kubernetes.io/audit": "baseline"}
    await ask("PATCH", "/api/v1/namespaces/default", {"metadata": {"labels": labels}}, content_type=MERGE)
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]
    said = [{"key": "who", "valueExpression": "object.metadata.name"}, {"key": "none", "valueExpression": "null"}]
    policy = {
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "false", "message": "hm"}],
        "auditAnnotations": said,
    }
    group = "/apis/admissionregistration.k8s.io/v1"
    assert (await ask("POST", f"{group}/validatingadmissionpolicies", {"metadata": {"name": "p"}, "spec": policy}))[0] == 201
    binding = {"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Audit"]}}
    assert (await ask("POST", f"{group}/validatingadmissionpolicybindings", binding))[0] == 201
    privileged = pod("p")
    privileged["spec"]["hostNetwork"] = True

    assert (await ask("POST", "/api/v1/namespaces/default/pods", privileged))[0] == 201
    assert (await ask("POST", CONFIGMAPS, configmap("a")))[0] == 201
    await ask("DELETE", f"{CONFIGMAPS}/a")

    lines = {(e["verb"], e["objectRef"]["resource"]): e["annotations"] for e in _lines(log, tmp_path)}
    of_pod, of_map = lines["create", "pods"], lines["create", "configmaps"]
    assert of_pod["pod-security.kubernetes.io/enforce-policy"] == "privileged:latest"
    assert of_pod["pod-security.kubernetes.io/audit-violations"] == (
        'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    )
    assert of_map["p/who"] == "a"
    assert "p/none" not in of_map
    assert json.loads(of_map["validation.policy.admission.k8s.io/validation_failure"]) == [
        {"message": "hm", "policy": "p", "binding": "b", "expressionIndex": 0, "validationActions": ["Audit"]}
    ]
    assert not any("/" in k and k.split("/")[0] in ("p", "validation.policy.admission.k8s.io") for k in lines["delete", "configmaps"])


def test_annotations_of_one_request_are_bounded() -> None:
    gathered = notes.begin()

    for i in range(100):
        notes.annotate(f"k{i}", "ä" * 1000)
    notes.annotate("long", "x" * 20_000)
    notes.annotate("k" * 1000, "x")

    assert len(gathered) == 12
    assert notes.annotated("k0") == "ä" * 1000
    assert notes.annotated("k99") == ""


def test_a_read_neither_adds_to_the_line_of_the_write_before_it_nor_sees_what_it_said() -> None:
    written = notes.begin()
    notes.annotate("policy", "of the write")

    read = notes.none()
    notes.annotate("later", "of the read")

    assert (dict(written), dict(read)) == ({"policy": "of the write"}, {})
    assert notes.annotated("policy") == ""
