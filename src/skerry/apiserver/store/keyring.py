"""The keys that seal Secrets, in one file beside the hub's certificates: made once, never made anew where something is sealed.

A key's id is the beginning of its SHA-256, so a flipped bit in a key shows before the key is used. The first key is the primary: it
seals, the others only open. The file is of mode 0600 and is replaced whole.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from pathlib import Path

import msgspec

from skerry.durable import write_private
from skerry.model.unreadable import NOT_JSON

KEY_BYTES = 32  # AES-256
ID_BYTES = 4
_MAX_FILE_BYTES = 64 * 1024
_MAX_KEYS = 64


class KeyRingError(Exception):
    """The key ring cannot be used; the message names the file and says what to do."""


class SealingKey(msgspec.Struct, frozen=True):
    """One key, and when it was made (RFC 3339)."""

    secret: bytes
    made: str

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.secret).digest()[:ID_BYTES]

    def __repr__(self) -> str:
        return f"<key {self.id.hex()}>"


class KeyRing(msgspec.Struct, frozen=True):
    """All keys, the primary first; never empty."""

    keys: tuple[SealingKey, ...]

    @property
    def primary(self) -> SealingKey:
        return self.keys[0]

    def ids(self) -> tuple[bytes, ...]:
        return tuple(key.id for key in self.keys)

    def with_primary(self, key: SealingKey) -> KeyRing:
        return KeyRing((key, *self.keys))

    def merged(self, older: KeyRing) -> KeyRing:
        """Return this ring with the keys of *older* that it lacks."""
        return KeyRing((*self.keys, *(key for key in older.keys if key.id not in self.ids())))

    def only(self, ids: set[bytes]) -> KeyRing:
        """Keep the primary and the keys of *ids*."""
        return KeyRing(tuple(key for n, key in enumerate(self.keys) if n == 0 or key.id in ids))


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    key: str
    made: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[_Line]


def new_key(made: str) -> SealingKey:
    return SealingKey(secrets.token_bytes(KEY_BYTES), made)


def read_ring(path: Path) -> KeyRing | None:
    """Return the ring in *path*, None when there is no such file; KeyRingError when it is damaged."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyRingError(f"the key ring {path} cannot be read ({error})") from error
    return parse_ring(text, path)


def parse_ring(text: bytes, path: Path) -> KeyRing:
    """Read what `format_ring` wrote; KeyRingError that names *path*."""
    try:
        lines = msgspec.json.decode(text, type=_File).keys
        keys = tuple(SealingKey(base64.b64decode(line.key, validate=True), line.made) for line in lines)
    except (*NOT_JSON, binascii.Error, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not 0 < len(keys) <= _MAX_KEYS:
        raise _damaged(path, f"{len(keys)} keys")
    for key, line in zip(keys, lines, strict=True):
        if len(key.secret) != KEY_BYTES or key.id.hex() != line.id:
            raise _damaged(path, f"key {line.id} is not what its id says")
    return KeyRing(keys)


def format_ring(ring: KeyRing) -> bytes:
    lines = [_Line(key.id.hex(), base64.b64encode(key.secret).decode(), key.made) for key in ring.keys]
    return msgspec.json.format(msgspec.json.encode(_File(lines)), indent=1) + b"\n"


def merge_rings(newer: bytes, older: bytes, path: Path) -> bytes:
    """Return the text of one ring with the keys of both; KeyRingError that names *path* when one is damaged."""
    return format_ring(parse_ring(newer, path).merged(parse_ring(older, path)))


def write_ring(path: Path, ring: KeyRing) -> None:
    """Replace the file durably."""
    write_private(path, format_ring(ring))


def _damaged(path: Path, why: str) -> KeyRingError:
    return KeyRingError(f"the key ring {path} is damaged ({why}): put it back from a backup, the Secrets cannot be opened without it")
