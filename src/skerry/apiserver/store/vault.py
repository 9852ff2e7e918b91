"""Seals what is secret before it reaches the disk, with AES-256-GCM under the ring's primary key.

Sealed bytes: 0x01, the key's id (4 bytes), the nonce (12, random), the ciphertext with its tag. The object's key is authenticated
with it, so a row that is moved to another name does not open. Values in memory stay plain. `cryptography` is loaded with the first
secret and not before: it is a tenth of an idle hub's memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from skerry.apiserver.store.keyring import ID_BYTES, KeyRing, KeyRingError, new_key, read_ring, write_ring
from skerry.apiserver.store.records import Key

SEALED_RESOURCES = frozenset({"secrets"})
"""Nothing else holds a secret's bytes: tokens and login codes are kept as hashes, and the former are Secrets as well."""
_MARK = b"\x01"
_NONCE_BYTES = 12
_HEAD_BYTES = len(_MARK) + ID_BYTES


class Vault(Protocol):
    """What a store asks about bytes on their way to the disk and back."""

    def admit(self, needed: set[bytes]) -> None:
        """Make ready to open what the keys *needed* (ids) sealed; KeyRingError when one of them is not there."""
        ...

    def seal(self, key: Key, value: bytes) -> bytes:
        """Return what is kept of *value*."""
        ...

    def unseal(self, key: Key, kept: bytes) -> bytes:
        """Return the value again; KeyRingError when it cannot be opened."""
        ...


class Open:
    """Keeps everything as it is."""

    def admit(self, needed: set[bytes]) -> None:
        if needed:
            raise KeyRingError("its Secrets are sealed, and no key ring was given")

    def seal(self, key: Key, value: bytes) -> bytes:
        return value

    def unseal(self, key: Key, kept: bytes) -> bytes:
        if kept[:1] == _MARK:
            raise KeyRingError(f"{key} is sealed, and there is no key ring")
        return kept


class Unopened(Open):
    """For whoever works on a file and reads no value."""

    def admit(self, needed: set[bytes]) -> None:
        pass


class RingVault:
    """Seals with the key ring in a file."""

    def __init__(self, path: Path, ring: KeyRing) -> None:
        self.path = path
        self.ring = ring
        self._is_new = False
        self._ciphers: dict[bytes, Any] = {}

    @classmethod
    def open(cls, path: Path, *, made: str) -> RingVault:
        """Return the vault of the ring in *path*; without one, that of a new ring, written once the store says it needs no other."""
        ring = read_ring(path)
        if ring is not None:
            return cls(path, ring)
        vault = cls(path, KeyRing((new_key(made),)))
        vault._is_new = True
        return vault

    def require(self, needed: set[bytes]) -> None:
        """Raise KeyRingError unless every key of *needed* (ids) is in the ring."""
        lost = needed.difference(self.ring.ids())
        if lost and self._is_new:
            raise KeyRingError(f"the key ring {self.path} is missing: put it back from a backup, the Secrets cannot be opened without it")
        if lost:
            names = ", ".join(sorted(id_.hex() for id_ in lost))
            raise KeyRingError(
                f"{self.path} lacks the key {names}, so it is another hub's or an older ring: put the right one back from a backup"
            )

    def admit(self, needed: set[bytes]) -> None:
        self.require(needed)
        if self._is_new:
            self.save(self.ring)
            self._is_new = False

    def save(self, ring: KeyRing) -> None:
        """Write the ring durably; may be called in any thread."""
        write_ring(self.path, ring)

    def use(self, ring: KeyRing) -> None:
        """Seal with the primary of *ring*, which was saved, from now on."""
        self.ring = ring
        self._ciphers = {id_: cipher for id_, cipher in self._ciphers.items() if id_ in ring.ids()}

    def seal(self, key: Key, value: bytes) -> bytes:
        if key.resource not in SEALED_RESOURCES:
            return value
        primary = self.ring.primary.id
        nonce = os.urandom(_NONCE_BYTES)
        sealed: bytes = self._cipher(primary, key).encrypt(nonce, value, _bound_to(key))
        return b"".join((_MARK, primary, nonce, sealed))

    def unseal(self, key: Key, kept: bytes) -> bytes:
        if key.resource not in SEALED_RESOURCES:
            return kept
        id_ = sealed_with(kept)
        if id_ is None:
            raise KeyRingError(f"{key} is not sealed: it was not this hub that wrote it")
        from cryptography.exceptions import InvalidTag

        cipher = self._cipher(id_, key)
        try:
            value: bytes = cipher.decrypt(
                kept[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES], kept[_HEAD_BYTES + _NONCE_BYTES :], _bound_to(key)
            )
        except (InvalidTag, ValueError) as error:
            raise KeyRingError(f"{key} does not open with key {id_.hex()}: the row was altered, or moved from another name") from error
        return value

    def _cipher(self, id_: bytes, key: Key) -> Any:
        cipher = self._ciphers.get(id_)
        if cipher is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            found = next((k for k in self.ring.keys if k.id == id_), None)
            if found is None:
                raise KeyRingError(
                    f"{key} is sealed with key {id_.hex()}, which is not in {self.path}: put the key ring back from a backup"
                )
            cipher = self._ciphers[id_] = AESGCM(found.secret)
        return cipher


def sealed_with(kept: bytes) -> bytes | None:
    """Return the id of the key that sealed *kept*, None when it is plain."""
    return kept[len(_MARK) : _HEAD_BYTES] if kept[:1] == _MARK else None


def _bound_to(key: Key) -> bytes:
    return f"{key.resource}\0{key.namespace}\0{key.name}".encode()
