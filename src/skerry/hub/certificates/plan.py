"""What becomes of a CertificateSigningRequest: pure, from the object and the time to one step."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from skerry.model.objects import Object, dig, metadata
from skerry.model.times import parse_time

CLIENT = "kubernetes.io/kube-apiserver-client"
OF_NODES = ("kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving")
MAX_LIFETIME_S = 365 * 86400
_ALLOWED = frozenset(("client auth", "digital signature", "key encipherment"))
NODES = "a node's certificate comes from its Enrollment: skerry node join, kubectl get enrollments"
KEPT_DECIDED = timedelta(hours=1)
KEPT_PENDING = timedelta(hours=24)
"""As kube-controller-manager keeps them."""


class Sign(msgspec.Struct, frozen=True):
    """Issue the certificate, for at most this long."""

    lifetime_s: int


class Fail(msgspec.Struct, frozen=True):
    """Say why no certificate comes of it."""

    reason: str
    message: str


class Drop(msgspec.Struct, frozen=True):
    """Delete it: everybody has seen what became of it."""


class Wait(msgspec.Struct, frozen=True):
    """Look again after this long; None when there is nothing to wait for."""

    seconds: float | None


def plan(csr: Object, now: datetime) -> Sign | Fail | Drop | Wait:
    """Return the step for this request."""
    conditions = {str(c.get("type")): c for c in dig(csr, "status", "conditions", default=())}
    certificate, failed = dig(csr, "status", "certificate"), "Failed" in conditions
    signer = str(dig(csr, "spec", "signerName", default=""))
    if signer in OF_NODES and not failed and not certificate:
        return Fail("NodesJoinThroughEnrollments", NODES)
    if signer == CLIENT and "Approved" in conditions and not certificate and not failed:
        return _sign(csr)
    until = _kept_until(csr, conditions, decided=bool(certificate) or failed or "Denied" in conditions)
    left_s = (until - now).total_seconds()
    return Drop() if left_s <= 0 else Wait(left_s)


def _sign(csr: Object) -> Sign | Fail:
    usages = set(dig(csr, "spec", "usages", default=()))
    if "client auth" not in usages or not usages <= _ALLOWED:
        return Fail("SignerValidationFailure", "usages must hold client auth, and may hold digital signature and key encipherment")
    asked = dig(csr, "spec", "expirationSeconds")
    return Sign(min(MAX_LIFETIME_S, int(asked)) if asked else MAX_LIFETIME_S)


def _kept_until(csr: Object, conditions: dict[str, Any], *, decided: bool) -> datetime:
    if decided:
        last = max((str(c.get("lastUpdateTime") or "") for c in conditions.values()), default="")
        return parse_time(last or str(metadata(csr)["creationTimestamp"])) + KEPT_DECIDED
    return parse_time(str(metadata(csr)["creationTimestamp"])) + KEPT_PENDING


def failed(csr: Object, fail: Fail, now: str) -> Object:
    """Return the status patch that tells of a failure."""
    condition = {"type": "Failed", "status": "True", "reason": fail.reason, "message": fail.message, "lastUpdateTime": now}
    others = [c for c in dig(csr, "status", "conditions", default=()) if c.get("type") != "Failed"]
    return {"status": {"conditions": [*others, {**condition, "lastTransitionTime": now}]}}
