"""JSON Web Tokens in the one form that we make and take: compact, RS256, a key that we know by its identifier.

What stays true: the algorithm is ours and never the token's choice; nothing of a token is believed before its signature was
checked but the name of its key; what is long or strange is refused before any key is touched. Source: RFC 7515, RFC 7519.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from skerry.model.unreadable import NOT_JSON

MAX_TOKEN_CHARS = 16 << 10
ALGORITHM = "RS256"


class TokenError(ValueError):
    """Not a token of ours; the message never repeats it."""


class Header(msgspec.Struct):
    """What we read of a header; one that demands more (`crit`) is refused."""

    alg: str
    kid: str
    crit: Any = None


class Verifier(Protocol):
    """Checks signatures by key identifier."""

    def verify(self, kid: str, data: bytes, signature: bytes) -> bool: ...


def encode(claims: dict[str, Any], kid: str, sign: Callable[[bytes], bytes]) -> str:
    """Return the token; *sign* signs bytes with the key *kid*."""
    data = _part({"alg": ALGORITHM, "kid": kid}) + b"." + _part(claims)
    return (data + b"." + url64(sign(data))).decode()


def decode(token: str, verifier: Verifier) -> dict[str, Any]:
    """Return the claims of a token whose signature is good; raises TokenError."""
    if len(token) > MAX_TOKEN_CHARS or not token.isascii():
        raise TokenError(f"a token has at most {MAX_TOKEN_CHARS} ASCII characters")
    data, dot, tail = token.encode().rpartition(b".")
    head, middle, body = data.partition(b".")
    if not dot or not middle or b"." in body:
        raise TokenError("not three parts")
    try:
        header = msgspec.json.decode(unurl64(head), type=Header)
        signature = unurl64(tail)
    except (*NOT_JSON, binascii.Error) as error:
        raise TokenError("not a header with alg and kid") from error
    if header.alg != ALGORITHM or header.crit is not None:
        raise TokenError(f"not signed with {ALGORITHM}")
    if not verifier.verify(header.kid, data, signature):
        raise TokenError("not signed by this hub")
    try:
        claims = msgspec.json.decode(unurl64(body), type=dict[str, Any])
    except (*NOT_JSON, binascii.Error) as error:
        raise TokenError("its claims are not a JSON object") from error
    return claims


def looks_like_one(token: str) -> bool:
    """Say whether it is worth to look at it as a signed token at all."""
    return token.startswith("ey") and token.count(".") == 2


def url64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def unurl64(text: bytes) -> bytes:
    """Decode base64url without padding, strictly: another spelling of the same bytes is no token of ours."""
    data = base64.b64decode(text.translate(_ALPHABET) + b"=" * (-len(text) % 4), validate=True)
    if url64(data) != text:
        raise binascii.Error("not base64url without padding")
    return data


_ALPHABET = bytes.maketrans(b"-_", b"+/")


def _part(value: dict[str, Any]) -> bytes:
    return url64(msgspec.json.encode(value))
