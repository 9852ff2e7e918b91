"""What travels when a node joins: the token that people carry, the node's question and the hub's answer.

A token is `skt1.<id>.<secret>.<SHA-256 of the hub's CA certificate>`: it proves the hub to the node before the node
proves itself. The hub keeps only a hash of the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

import msgspec

ENROLL_PATH = "/enroll"
CA_PATH = "/enroll/ca"
MAX_QUESTION = 16 * 1024
"""Bytes of a node's question: it comes from anybody, so it is small."""

_TOKEN = re.compile(r"skt1\.([a-z0-9]{6,16})\.([A-Za-z0-9_-]{20,64})\.([0-9a-f]{64})")


class TokenError(ValueError):
    """Not a token; the message never repeats it."""


class JoinToken(msgspec.Struct, frozen=True):
    """A token taken apart. `ca_hash` is the SHA-256 of the hub's CA certificate (DER) in hexadecimal."""

    id: str
    secret: str
    ca_hash: str

    @classmethod
    def new(cls, ca_hash: str) -> JoinToken:
        return cls(secrets.token_hex(5), secrets.token_urlsafe(24), ca_hash)

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        found = _TOKEN.fullmatch(text.strip())
        if not found:
            raise TokenError("this is not a token: it should look like skt1.ID.SECRET.HASH; ask for one with `skerry hub token create`")
        return cls(*found.groups())

    def __str__(self) -> str:
        return f"skt1.{self.id}.{self.secret}.{self.ca_hash}"

    def __repr__(self) -> str:
        return f"JoinToken(id={self.id!r})"

    @property
    def credential(self) -> str:
        """What the node shows the hub: `id.secret`."""
        return f"{self.id}.{self.secret}"


def hash_secret(secret: str) -> str:
    """Return what the hub keeps of a token's secret (which is random and long, so a plain hash is enough)."""
    return hashlib.sha256(secret.encode()).hexdigest()


def secret_matches(secret: str, kept: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(hash_secret(secret), kept)


def ca_hash(der: bytes) -> str:
    """Return the hash by which a token names the hub's CA."""
    return hashlib.sha256(der).hexdigest()


class Question(msgspec.Struct, kw_only=True):
    """`POST /enroll`: a node asks to join, or for its certificate again."""

    csr: str
    node: str
    token: str = ""
    hardware: dict[str, str] = {}


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """200 with `phase` Approved and the certificate, or 202 with Pending: ask again later."""

    phase: str
    node: str = ""
    certificate: str = ""
    ca: str = ""
    site: str = ""
    labels: dict[str, str] = {}
