"""What follows from an Enrollment: pure plans, and the loop that carries them out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skerry.controllers.informers import Informers
from skerry.hub.enrollment import EnrollmentReconciler
from skerry.hub.enrollment.plan import LABELS_ANNOTATION, needs_certificate, node_labels_patch, status_for, status_patch, superseded
from skerry.hub.frontdoor import Roster
from skerry.model.objects import Object, dig
from skerry.model.resources import ENROLLMENTS, NODES
from skerry.testing.fakeapi import FakeApi
from skerry.trust.authority import make_key, make_request
from tests.unit.frontdoor.stage import InProcessWorkshop, an_enrollment, the_ca

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
KEY, OTHER = "ab" * 32, "cd" * 32


def a_node(labels: dict[str, str], note: str = "") -> Object:
    return {"metadata": {"name": "node-a", "labels": labels, "annotations": {LABELS_ANNOTATION: note} if note else {}}}


def test_a_status_that_is_right_is_left_alone() -> None:
    enrollment = an_enrollment("node-a", KEY)
    wanted = status_for(enrollment, certificate="PEM", now=NOW)

    first = status_patch(enrollment, wanted)
    then = {**enrollment, "status": wanted}

    assert first is not None
    assert first["status"]["phase"] == "Approved"
    assert status_patch(then, status_for(then, certificate="PEM", now=NOW)) is None


def test_the_certificate_of_a_token_is_issued_once_at_the_desk() -> None:
    by_hand = an_enrollment("node-a", KEY)
    by_token = an_enrollment("node-a", KEY, token="abc")

    assert (needs_certificate(by_hand), needs_certificate(by_token)) == (True, False)
    assert not needs_certificate({**by_hand, "status": {"certificate": "PEM"}})
    assert not needs_certificate(an_enrollment("node-a", KEY, "Pending"))


def test_a_denial_takes_the_certificate_out_of_the_status() -> None:
    denied = {**an_enrollment("node-a", KEY, "Denied"), "status": {"phase": "Approved", "certificate": "PEM"}}

    patch = status_patch(denied, status_for(denied, certificate="PEM", now=NOW))

    assert patch is not None
    assert patch["status"]["certificate"] is None
    assert patch["status"]["phase"] == "Denied"


def test_a_node_gets_its_site_and_labels_and_nothing_twice() -> None:
    enrollment = an_enrollment("node-a", KEY, site="dock-3", labels={"rack": "r1"})

    patch = node_labels_patch(a_node({"kubernetes.io/os": "linux"}), enrollment)
    settled = a_node({"skerry.dev/site": "dock-3", "rack": "r1"}, "rack,skerry.dev/site")

    assert patch is not None
    assert patch["metadata"]["labels"] == {"rack": "r1", "skerry.dev/site": "dock-3"}
    assert node_labels_patch(settled, enrollment) is None


def test_labels_that_are_no_longer_named_are_taken_back_and_foreign_ones_stay() -> None:
    node = a_node({"skerry.dev/site": "dock-3", "rack": "r1", "mine": "x"}, "rack,skerry.dev/site")

    patch = node_labels_patch(node, an_enrollment("node-a", KEY, labels={"row": "7"}))

    assert patch is not None
    assert patch["metadata"]["labels"] == {"row": "7", "rack": None, "skerry.dev/site": None}


def test_a_site_that_a_node_gave_itself_is_taken_back() -> None:
    patch = node_labels_patch(a_node({"skerry.dev/site": "stolen"}), an_enrollment("node-a", KEY))

    assert patch is not None
    assert patch["metadata"]["labels"] == {"skerry.dev/site": None}


def _since(enrollment: Object, at: str) -> Object:
    return {**enrollment, "status": {"conditions": [{"type": "Approved", "status": "True", "lastTransitionTime": at}]}}


def test_the_newest_approval_of_a_node_supersedes_the_older_key() -> None:
    old = _since(an_enrollment("node-a", KEY), "2026-01-01T00:00:00Z")
    new = an_enrollment("node-a", OTHER)
    foreign = _since(an_enrollment("node-b", "ef" * 32), "2026-01-01T00:00:00Z")

    assert superseded(new, [old, new, foreign]) == [old["metadata"]["name"]]
    assert superseded(old, [old, new, foreign]) == []


async def _until(holds: Any) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


async def test_an_approval_by_hand_is_carried_out(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_text(the_ca()[0])
    (tmp_path / "ca.crt").write_text(the_ca()[1])
    api, roster, changes = FakeApi(), Roster(), []
    informers = Informers(api)
    reconciler = EnrollmentReconciler(
        api,
        roster,
        InProcessWorkshop(),
        tmp_path,
        enrollments=informers.of(ENROLLMENTS),
        nodes=informers.of(NODES),
        now=lambda: NOW,
        changed=lambda: changes.append(1),
    )
    enrollment = an_enrollment("node-a", KEY, "Pending", csr=make_request(make_key(), "x"))
    name = enrollment["metadata"]["name"]
    api.seed(ENROLLMENTS, enrollment)
    api.seed(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}})
    tasks = [asyncio.ensure_future(informers.run()), asyncio.ensure_future(reconciler.run())]

    await _until(lambda: dig(api.peek(ENROLLMENTS, "", name), "status", "phase") == "Pending")
    await api.patch(ENROLLMENTS, "", name, {"spec": {"decision": "Approved", "site": "dock-3"}})
    await _until(lambda: dig(api.peek(NODES, "", "node-a"), "metadata", "labels", "skerry.dev/site") == "dock-3")
    await _until(lambda: dig(api.peek(ENROLLMENTS, "", name), "status", "certificate"))
    assert roster.node_of(KEY) == "node-a"
    assert len(changes) == 2  # pending, approved: what the status says opens and closes no connection
    await api.patch(ENROLLMENTS, "", name, {"spec": {"decision": "Denied"}})
    await _until(lambda: roster.denied(KEY))

    assert len(changes) == 3
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
