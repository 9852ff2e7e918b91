"""Makes tokens: what a TokenRequest may ask for, and the token that it gets."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from skerry.apiserver.access.tokens.claims import ISSUER, MAX_LIFETIME_S, MIN_LIFETIME_S, build
from skerry.apiserver.access.tokens.jwt import encode
from skerry.apiserver.access.tokens.keys import TokenKeys
from skerry.model.errors import Cause, bad_request, conflict, invalid, not_found
from skerry.model.objects import Object, dig, name_of, uid_of
from skerry.model.times import rfc3339

Find = Callable[[str, str, str], Object | None]
"""Return the object at (key, namespace, name)."""

DEFAULT_LIFETIME_S = 3600
MAX_AUDIENCES = 16
_BINDABLE = {("v1", "Pod"): "pods", ("v1", "Secret"): "secrets", ("v1", "Node"): "nodes"}


class Issued(msgspec.Struct, frozen=True):
    """A token, until when it is good, and what was asked for with the defaults filled in."""

    token: str
    token_id: str
    expires: str
    spec: Object


class TokenIssuer:
    """Issues tokens of ServiceAccounts for as long as it has keys."""

    def __init__(self, keys: TokenKeys, find: Find, now: Callable[[], datetime]) -> None:
        self._keys, self._find, self._now = keys, find, now

    def issue(self, namespace: str, name: str, spec: Mapping[str, Any]) -> Issued:
        """Return a token for what a TokenRequest's *spec* says; ApiError when it cannot be."""
        account = self._find("serviceaccounts", namespace, name)
        if account is None:
            raise not_found("serviceaccounts", "", name)
        lifetime_s = _lifetime(spec)
        audiences = [str(a) for a in spec.get("audiences") or (ISSUER,)]
        if len(audiences) > MAX_AUDIENCES:
            raise bad_request(f"{len(audiences)} audiences, the limit is {MAX_AUDIENCES}")
        reference = spec.get("boundObjectRef")
        bound = self._bound(reference, account) if reference else {}
        now = self._now()
        token_id = str(uuid.uuid4())
        claims = build(account, audiences=audiences, lifetime_s=lifetime_s, token_id=token_id, now=now, bound=bound)
        token = encode(claims, self._keys.active, self._keys.sign)
        told = {"audiences": audiences, "expirationSeconds": lifetime_s, "boundObjectRef": reference or None}
        return Issued(token, token_id, rfc3339(now + timedelta(seconds=lifetime_s)), told)

    def _bound(self, reference: Mapping[str, Any], account: Object) -> dict[str, Object]:
        namespace, name = name_of(account)
        kind = str(reference.get("kind") or "")
        key = _BINDABLE.get((str(reference.get("apiVersion") or ""), kind))
        if key is None:
            raise bad_request(
                f"cannot bind token to object of type {reference.get('apiVersion')}, Kind={kind}: it must be a v1 Pod, Secret or Node"
            )
        wanted = str(reference.get("name") or "")
        found = self._find(key, "" if key == "nodes" else namespace, wanted)
        if found is None:
            raise not_found(key, "", wanted)
        uid = str(reference.get("uid") or "")
        if uid and uid != uid_of(found):
            why = f"the UID in the bound object reference ({uid}) does not match the UID in record"
            raise conflict(key, "", wanted, f"{why}. The object might have been deleted and then recreated")
        if key == "pods" and dig(found, "spec", "serviceAccountName") != name:
            raise bad_request(f'cannot bind token for serviceaccount "{name}" to pod running with different serviceaccount name.')
        bound = {kind.lower(): found}
        node = self._find("nodes", "", str(dig(found, "spec", "nodeName", default=""))) if key == "pods" else None
        return {**bound, "node": node} if node is not None else bound


def _lifetime(spec: Mapping[str, Any]) -> int:
    asked = spec.get("expirationSeconds")
    lifetime_s = DEFAULT_LIFETIME_S if asked is None else int(asked)
    why = ""
    if lifetime_s < MIN_LIFETIME_S:
        why = "may not specify a duration less than 10 minutes"
    elif lifetime_s > MAX_LIFETIME_S:
        why = "may not specify a duration larger than 2^32 seconds"
    if why:
        cause = Cause("spec.expirationSeconds", "FieldValueInvalid", f"Invalid value: {lifetime_s}: {why}")
        raise invalid("TokenRequest", "authentication.k8s.io", "", [cause])
    return lifetime_s
