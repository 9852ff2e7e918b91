"""Answers `POST /enroll`: a key that proves itself gets its certificate once an Enrollment for it is approved.

What stays true: nothing is stored for somebody without a token but a bounded number of pending Enrollments; a token buys exactly
one approval, also when the hub is put back to a time before that; the certificate is composed here, of the request only the key
counts; a denied key gets nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from skerry.apiserver.http.message import Request, Response
from skerry.hub.data_folder import restored_from
from skerry.hub.enrollment.rate import Shares
from skerry.hub.enrollment.tokens import Accepted, Refused, consumed, from_secret, judge, secret_name, split_credential
from skerry.hub.frontdoor.requests import error_response
from skerry.hub.frontdoor.roster import Roster
from skerry.hub.frontdoor.strangers import network_of
from skerry.kube import Api
from skerry.model.errors import ApiError, bad_request, too_large, too_many_requests
from skerry.model.kinds.enrollment import APPROVED, DENIED, PENDING, node_name_error, object_name
from skerry.model.objects import Object, dig, name_of, revision_of
from skerry.model.resources import ENROLLMENTS, SECRETS, SYSTEM_NAMESPACE
from skerry.model.unreadable import NOT_JSON
from skerry.trust import TrustError, Workshop, WorkshopError, facts_of_pem
from skerry.trust.joining import MAX_QUESTION, Answer, Question

log = logging.getLogger(__name__)

MAX_PENDING = 100
"""Enrollments that wait for a person: who has no token cannot fill the store."""
MAX_ASKING = 32
"""Questions that are looked at at once: of the 50 places that strangers have, the console's visitors need some."""
HARDWARE = ("architecture", "hostname", "kernel", "machineID", "operatingSystem", "product", "serial")
_JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def _refused(message: str) -> ApiError:
    return ApiError(403, "Forbidden", message)


class EnrollmentDesk:
    """The handlers of `/enroll` and `/enroll/ca`. *api* acts as the hub itself."""

    def __init__(
        self,
        api: Api,
        roster: Roster,
        workshop: Workshop,
        pki: Path,
        *,
        now: Callable[[], datetime],
        randomness: random.Random | None = None,
        allowance: Shares | None = None,
    ) -> None:
        self._api = api
        self._roster = roster
        self._workshop = workshop
        self._pki = pki
        self._now = now
        self._random = randomness or random.Random()  # noqa: S311 - spreads retries, keeps no secret
        self._allowance = allowance or Shares(per_second=50, burst=400)
        self._asking = 0
        self._restored_from = restored_from(pki)
        self._ca = (pki / "ca.crt").read_text()

    async def ca(self, request: Request) -> Response:
        """`GET /enroll/ca`: the hub's CA certificate, which is no secret; a node compares its hash with the token's."""
        return Response(200, {"Content-Type": "application/x-pem-file"}, self._ca.encode())

    async def enroll(self, request: Request) -> Response:
        """`POST /enroll`: 200 with the certificate, 202 while nobody has decided, 403 with the reason."""
        wait_s = self._allowance.take(network_of(request.peer), asyncio.get_running_loop().time())
        if wait_s or self._asking >= MAX_ASKING:
            spread_s = math.ceil(wait_s + self._random.random() * 10)
            return error_response(too_many_requests("too many nodes ask to join at once; ask again later", retry_after_s=spread_s))
        self._asking += 1
        try:
            answer = await self._answer(_read(request.body))
        except WorkshopError as error:
            log.error("the hub cannot issue certificates", extra={"reason": str(error)})
            return error_response(
                ApiError(503, "ServiceUnavailable", "the hub cannot issue certificates now", details={"retryAfterSeconds": 5})
            )
        finally:
            self._asking -= 1
        return Response(200 if answer.certificate else 202, _JSON, msgspec.json.encode(answer))

    async def _answer(self, question: Question) -> Answer:
        try:
            key_hash = await self._workshop.read_request(question.csr)
        except TrustError as error:
            raise bad_request(f"csr: {error}") from error
        if self._roster.denied(key_hash):
            raise _refused("this key was denied: approve its Enrollment again, or let the node make a new key")
        self._require_same_name(question.node, key_hash)
        enrollment = await self._find(object_name(question.node, key_hash))
        if enrollment is None or _decision(enrollment) == PENDING:
            enrollment = await self._settle(question, key_hash, enrollment)
        if _decision(enrollment) == DENIED:
            raise _refused("this key was denied")
        if _decision(enrollment) == PENDING:
            return Answer(phase=PENDING, node=question.node)
        return await self._issue(enrollment)

    async def _secret(self, token_id: str) -> Object | None:
        try:
            return await self._api.get(SECRETS, SYSTEM_NAMESPACE, secret_name(token_id))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def _require_same_name(self, node: str, key_hash: str) -> None:
        known = self._roster.node_of(key_hash)
        if known is not None and known != node:
            raise _refused(f"this key belongs to node {known}; a node that changes its name needs a new key")

    async def _find(self, name: str) -> Object | None:
        try:
            return await self._api.get(ENROLLMENTS, "", name)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def _settle(self, question: Question, key_hash: str, enrollment: Object | None) -> Object:
        """Return the Enrollment of a key that was not decided on yet; a token decides."""
        if not question.token:
            return enrollment or await self._create(question, key_hash, {"decision": PENDING})
        bought = await self._consume(question, key_hash)
        if enrollment is None:
            return await self._create(question, key_hash, bought)
        approval = {"spec": {k: v for k, v in bought.items() if k != "token"}}  # what it asked with at first stays
        return await self._api.patch(ENROLLMENTS, "", object_name(question.node, key_hash), approval)

    async def _consume(self, question: Question, key_hash: str) -> dict[str, Any]:
        """Use the token up for this key, and return what it buys; exactly one of many that try at once succeeds."""
        token_id, secret_part = split_credential(question.token)
        while True:
            secret = await self._secret(token_id)
            record = from_secret(secret) if secret else None
            found = judge(record, secret_part, node=question.node, key_hash=key_hash, now=self._now())
            if isinstance(found, Refused):
                raise _refused(found.reason)
            self._require_free_name(question.node, key_hash, found)
            if secret and revision_of(secret) <= self._restored_from:
                raise _refused(
                    "the token was made before this hub was restored from a backup, and may have been used since: "
                    "ask for another with `skerry hub token create`"
                )
            if not found.unused or (secret and await self._use_up(secret, key_hash)):
                return _bought(found)

    async def _use_up(self, secret: Object, key_hash: str) -> bool:
        """Mark the token as used by this key; False when somebody else changed or deleted it first."""
        try:
            await self._api.replace(SECRETS, consumed(secret, key_hash))
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            return False
        log.info("token used", extra={"token": name_of(secret).name, "key": key_hash[:10]})
        return True

    def _require_free_name(self, node: str, key_hash: str, token: Accepted) -> None:
        """A token that names no node must not take the name of one that is there: that is for a person to decide."""
        others = [k for k in self._roster.approved_keys(node) if k != key_hash]
        if others and token.record.node != node:
            raise _refused(
                f"there is a node {node} with another key. If it was replaced, make a token for it: skerry hub token create --node {node}"
            )

    async def _create(self, question: Question, key_hash: str, decided: dict[str, Any]) -> Object:
        if decided["decision"] == PENDING and self._roster.pending() >= MAX_PENDING:
            raise too_many_requests(f"{MAX_PENDING} nodes wait for approval already: approve or delete some", retry_after_s=60)
        enrollment = {
            "apiVersion": ENROLLMENTS.api_version,
            "kind": ENROLLMENTS.kind,
            "metadata": {"name": object_name(question.node, key_hash)},
            "spec": {
                "nodeName": question.node,
                "keyHash": key_hash,
                "csr": question.csr,
                "hardware": {k: _clean(v) for k, v in question.hardware.items() if k in HARDWARE},
                **decided,
            },
        }
        try:
            return await self._api.create(ENROLLMENTS, enrollment)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return await self._api.get(ENROLLMENTS, "", object_name(question.node, key_hash))

    async def _issue(self, enrollment: Object) -> Answer:
        node = str(dig(enrollment, "spec", "nodeName"))
        certificate = current_certificate(enrollment, self._now())
        if not certificate:
            certificate = await self._workshop.issue_node(self._pki, str(dig(enrollment, "spec", "csr")), node)
            log.info("certificate issued", extra={"node": node, "key": str(dig(enrollment, "spec", "keyHash"))[:10]})
            await self._keep(enrollment, certificate)
        return Answer(
            phase=APPROVED,
            node=node,
            certificate=certificate,
            ca=self._ca,
            site=str(dig(enrollment, "spec", "site", default="")),
            labels=dig(enrollment, "spec", "labels", default={}),
        )

    async def _keep(self, enrollment: Object, certificate: str) -> None:
        """Write the certificate into the status; that it fails costs a second certificate later, so it is only logged."""
        name = str(dig(enrollment, "metadata", "name"))
        try:
            await self._api.patch(ENROLLMENTS, "", name, {"status": {"certificate": certificate}}, subresource="status")
        except ApiError as error:
            log.warning("the certificate was not written into the status", extra={"enrollment": name, "reason": error.message})


def current_certificate(enrollment: Object, now: datetime) -> str:
    """Return the certificate in the status when more than a third of its life is left, else ""."""
    pem = str(dig(enrollment, "status", "certificate", default=""))
    if not pem:
        return ""
    try:
        facts = facts_of_pem(pem)
    except TrustError:
        return ""
    left, lifetime = facts.not_after - now, facts.not_after - facts.not_before
    return pem if timedelta(0) < lifetime / 3 < left and facts.key_hash == dig(enrollment, "spec", "keyHash") else ""


def _decision(enrollment: Object) -> str:
    return str(dig(enrollment, "spec", "decision", default=PENDING))


def _bought(token: Accepted) -> dict[str, Any]:
    record = token.record
    found: dict[str, Any] = {"decision": APPROVED, "token": record.id}
    if record.site:
        found["site"] = record.site
    if record.labels:
        found["labels"] = dict(record.labels)
    return found


def _read(body: bytes) -> Question:
    if len(body) > MAX_QUESTION:
        raise too_large(MAX_QUESTION)
    try:
        question = msgspec.json.decode(body, type=Question)
    except NOT_JSON as error:
        raise bad_request(f"not a question to join: {error}") from error
    wrong = node_name_error(question.node)
    if wrong:
        raise bad_request(f"node {question.node[:80]!r}: {wrong}")
    return question


def _clean(text: str) -> str:
    return "".join(c for c in text[:256] if c.isprintable())
