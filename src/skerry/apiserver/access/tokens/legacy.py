"""Tokens of Secrets of type `kubernetes.io/service-account-token`: they do not expire, and live as long as their Secret. Pure."""

from __future__ import annotations

import base64
import hmac
import math
from collections.abc import Mapping
from typing import Any

from skerry.apiserver.access.tokens.claims import ISSUER, Bond, Bound, account_user
from skerry.apiserver.access.tokens.jwt import TokenError
from skerry.model.objects import Object, annotations_of, name_of, uid_of

LEGACY_ISSUER = "kubernetes/serviceaccount"
TYPE = "kubernetes.io/service-account-token"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
_CLAIM = "kubernetes.io/serviceaccount/"


def build_legacy(account: Object, secret: Object) -> dict[str, Any]:
    """Return the claims of the token that a Secret holds."""
    namespace, name = name_of(account)
    return {
        "iss": LEGACY_ISSUER,
        f"{_CLAIM}namespace": namespace,
        f"{_CLAIM}secret.name": name_of(secret).name,
        f"{_CLAIM}service-account.name": name,
        f"{_CLAIM}service-account.uid": uid_of(account),
        "sub": f"system:serviceaccount:{namespace}:{name}",
    }


def read_legacy(claims: Mapping[str, Any]) -> Bound:
    """Read them; raises TokenError. The last bond is the Secret."""
    try:
        namespace, name = str(claims[f"{_CLAIM}namespace"]), str(claims[f"{_CLAIM}service-account.name"])
        uid, secret = str(claims[f"{_CLAIM}service-account.uid"]), str(claims[f"{_CLAIM}secret.name"])
    except KeyError as error:
        raise TokenError("not the claims of a ServiceAccount's Secret") from error
    if claims.get("sub") != f"system:serviceaccount:{namespace}:{name}":
        raise TokenError("its subject is not its ServiceAccount")
    bonds = (Bond("serviceaccounts", namespace, name, uid), Bond("secrets", namespace, secret, ""))
    return Bound(account_user(namespace, name, uid, extra={}), (ISSUER,), -math.inf, math.inf, bonds)


def same_token(secret: Object | None, token: str) -> bool:
    """Say whether the Secret holds this very token."""
    if secret is None or secret.get("type") != TYPE:
        return False
    kept = str((secret.get("data") or {}).get("token") or "")
    return hmac.compare_digest(kept.encode(), base64.b64encode(token.encode()))


def wants_token(secret: Object) -> str:
    """Return the name of the ServiceAccount whose token the Secret is to hold and does not yet; else ""."""
    if secret.get("type") != TYPE or secret["metadata"].get("deletionTimestamp"):
        return ""
    data = secret.get("data") or {}
    if all(data.get(k) for k in ("token", "namespace")):
        return ""
    return str(annotations_of(secret).get(NAME) or "")


def filled(secret: Object, account: Object, token: str, ca_pem: str) -> Object:
    """Return the Secret with its token, the CA and the namespace."""
    data = {**(secret.get("data") or {}), "token": _b64(token), "namespace": _b64(name_of(account).namespace)}
    if ca_pem:
        data["ca.crt"] = _b64(ca_pem)
    meta = secret["metadata"]
    return {**secret, "metadata": {**meta, "annotations": {**annotations_of(secret), UID: uid_of(account)}}, "data": data}


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
