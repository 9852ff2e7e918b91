"""Whose bearer token is this? A signature is checked once; that everything the token depends on still exists, at every use.

What is remembered is bounded, keyed by a hash, and holds no token. A refused token is not remembered: it costs the same again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from skerry.apiserver.access.tokens import bootstrap
from skerry.apiserver.access.tokens.claims import ISSUER, LEEWAY_S, Bond, Bound, holds, read
from skerry.apiserver.access.tokens.jwt import TokenError, decode, looks_like_one
from skerry.apiserver.access.tokens.keys import TokenKeys
from skerry.apiserver.access.tokens.legacy import LEGACY_ISSUER, read_legacy, same_token
from skerry.apiserver.http.message import User
from skerry.model.objects import Object, dig

MAX_KNOWN = 4096
"""Tokens whose signature is remembered as good: one a Pod, for four times the Pods of the largest hub."""
SECRETS = "secrets"


class Objects(Protocol):
    """What the authenticator looks up."""

    def record(self, key: str, namespace: str, name: str) -> Any:
        """Return something that is the same object as long as the stored one is; None when there is none."""
        ...

    def get(self, key: str, namespace: str, name: str) -> Object | None: ...


class Others(Protocol):
    """Another authenticator, asked when a token is none of ours."""

    def user_of(self, token: str) -> User | None: ...


class _Known:
    """One good token, with the records that it was last found to hold for, and the node that holds it."""

    __slots__ = ("bound", "node", "records")

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.node = bound.node
        self.records: list[Any] = [None] * len(bound.bonds)


class Tokens:
    """Every kind of bearer token: ServiceAccounts' (with *keys*), bootstrap tokens, and those of *others*."""

    def __init__(
        self,
        objects: Objects,
        keys: TokenKeys | None,
        *,
        now: Callable[[], datetime],
        others: Others | None = None,
        trusts: Callable[[str], bool] | None = None,
    ) -> None:
        self.keys = keys
        self._objects, self._now, self._others = objects, now, others
        self._trusts = trusts
        self._known: dict[bytes, _Known] = {}
        self._changes = 0

    def user_of(self, token: str) -> User | None:
        """Return whose token it is when it is meant for this API, else None."""
        found = self.review(token, (ISSUER,))
        return found[0] if found is not None else None

    def review(self, token: str, audiences: Sequence[str]) -> tuple[User, tuple[str, ...]] | None:
        """Return the user, and for which of *audiences* (none: this API's) the token is meant; None when it is not good for any."""
        wanted = tuple(audiences) or (ISSUER,)
        if self.keys is not None and looks_like_one(token):
            bound = self._bound(token, self.keys)
            if bound is not None:
                meant = tuple(a for a in wanted if a in bound.audiences)
                return (bound.user, meant) if meant else None
        user = self._of_this_api(token)
        return (user, (ISSUER,)) if user is not None and ISSUER in wanted else None

    def _of_this_api(self, token: str) -> User | None:
        parts = bootstrap.split(token)
        if parts is not None:
            secret = self._objects.get(SECRETS, bootstrap.NAMESPACE, bootstrap.PREFIX + parts[0])
            return bootstrap.user_of(*parts, secret, self._now())
        return self._others.user_of(token) if self._others is not None else None

    def _bound(self, token: str, keys: TokenKeys) -> Bound | None:
        key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if (changes := keys.look()) != self._changes:  # a key may have gone, and what it signed with it
            self._changes = changes
            self._known.clear()
        known = self._known.get(key)
        if known is not None and self._holds(known):
            return known.bound
        self._known.pop(key, None)
        try:
            known = _Known(self._read(token, keys))
        except TokenError:
            return None
        if not self._holds(known):
            return None
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[key] = known
        return known.bound

    def _read(self, token: str, keys: TokenKeys) -> Bound:
        claims = decode(token, keys)
        if claims.get("iss") != LEGACY_ISSUER:
            return read(claims)
        bound = read_legacy(claims)
        secret = self._objects.get(SECRETS, bound.bonds[-1].namespace, bound.bonds[-1].name)
        if not same_token(secret, token):
            raise TokenError("its Secret holds another token")
        return bound

    def _holds(self, known: _Known) -> bool:
        now = self._now().timestamp()
        if not known.bound.not_before - LEEWAY_S <= now < known.bound.expires + LEEWAY_S:
            return False
        if not all(self._still(known, i, bond, now) for i, bond in enumerate(known.bound.bonds)):
            return False
        return not known.node or self._trusts is None or self._trusts(known.node)  # else it may be a denied node's

    def _still(self, known: _Known, i: int, bond: Bond, now: float) -> bool:
        """Say whether the object is there as it must be; unchanged since the last look costs one look-up."""
        record = self._objects.record(bond.key, bond.namespace, bond.name)
        if record is None:
            return False
        if record is known.records[i]:
            return True
        if not bond.uid and known.records[i] is not None:
            return False  # a Secret that holds the token itself was changed: it is read again
        obj = self._objects.get(bond.key, bond.namespace, bond.name)
        if not holds(obj, bond.uid, now):
            return False
        if bond.key == "pods":  # where it is, also when its token was made before the Node was
            known.node = str(dig(obj, "spec", "nodeName", default=""))
        if obj is not None and not obj["metadata"].get("deletionTimestamp"):  # one that is going is looked at each time
            known.records[i] = record
        return True
