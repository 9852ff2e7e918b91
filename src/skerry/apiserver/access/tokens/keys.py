"""The keys in use: read from their file, again when it has changed, and made into cryptography's only when one is used.

An idle hub never imports cryptography for them: its JWKS is text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from skerry.apiserver.access.tokens.jwt import ALGORITHM, unurl64
from skerry.trust.token_keys import TokenKey, TokenKeyFile, read

LOOK_EVERY_S = 2.0
"""How often we look whether the file was changed."""


class TokenKeys:
    """`sign` with the active key, `verify` with any of the file; *clock* is monotonic."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock
        self._file = read(path)
        self._written = _written(path)
        self._looked_at = clock()
        self._changes = 0
        self._public: dict[str, Any] = {}
        self._private: Any = None

    @property
    def active(self) -> str:
        """The identifier of the key that signs."""
        self.look()
        return self._file.keys[0].kid

    def sign(self, data: bytes) -> bytes:
        """Sign with the active key."""
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding

        if self._private is None:
            self._private = serialization.load_pem_private_key(self._file.keys[0].private.encode(), password=None)
        signature: bytes = self._private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return signature

    def verify(self, kid: str, data: bytes, signature: bytes) -> bool:
        """Say whether the key *kid* signed *data*; False for one that is not ours."""
        key = self._key(kid)
        if key is None:
            return False
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def jwks(self) -> dict[str, Any]:
        """Return the public keys as other programs read them (RFC 7517)."""
        self.look()
        keys = [{"use": "sig", "kty": "RSA", "kid": k.kid, "alg": ALGORITHM, "n": k.n, "e": k.e} for k in self._file.keys]
        return {"keys": keys}

    def _key(self, kid: str) -> Any:
        found = self._public.get(kid)
        if found is None:
            known = self._known(kid)
            if known is None:
                self.look()
                known = self._known(kid)
            if known is not None:
                found = self._public[kid] = _public_key(known)
        return found

    def _known(self, kid: str) -> TokenKey | None:
        return next((k for k in self._file.keys if k.kid == kid), None)

    def look(self) -> int:
        """Read the file again when somebody changed it, and return how often that was; what cannot be read leaves the keys as they are."""
        now = self._clock()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._look(now)
        return self._changes

    def _look(self, now: float) -> None:
        self._looked_at = now
        try:
            written = _written(self.path)
            if written != self._written:
                self._take(read(self.path), written)
        except (OSError, ValueError):
            return

    def _take(self, file: TokenKeyFile, written: tuple[int, int]) -> None:
        self._file, self._written = file, written
        self._changes += 1
        self._private = None
        self._public.clear()


def _written(path: Path) -> tuple[int, int]:
    seen = path.stat()
    return seen.st_mtime_ns, seen.st_ino


def _public_key(key: TokenKey) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    n, e = (int.from_bytes(unurl64(part.encode()), "big") for part in (key.n, key.e))
    return rsa.RSAPublicNumbers(e, n).public_key()
