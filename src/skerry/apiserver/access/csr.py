"""CertificateSigningRequests: who asks is written by the server, what was asked never changes, and approval has a door of its own.

Pure but for the authoriser. Nothing here signs: that is the hub's (`skerry.hub.certificates`), and never for a node's identity,
which comes from an Enrollment only. Source: the Kubernetes page on certificate signing requests.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.access.authorise import Access
from skerry.apiserver.http.message import User
from skerry.apiserver.registry.admission import Admission, Chain
from skerry.model.errors import Cause, forbidden, forbidden_field, invalid, invalid_value, not_supported, required
from skerry.model.objects import Object, dig
from skerry.trust import TrustError, pem_to_der

GROUP, KEY = "certificates.k8s.io", "certificatesigningrequests.certificates.k8s.io"
MIN_SECONDS = 600
_SUBJECT = ("username", "uid", "groups", "extra")
_DECISIONS = ("Approved", "Denied", "Failed")
USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only",
    "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement",
    "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping",
)  # fmt: skip


class CertificateRequests:
    """The admission of CSRs, ready to be added to the chain."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def add_to(self, chain: Chain) -> None:
        chain.mutating(KEY, ("CREATE",), self._create)
        chain.mutating(KEY, ("UPDATE",), self._update)
        chain.validating(KEY, ("CREATE",), self._judge_new)
        chain.validating(KEY, ("UPDATE",), self._judge_changed)

    @staticmethod
    def _create(asked: Admission) -> None:
        assert asked.new is not None
        spec = asked.new.setdefault("spec", {})
        if isinstance(spec, dict):
            for key in _SUBJECT:
                spec.pop(key, None)
            spec |= requester(asked.options.user)

    @staticmethod
    def _update(asked: Admission) -> None:
        assert asked.new is not None
        assert asked.old is not None
        keep_what_is_fixed(asked.new, asked.old, asked.subresource, now=asked.registry.timestamp())

    @staticmethod
    def _judge_new(asked: Admission) -> None:
        assert asked.new is not None
        causes = list(request_causes(asked.new))
        if causes:
            raise invalid("CertificateSigningRequest", GROUP, asked.name, causes)

    def _judge_changed(self, asked: Admission) -> None:
        assert asked.new is not None
        assert asked.old is not None
        if asked.subresource == "approval":
            self._require(asked, "approve")
            causes = list(approval_causes(asked.new, asked.old))
            if causes:
                raise invalid("CertificateSigningRequest", GROUP, asked.name, causes)
        elif asked.subresource == "status" and dig(asked.new, "status", "certificate") != dig(asked.old, "status", "certificate"):
            self._require(asked, "sign")

    def _require(self, asked: Admission, verb: str) -> None:
        """Demand *verb* on the signer, by its name or that of its domain; the server itself needs nothing."""
        signer = str(dig(asked.old, "spec", "signerName", default=""))
        names = (signer, f"{signer.partition('/')[0]}/*")
        user = asked.options.user
        if asked.options.internal or any(self._access.allowed(Attributes(user, verb, GROUP, "signers", name=n)) for n in names):
            return
        why = f'user not permitted to {verb} requests with signerName "{signer}"'
        raise forbidden("certificatesigningrequests", GROUP, asked.name, why)


def requester(user: User) -> Object:
    """Return the fields of a CSR's spec that say who asked."""
    found: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        found["uid"] = user.uid
    if user.extra:
        found["extra"] = {k: list(v) for k, v in user.extra.items()}
    return found


def keep_what_is_fixed(new: Object, old: Object, subresource: str, *, now: str) -> None:
    """Put back what this door does not change: always the request, by /approval all but the conditions, by /status the decision."""
    new["spec"] = old.get("spec") or {}
    before = old.get("status") or {}
    if subresource == "approval":
        status = {**before, "conditions": dig(new, "status", "conditions")}
    elif subresource == "status":
        status = dict(new.get("status") or {})
        decided = [c for c in before.get("conditions") or () if c.get("type") in ("Approved", "Denied")]
        others = [c for c in status.get("conditions") or () if c.get("type") not in ("Approved", "Denied")]
        status["conditions"] = [*decided, *others]
    else:
        status = before
    status = {k: v for k, v in status.items() if v}
    for condition in status.get("conditions") or ():
        _stamp(condition, before.get("conditions") or (), now)
    new["status"] = status


def _stamp(condition: Object, before: Any, now: str) -> None:
    there: Object = next((c for c in before if c.get("type") == condition.get("type")), {})
    condition.setdefault("status", "True")
    condition["lastUpdateTime"] = condition.get("lastUpdateTime") or there.get("lastUpdateTime") or now
    same = there.get("status") == condition["status"]
    condition["lastTransitionTime"] = condition.get("lastTransitionTime") or (there.get("lastTransitionTime") if same else None) or now


def request_causes(csr: Object) -> Iterator[Cause]:
    """Yield what is wrong with a new request."""
    spec = csr.get("spec") or {}
    text = str(spec.get("request") or "")
    try:
        pem_to_der(base64.b64decode(text, validate=True).decode("ascii"), "CERTIFICATE REQUEST")
    except (binascii.Error, UnicodeDecodeError, TrustError):
        yield invalid_value("spec.request", text[:64], "PEM block type must be CERTIFICATE REQUEST")
    usages = spec.get("usages") or []
    if not usages:
        yield required("spec.usages", "")
    for i, usage in enumerate(usages):
        if usage not in USAGES:
            yield not_supported(f"spec.usages[{i}]", usage, list(USAGES))
        elif usage in usages[:i]:
            yield Cause(f"spec.usages[{i}]", "FieldValueDuplicate", f'Duplicate value: "{usage}"')
    yield from _signer_causes(str(spec.get("signerName") or ""))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < MIN_SECONDS:
        yield invalid_value("spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)")


def _signer_causes(signer: str) -> Iterator[Cause]:
    domain, slash, path = signer.partition("/")
    if signer == "kubernetes.io/legacy-unknown":
        yield invalid_value("spec.signerName", signer, "the legacy signerName is not allowed via this API version")
    elif not signer:
        yield required("spec.signerName", "")
    elif not slash or not path or "." not in domain:
        yield invalid_value("spec.signerName", signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'")


def approval_causes(new: Object, old: Object) -> Iterator[Cause]:
    """Yield what is wrong with a decision: it is made once, is true, and is not its own opposite."""
    conditions = dig(new, "status", "conditions", default=())
    types = [str(c.get("type")) for c in conditions]
    before = {str(c.get("type")) for c in dig(old, "status", "conditions", default=())}
    for i, condition in enumerate(conditions):
        where = f"status.conditions[{i}]"
        kind = types[i]
        if types.index(kind) != i:
            yield Cause(f"{where}.type", "FieldValueDuplicate", f'Duplicate value: "{kind}"')
        if kind in _DECISIONS and condition.get("status") != "True":
            yield not_supported(f"{where}.status", condition.get("status"), ["True"])
        opposite = {"Approved": "Denied", "Denied": "Approved"}.get(kind)
        if opposite in types[:i]:
            yield invalid_value(f"{where}.type", kind, "Approved and Denied conditions are mutually exclusive")
    for kind in sorted(before & {"Approved", "Denied"} - set(types)):
        yield forbidden_field("status.conditions", f'updates may not remove a condition of type "{kind}"')
