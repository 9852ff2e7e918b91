"""What a ServiceAccount's token says, and whom it makes of what still exists. Pure: objects and times are arguments.

Claims are Kubernetes' own. A token is good only while its ServiceAccount and what it was bound to exist with the same UID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from skerry.apiserver.access.tokens.jwt import TokenError
from skerry.apiserver.http.message import User
from skerry.model.objects import Object, metadata, name_of, uid_of
from skerry.model.times import parse_time

ISSUER = "https://kubernetes.default.svc.cluster.local"
LEEWAY_S = 60.0
"""Seconds that a token is good beyond its times, and that a deleted object still counts: clocks differ."""
MIN_LIFETIME_S = 600
MAX_LIFETIME_S = 1 << 32
_OWN = "kubernetes.io"
_EXTRA = "authentication.kubernetes.io/"


class Bond(NamedTuple):
    """An object that must exist with this UID: `key` names its collection in the store."""

    key: str
    namespace: str
    name: str
    uid: str


class Bound(msgspec.Struct, frozen=True):
    """A token that was read: whom it names, for which audiences, until when, and on what it depends."""

    user: User
    audiences: tuple[str, ...]
    not_before: float
    expires: float
    bonds: tuple[Bond, ...]
    node: str = ""
    """The node that holds it: that of its Pod, or the one that it is bound to."""


def build(
    account: Object, *, audiences: Sequence[str], lifetime_s: int, token_id: str, now: datetime, bound: Mapping[str, Object]
) -> dict[str, Any]:
    """Return the claims; *bound* has the objects by the name of their claim (pod, node, secret)."""
    namespace, name = name_of(account)
    issued = int(now.timestamp())
    own: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid_of(account)}}
    own |= {what: {"name": name_of(obj).name, "uid": uid_of(obj)} for what, obj in bound.items()}
    return {
        "aud": list(audiences),
        "exp": issued + lifetime_s,
        "iat": issued,
        "iss": ISSUER,
        "jti": token_id,
        _OWN: {k: own[k] for k in sorted(own)},
        "nbf": issued,
        "sub": f"system:serviceaccount:{namespace}:{name}",
    }


def read(claims: Mapping[str, Any]) -> Bound:
    """Read the claims of a token whose signature is good; raises TokenError for what is not a ServiceAccount's."""
    try:
        if claims["iss"] != ISSUER:
            raise TokenError("another issuer's token")
        return _read(claims)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TokenError("not the claims of a ServiceAccount") from error


def _read(claims: Mapping[str, Any]) -> Bound:
    own = claims[_OWN]
    namespace = str(own["namespace"])
    account = _reference(own["serviceaccount"])
    if claims["sub"] != f"system:serviceaccount:{namespace}:{account[0]}":
        raise TokenError("its subject is not its ServiceAccount")
    audiences = claims["aud"]
    bonds = [Bond("serviceaccounts", namespace, *account)]
    extra: dict[str, tuple[str, ...]] = {}
    if claims.get("jti"):
        extra[f"{_EXTRA}credential-id"] = (f"JTI={claims['jti']}",)
    for what, key in (("pod", "pods"), ("secret", "secrets")):
        if what in own:
            bonds.append(Bond(key, namespace, *_reference(own[what])))
    if "node" in own:
        node = _reference(own["node"])
        if "pod" not in own:  # the node of a Pod is told, and may change without the Pod's token becoming worthless
            bonds.append(Bond("nodes", "", *node))
        extra[f"{_EXTRA}node-name"] = (node[0],)
        if node[1]:
            extra[f"{_EXTRA}node-uid"] = (node[1],)
    if "pod" in own:
        pod = _reference(own["pod"])
        extra |= {f"{_EXTRA}pod-name": (pod[0],), f"{_EXTRA}pod-uid": (pod[1],)}
    return Bound(
        user=account_user(namespace, *account, extra=extra),
        audiences=(audiences,) if isinstance(audiences, str) else tuple(str(a) for a in audiences),
        not_before=float(claims["nbf"]),
        expires=float(claims["exp"]),
        bonds=tuple(bonds),
        node=_reference(own["node"])[0] if "node" in own else "",
    )


def account_user(namespace: str, name: str, uid: str, *, extra: Mapping[str, tuple[str, ...]]) -> User:
    """Return the user that a ServiceAccount is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups, uid, extra)


def holds(obj: Object | None, uid: str, now: float) -> bool:
    """Say whether an object that a token depends on is still the one it was made for."""
    if obj is None or (uid and uid_of(obj) != uid):
        return False
    deleted = metadata(obj).get("deletionTimestamp")
    return not deleted or parse_time(str(deleted)).timestamp() >= now - LEEWAY_S


def _reference(raw: Mapping[str, Any]) -> tuple[str, str]:
    return str(raw["name"]), str(raw.get("uid") or "")
