"""Tokens as the hub keeps them: a Secret with the hash of the token's secret part, and what the token buys. Pure.

What stays true: the secret itself is never stored; a token is consumed by a compare-and-swap on its Secret, by exactly one
key; that key may show it again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from skerry.model.kinds.enrollment import labels_errors, node_name_error
from skerry.model.objects import Object, dig
from skerry.model.resources import SYSTEM_NAMESPACE
from skerry.model.times import parse_time, rfc3339
from skerry.model.unreadable import NOT_JSON
from skerry.trust.joining import JoinToken, hash_secret, secret_matches

SECRET_TYPE = "skerry.dev/enrollment-token"  # noqa: S105 - the type of an object, not a secret
PREFIX = "enrollment-token-"
MAX_TTL_S = 30 * 86400.0
_ANOTHER = "ask for another with `skerry hub token create`"
_NO_SECRET = hash_secret("no token has this secret")


class TokenRecord(msgspec.Struct, frozen=True):
    """What a token buys: one certificate, until *expires*, for *node* if it names one."""

    id: str
    secret_hash: str
    expires: datetime
    node: str = ""
    site: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    used_by: str = ""
    """Hash of the key that consumed it; "" while it is unused."""


def secret_name(token_id: str) -> str:
    return PREFIX + token_id


def to_secret(record: TokenRecord) -> Object:
    """Return the Secret that keeps *record*."""
    data = {
        "id": record.id,
        "secret-hash": record.secret_hash,
        "expires": rfc3339(record.expires),
        "node": record.node,
        "site": record.site,
        "labels": msgspec.json.encode(dict(record.labels), order="sorted").decode(),
        "used-by": record.used_by,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": SECRET_TYPE,
        "metadata": {"name": secret_name(record.id), "namespace": SYSTEM_NAMESPACE},
        "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items() if v},
    }


def from_secret(secret: Object) -> TokenRecord | None:
    """Read a token's Secret; None when it is not one, or was damaged: then nobody can use it."""
    if secret.get("type") != SECRET_TYPE:
        return None
    try:
        data = {k: base64.b64decode(v, validate=True).decode() for k, v in (dig(secret, "data", default={})).items()}
        labels = msgspec.json.decode(data.get("labels") or "{}", type=dict[str, str])
        return TokenRecord(
            id=data["id"],
            secret_hash=data["secret-hash"],
            expires=parse_time(data["expires"]),
            node=data.get("node", ""),
            site=data.get("site", ""),
            labels=labels,
            used_by=data.get("used-by", ""),
        )
    except (*NOT_JSON, KeyError, ValueError, binascii.Error, AttributeError):
        return None


def new_token(
    ca_hash: str, *, expires: datetime, node: str = "", site: str = "", labels: Mapping[str, str] | None = None
) -> tuple[JoinToken, TokenRecord]:
    """Return a new token for people, and what the hub keeps of it; raises ValueError naming what is wrong."""
    wrong = node_name_error(node) if node else None
    if wrong:
        raise ValueError(f"node {node!r}: {wrong}")
    causes = labels_errors(dict(labels or {}), "labels")
    if causes:
        raise ValueError("; ".join(str(c) for c in causes))
    token = JoinToken.new(ca_hash)
    return token, TokenRecord(token.id, hash_secret(token.secret), expires, node, site, dict(labels or {}))


class Accepted(msgspec.Struct, frozen=True):
    """The token is good; `unused` when it must still be consumed."""

    record: TokenRecord
    unused: bool


class Refused(msgspec.Struct, frozen=True):
    """Why the token is no good, in words for whoever shows it."""

    reason: str


def judge(record: TokenRecord | None, secret: str, *, node: str, key_hash: str, now: datetime) -> Accepted | Refused:
    """Say whether this key may use this token now. Somebody without the secret learns nothing about the token."""
    matches = secret_matches(secret, record.secret_hash if record else _NO_SECRET)
    if record is None or not matches:
        return Refused(f"the token is not known here, or was used and cleaned up; {_ANOTHER}")
    if record.used_by == key_hash:
        return Accepted(record, unused=False)
    if record.used_by:
        return Refused(f"the token has been used by another key; {_ANOTHER}")
    if now >= record.expires:
        return Refused(f"the token expired at {rfc3339(record.expires)}; {_ANOTHER}")
    if record.node and record.node != node:
        return Refused(f"the token is for node {record.node}, not for {node}: join with --name {record.node}, or make another token")
    return Accepted(record, unused=True)


def split_credential(text: str) -> tuple[str, str]:
    """Take `id.secret` apart; what is something else becomes an id that no token has."""
    token_id, _, secret = text.partition(".")
    if len(text) > 128 or not token_id.isascii() or not token_id.isalnum():
        return "none", ""
    return token_id.lower(), secret


def consumed(secret: Object, key_hash: str) -> Object:
    """Return the token's Secret as it is once this key has used it; it keeps the revision, so only one replace wins."""
    data: dict[str, Any] = {**dig(secret, "data", default={}), "used-by": base64.b64encode(key_hash.encode()).decode()}
    return {**secret, "data": data}
