"""`POST /enroll`: who gets a certificate, and who does not (T4)."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.apiserver.http.message import ANONYMOUS, Request
from skerry.hub.enrollment import EnrollmentDesk
from skerry.hub.enrollment.desk import MAX_PENDING
from skerry.hub.enrollment.rate import MAX_NETWORKS, Shares
from skerry.hub.enrollment.tokens import from_secret, new_token, to_secret
from skerry.hub.frontdoor import Roster
from skerry.model.errors import ApiError
from skerry.model.objects import Object, dig
from skerry.model.resources import ENROLLMENTS, SECRETS
from skerry.testing.fakeapi import FakeApi
from skerry.trust import facts_of_pem
from skerry.trust.authority import make_key, make_request
from skerry.trust.joining import JoinToken
from tests.unit.frontdoor.stage import InProcessWorkshop, the_ca

NOW = datetime.now(UTC)


@dataclass
class Desk:
    """The desk of a hub in memory, whose roster knows each Enrollment at once."""

    folder: Path
    api: FakeApi = field(default_factory=FakeApi)
    roster: Roster = field(default_factory=Roster)
    now: datetime = NOW
    allowance: Shares = field(default_factory=lambda: Shares(per_second=1000, burst=1000))

    def __post_init__(self) -> None:
        (self.folder / "ca.key").write_text(the_ca()[0])
        (self.folder / "ca.crt").write_text(the_ca()[1])
        workshop = InProcessWorkshop()
        self.desk = EnrollmentDesk(self.api, self.roster, workshop, self.folder, now=lambda: self.now, allowance=self.allowance)

    def a_token(self, **bought: Any) -> JoinToken:
        token, record = new_token("ab" * 32, expires=NOW + timedelta(minutes=10), **bought)
        self.api.seed(SECRETS, to_secret(record))
        return token

    async def ask(self, key: str, node: str = "node-a", token: JoinToken | str = "", **more: Any) -> tuple[int, dict[str, Any]]:
        credential = token.credential if isinstance(token, JoinToken) else token
        return await self.post(msgspec.json.encode({"csr": make_request(key, node), "node": node, "token": credential, **more}))

    async def post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            response = await self.desk.enroll(Request("POST", "/enroll", "", {}, body, ANONYMOUS))
        except ApiError as error:
            return error.code, error.to_status()
        self.follow()
        assert isinstance(response.body, bytes)
        return response.status, msgspec.json.decode(response.body)

    def follow(self) -> None:
        self.roster.clear()
        for enrollment in self.api.all(ENROLLMENTS):
            self.roster.put(enrollment)

    def decide(self, name: str, **spec: Any) -> None:
        enrollment = self.api.peek(ENROLLMENTS, "", name)
        assert enrollment is not None
        self.api.seed(ENROLLMENTS, {**enrollment, "spec": {**enrollment["spec"], **spec}})
        self.follow()

    @property
    def enrollments(self) -> list[Object]:
        return self.api.all(ENROLLMENTS)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_token_buys_a_certificate_with_its_site_and_labels(desk: Desk) -> None:
    token = desk.a_token(site="dock-3", labels={"rack": "r1"})

    code, answer = await desk.ask(make_key(), token=token)

    assert (code, answer["phase"], answer["site"], answer["labels"]) == (200, "Approved", "dock-3", {"rack": "r1"})
    facts = facts_of_pem(answer["certificate"])
    assert (facts.common_name, facts.organizations) == ("system:node:node-a", ("system:nodes",))
    assert dig(desk.enrollments[0], "spec", "token") == token.id


async def test_the_same_key_may_ask_again_after_a_lost_reply(desk: Desk) -> None:
    key, token = make_key(), desk.a_token()
    _, first = await desk.ask(key, token=token)

    again, second = await desk.ask(key, token=token)
    without, third = await desk.ask(key)

    assert (again, without) == (200, 200)
    assert first["certificate"] == second["certificate"] == third["certificate"]


async def test_a_key_whose_token_was_used_but_not_its_enrollment_written_goes_on(desk: Desk) -> None:
    """The hub was killed between the two writes."""
    key, token = make_key(), desk.a_token()
    desk.api.fail_next(ConnectionError("killed"), "create")
    with pytest.raises(ConnectionError):
        await desk.ask(key, token=token)

    code, _ = await desk.ask(key, token=token)
    other, _ = await desk.ask(make_key(), token=token)

    assert (code, other) == (200, 403)


async def test_of_a_hundred_that_redeem_a_token_at_once_exactly_one_gets_in(desk: Desk) -> None:
    token = desk.a_token()

    answers = await asyncio.gather(*(desk.ask(make_key(), f"node-{i}", token) for i in range(100)))

    assert sorted(code for code, _ in answers) == [200] + [403] * 99
    assert len(desk.enrollments) == 1


async def test_a_used_token_is_refused_to_another_key(desk: Desk) -> None:
    token = desk.a_token()
    await desk.ask(make_key(), token=token)

    code, answer = await desk.ask(make_key(), "node-b", token)

    assert code == 403
    assert "used by another key" in answer["message"]


@pytest.mark.parametrize("wrong", ["unknown", "secret", "garbage", "expired", "node", "damaged"])
async def test_a_token_that_is_no_good_is_refused_and_nothing_is_stored(desk: Desk, wrong: str) -> None:
    token = desk.a_token(node="node-b" if wrong == "node" else "")
    shown = {
        "unknown": "0123456789." + token.secret,
        "secret": token.id + "." + "x" * 32,
        "garbage": "../../etc/passwd\x00." + "y" * 300,
    }.get(wrong, token.credential)
    if wrong == "expired":
        desk.now = NOW + timedelta(minutes=11)
    if wrong == "damaged":
        secret = desk.api.all(SECRETS)[0]
        desk.api.seed(SECRETS, {**secret, "data": {**secret["data"], "expires": "!!"}})

    code, answer = await desk.ask(make_key(), token=shown)

    assert code == 403, answer
    assert desk.enrollments == []


async def test_without_a_token_a_person_decides(desk: Desk) -> None:
    key = make_key()
    first, answer = await desk.ask(key, hardware={"product": "Box 7\x1b[31m", "unknown": "x"})
    name = desk.enrollments[0]["metadata"]["name"]
    again, _ = await desk.ask(key)

    desk.decide(name, decision="Approved", site="dock-3")
    approved, got = await desk.ask(key)

    assert (first, answer["phase"], again, approved, got["site"]) == (202, "Pending", 202, 200, "dock-3")
    assert dig(desk.enrollments[0], "spec", "hardware") == {"product": "Box 7[31m"}


async def test_a_denied_key_is_refused_under_every_name_and_with_a_token(desk: Desk) -> None:
    key = make_key()
    await desk.ask(key)
    desk.decide(desk.enrollments[0]["metadata"]["name"], decision="Denied")

    same, _ = await desk.ask(key)
    other, _ = await desk.ask(key, "node-b")
    with_token, _ = await desk.ask(key, "node-c", desk.a_token())

    assert (same, other, with_token) == (403, 403, 403)
    assert len(desk.enrollments) == 1


async def test_a_key_does_not_get_a_second_name(desk: Desk) -> None:
    key = make_key()
    await desk.ask(key, token=desk.a_token())

    code, answer = await desk.ask(key, "node-b", desk.a_token())

    assert code == 403
    assert "belongs to node node-a" in answer["message"]


async def test_a_token_for_any_node_does_not_take_over_a_name(desk: Desk) -> None:
    await desk.ask(make_key(), token=desk.a_token())

    taken, answer = await desk.ask(make_key(), token=desk.a_token())
    replaced, _ = await desk.ask(make_key(), token=desk.a_token(node="node-a"))

    assert (taken, replaced) == (403, 200)
    assert "with another key" in answer["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"csr":1,"node":"a"}',
        b'{"csr":"x","node":"node-a"}',
        b'{"csr":"x","node":"../a"}',
        b'{"csr":"\xb0","node":"a"}',
        b"x" * 17_000,
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(desk: Desk, body: bytes) -> None:
    code, _ = await desk.post(body)

    assert code in (400, 413)
    assert desk.enrollments == []


async def test_pending_enrollments_are_bounded(desk: Desk) -> None:
    for i in range(MAX_PENDING):
        desk.roster.put({"metadata": {"name": f"n{i}"}, "spec": {"nodeName": f"n{i}", "keyHash": f"{i}", "decision": "Pending"}})

    code, _ = await desk.ask(make_key())

    assert code == 429
    assert desk.enrollments == []


async def test_too_many_questions_are_put_off(tmp_path: Path) -> None:
    desk = Desk(tmp_path, allowance=Shares(per_second=0.1, burst=1))
    await desk.post(b"{}")

    code, answer = await desk.post(b"{}")

    assert code == 429
    assert answer["details"]["retryAfterSeconds"] >= 1


async def test_a_certificate_near_its_end_is_issued_anew_for_the_same_key(desk: Desk) -> None:
    key = make_key()
    _, first = await desk.ask(key, token=desk.a_token())
    desk.now = NOW + timedelta(days=300)

    code, second = await desk.ask(key)

    assert code == 200
    assert second["certificate"] != first["certificate"]
    assert facts_of_pem(second["certificate"]).key_hash == facts_of_pem(first["certificate"]).key_hash


@pytest.mark.parametrize("labels", ["[", "[]", "[" * 100_000, '{"a":1}', "\xff"])
def test_a_token_whose_labels_cannot_be_read_is_none(labels: str) -> None:
    secret = to_secret(new_token("0" * 64, expires=NOW)[1])
    secret["data"]["labels"] = base64.b64encode(labels.encode("latin-1")).decode()

    assert from_secret(secret) is None


async def test_a_token_of_before_a_restore_buys_nothing(tmp_path: Path) -> None:
    """A backup holds tokens that were used after it was made: whoever finds one could join with it."""
    (tmp_path / "restored").write_text("1000000\n")
    desk = Desk(tmp_path)
    old = desk.a_token()

    refused = await desk.ask(make_key(), token=old)
    unknown = await desk.ask(make_key(), token=f"{old.id}.guess")
    secret = desk.api.all(SECRETS)[0]
    desk.api.seed(SECRETS, {**secret, "metadata": {**secret["metadata"], "resourceVersion": "1000001"}})

    assert refused[0] == 403
    assert "restored from a backup" in refused[1]["message"]
    assert "restored" not in unknown[1]["message"]
    assert desk.enrollments == []


def test_one_network_that_asks_without_end_leaves_half_to_the_others() -> None:
    shares = Shares(per_second=2, burst=4)

    taken = [shares.take("192.0.2.1", 0.0) for _ in range(50)]

    assert taken.count(0.0) == 2
    assert shares.take("192.0.2.2", 0.0) == 0.0


def test_the_networks_that_are_remembered_are_bounded() -> None:
    shares = Shares(per_second=10_000, burst=10_000)

    for i in range(3 * MAX_NETWORKS):
        shares.take(str(i), 0.0)

    assert len(shares._of) == MAX_NETWORKS
