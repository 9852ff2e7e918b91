"""The keys that sign the tokens of ServiceAccounts: one file, 0600, written whole; public keys stay when a new one takes over.

RSA with SHA-256 (RS256), as kube-apiserver signs: a program that checks tokens by our published keys checks it many times as
often as we sign. Only `make` and `rotate` import cryptography; the hub has them done by the trust worker.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from pathlib import Path

import msgspec

from skerry.model.unreadable import NOT_JSON
from skerry.trust.files import create_private, replace_private

FILE = "token-keys.json"
RSA_BITS = 2048
MAX_KEYS = 16
"""The active key and those before it; a token outlives sixteen rotations only if somebody rotates within its life."""


class TokenKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """`n` and `e` are the public key as a JWK has them; `private` is PEM, and empty once another key has taken over."""

    kid: str
    n: str
    e: str
    made: str
    private: str = ""


class TokenKeyFile(msgspec.Struct, frozen=True):
    """The active key first; `digest` is the SHA-256 of them all, "" in a file of an earlier version."""

    keys: tuple[TokenKey, ...]
    digest: str = ""


def make(path: Path, now: datetime) -> None:
    """Make the file with its first key; FileExistsError when it is there."""
    create_private(path, _encode(TokenKeyFile((_new_key(now),))))


def rotate(path: Path, now: datetime, *, forget: bool = False) -> str:
    """Let a new key sign from now on, and keep (or *forget*) the public halves of those before; return its identifier."""
    old = read(path)
    key = _new_key(now)
    kept = tuple(msgspec.structs.replace(k, private="") for k in old.keys[: 0 if forget else MAX_KEYS - 1])
    replace_private(path, _encode(TokenKeyFile((key, *kept))))
    return key.kid


def read(path: Path) -> TokenKeyFile:
    """Read the file; raises OSError or ValueError that names it."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=TokenKeyFile)
    except NOT_JSON as error:
        raise ValueError(f"{path} is damaged ({error}); put it back from a backup: tokens that it signed are refused without it") from error
    if found.digest and found.digest != _digest(found.keys):
        raise ValueError(
            f"{path} is damaged (its digest is another); put it back from a backup: tokens that it signed are refused without it"
        )
    if not found.keys or not found.keys[0].private:
        raise ValueError(f"{path} has no key that signs; put it back from a backup")
    return found


def _new_key(now: datetime) -> TokenKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    public = key.public_key()
    numbers = public.public_numbers()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return TokenKey(
        kid=_url64(hashlib.sha256(der).digest()),
        n=_url64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        e=_url64(numbers.e.to_bytes(3, "big")),
        made=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        private=pem.decode(),
    )


def _encode(file: TokenKeyFile) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(file, digest=_digest(file.keys)))


def _digest(keys: tuple[TokenKey, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode(keys)).hexdigest()


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
