"""The file of a backup: a stream in sealed pieces, of which none can be altered, left out, put in another order or cut off.

A header (magic, the key's id, a salt), then pieces of AES-256-GCM under a key derived from the backup key and the salt. A piece's nonce
is its number and whether it is the last; the header is authenticated with each.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

KEY_BYTES = 32
PIECE_BYTES = 256 * 1024
_MAGIC = b"skerry-backup-1\n"
_ID_BYTES = 8
_SALT_BYTES = 32
_TAG_BYTES = 16
HEADER_BYTES = len(_MAGIC) + _ID_BYTES + _SALT_BYTES


class BackupError(Exception):
    """A backup cannot be made, read or put back; the message says why and what to do."""


def seal_to(out: BinaryIO, key: bytes, parts: Iterable[bytes]) -> None:
    """Write *parts*, one after the other, to *out* under *key*."""
    header = _MAGIC + _key_id(key) + os.urandom(_SALT_BYTES)
    cipher = _cipher(key, header)
    out.write(header)
    number, waiting = 0, bytearray()
    for part in parts:
        waiting += part
        while len(waiting) > PIECE_BYTES:  # the last piece is sealed below, and is never empty unless all is
            out.write(cipher.encrypt(_nonce(number, last=False), bytes(waiting[:PIECE_BYTES]), header))
            del waiting[:PIECE_BYTES]
            number += 1
    out.write(cipher.encrypt(_nonce(number, last=True), bytes(waiting), header))


def opened(source: BinaryIO, key: bytes) -> Iterator[bytes]:
    """Yield what `seal_to` was given, in pieces, each of them verified; BackupError as soon as anything is not as it was written."""
    from cryptography.exceptions import InvalidTag

    header = source.read(HEADER_BYTES)
    if len(header) != HEADER_BYTES or not header.startswith(_MAGIC):
        raise BackupError("this is not a backup of a skerry hub, or it was cut short")
    if (made_with := header[len(_MAGIC) :][:_ID_BYTES]) != _key_id(key):
        raise BackupError(f"the backup was made with the key {made_with.hex()}, and this is the key {_key_id(key).hex()}")
    cipher = _cipher(key, header)
    number, sealed = 0, source.read(PIECE_BYTES + _TAG_BYTES)
    while True:
        following = source.read(PIECE_BYTES + _TAG_BYTES)
        try:
            yield cipher.decrypt(_nonce(number, last=not following), sealed, header)
        except (InvalidTag, ValueError) as error:
            raise BackupError(f"the backup was altered or cut short in its piece {number + 1}: use another one") from error
        if not following:
            return
        number, sealed = number + 1, following


def _cipher(key: bytes, header: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hmac.digest(key, b"skerry backup " + header, "sha256"))


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"skerry backup key " + key).digest()[:_ID_BYTES]


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11) + bytes([last])
