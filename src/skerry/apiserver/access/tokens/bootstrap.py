"""Bootstrap tokens: Secrets in kube-system with which kubeadm-like tools say hello. Pure.

They name a member of `system:bootstrappers` and nothing more: a node certificate comes from an Enrollment only.
Source: the Kubernetes page on bootstrap tokens.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from datetime import datetime

from skerry.apiserver.http.message import User
from skerry.model.objects import Object
from skerry.model.times import parse_time

NAMESPACE, PREFIX, TYPE = "kube-system", "bootstrap-token-", "bootstrap.kubernetes.io/token"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
MAX_GROUPS = 32


def split(token: str) -> tuple[str, str] | None:
    """Return identifier and secret of what looks like a bootstrap token, else None."""
    found = _TOKEN.fullmatch(token)
    return (found[1], found[2]) if found else None


def user_of(token_id: str, secret_part: str, secret: Object | None, now: datetime) -> User | None:
    """Return whom the token names by its Secret; None when it is not good (any more)."""
    if secret is None or secret.get("type") != TYPE or secret["metadata"].get("deletionTimestamp"):
        return None
    kept = _text(secret, "token-secret")
    if not kept or not hmac.compare_digest(kept.encode(), secret_part.encode()) or _text(secret, "token-id") != token_id:
        return None
    if _text(secret, "usage-bootstrap-authentication") != "true" or _expired(_text(secret, "expiration"), now):
        return None
    extra = [g for g in _text(secret, "auth-extra-groups").split(",") if g]
    if len(extra) > MAX_GROUPS or not all(_GROUP.fullmatch(g) for g in extra):
        return None
    groups = dict.fromkeys(["system:bootstrappers", *extra, "system:authenticated"])
    return User(f"system:bootstrap:{token_id}", tuple(groups))


def _expired(text: str, now: datetime) -> bool:
    """An expiration that cannot be read has passed."""
    if not text:
        return False
    try:
        return parse_time(text) <= now
    except ValueError:
        return True


def _text(secret: Object, key: str) -> str:
    try:
        return base64.b64decode(str((secret.get("data") or {}).get(key) or ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
