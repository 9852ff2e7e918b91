"""What a backup says about itself: which hub, at which revision, how many objects, and the digest of each file."""

from __future__ import annotations

import re

import msgspec

from skerry.hub.backup.envelope import BackupError
from skerry.hub.data_folder import EVENTS, PKI, STORE
from skerry.model.unreadable import NOT_JSON

FORMAT = 1
MAX_MANIFEST_BYTES = 1 << 20
LENGTH_BYTES = 4
_PKI_NAME = re.compile(rf"{PKI}/[A-Za-z0-9][A-Za-z0-9._-]{{0,99}}", re.ASCII)


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the hub's folder."""

    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first thing in a backup; `objects` counts by resource, `revision` is the newest that it holds.

    `audit` is NUMBER:HASH of the audit log's last line then, "" without one: what `skerry hub audit verify --expect` compares.
    """

    format: int
    skerry: str
    made: str
    identity: str
    epoch: str
    revision: int
    objects: dict[str, int]
    files: list[File]
    audit: str = ""


def encode(manifest: Manifest) -> bytes:
    text = msgspec.json.encode(manifest)
    return len(text).to_bytes(LENGTH_BYTES) + text


def parse(text: bytes) -> Manifest:
    """Read a manifest; BackupError when it is of a later format, or names a file that no hub has."""
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except NOT_JSON as error:
        raise BackupError(f"the backup's manifest cannot be read ({error}): a later version of skerry made it") from error
    if found.format != FORMAT:
        raise BackupError(f"the backup has format {found.format}, this version of skerry knows {FORMAT}: use the version that made it")
    paths = [file.path for file in found.files]
    if STORE not in paths or len(set(paths)) != len(paths):
        raise BackupError("the backup does not hold a store, or holds a file twice")
    for path in paths:
        if path not in (STORE, EVENTS) and not _PKI_NAME.fullmatch(path):
            raise BackupError(f"the backup holds {path!r}, which is no file of a hub")
    return found
