"""Puts a backup back: into an empty folder only, verified whole before the folder gets its name, and always in a new epoch.

The new epoch begins above every revision that this hub, or an earlier restore of the same backup, can have given out: above the
newest in the backup, and above the number of microseconds since 1970, which no hub reaches by counting writes. What the backup's
revision was is noted beside the keys: a token to join that is not newer may have been used already.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import apsw

from skerry.apiserver.store import Examined, KeyRingError, RingVault, examine, start_new_epoch
from skerry.durable import StoreError, failpoints, sync_folder, write_private
from skerry.hub.backup.envelope import BackupError, opened
from skerry.hub.backup.manifest import LENGTH_BYTES, MAX_MANIFEST_BYTES, File, Manifest, parse
from skerry.hub.data_folder import KEY_RING, PKI, RESTORED, STORE
from skerry.model.times import parse_time

Say = Callable[[str], None]
_SPREAD = 1 << 40
"""Revisions over which restores under a wrong clock are spread: a million writes in each meet once in 500,000 pairs."""


class _Content:
    """The plain bytes of a backup, read in lengths."""

    def __init__(self, source: BinaryIO, key: bytes) -> None:
        self._pieces = opened(source, key)
        self._rest = b""

    def manifest(self) -> Manifest:
        length = int.from_bytes(b"".join(self.take(LENGTH_BYTES)))
        if length > MAX_MANIFEST_BYTES:
            raise BackupError(f"the backup's manifest is {length} bytes, the limit is {MAX_MANIFEST_BYTES}")
        return parse(b"".join(self.take(length)))

    def take(self, length: int) -> Iterator[bytes]:
        """Yield exactly *length* bytes."""
        while length > 0:
            self._rest = self._rest or next(self._pieces, b"")
            if not self._rest:
                raise BackupError("the backup ends before its last file")
            part, self._rest = self._rest[:length], self._rest[length:]
            length -= len(part)
            yield part

    def end(self) -> None:
        """Make sure that nothing follows; this also verifies the last piece."""
        if self._rest or any(self._pieces):
            raise BackupError("the backup goes on after its last file")


def inspect(path: Path, key: bytes) -> Manifest:
    """Read the whole backup, compare every digest, and return what it says about itself; writes nothing."""
    with _reading(path) as source:
        content = _Content(source, key)
        manifest = content.manifest()
        for file in manifest.files:
            _drain(file, content.take(file.size), lambda part: None)
        content.end()
    return manifest


def restore(path: Path, data: Path, key: bytes, *, now: datetime, say: Say) -> tuple[Manifest, str]:
    """Put the backup *path* into the empty or missing folder *data*; returns its manifest and the new epoch's name."""
    _require_empty(data)
    stage = data.with_name(f".{data.name}.restoring")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        with _reading(path) as source:
            stage.mkdir(mode=0o700, parents=True)
            (stage / PKI).mkdir(mode=0o700)
            failpoints.reach("restore.folder_made")
            manifest = _unpack(_Content(source, key), stage, say)
        failpoints.reach("restore.files_written")
        say("checking")
        _require_same(_examined(stage), manifest)
        failpoints.reach("restore.checked")
        epoch = start_new_epoch(stage / STORE, at_least=_at_least(manifest, now))
        write_private(stage / PKI / RESTORED, f"{manifest.revision}\n".encode())
        failpoints.reach("restore.epoch_begun")
        _name(stage, data)
    except OSError as error:
        raise BackupError(f"{data} cannot be written: {error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return manifest, epoch


def _require_empty(data: Path) -> None:
    if not data.exists():
        return
    there = sorted(path.name for path in data.iterdir()) if data.is_dir() else [data.name]
    if there:
        shown = ", ".join(there[:6])
        raise BackupError(f"{data} is not empty ({shown}): stop its hub and move the folder away, a restore never writes over a hub")


def _reading(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise BackupError(f"{path} cannot be read ({error})") from error


def _unpack(content: _Content, stage: Path, say: Say) -> Manifest:
    manifest = content.manifest()
    for file in manifest.files:
        say(f"writing {file.path}, {file.size} bytes")
        handle = os.open(stage / file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as out:
            _drain(file, content.take(file.size), out.write)
            out.flush()
            os.fsync(out.fileno())
        failpoints.reach("restore.file_written")
    content.end()
    return manifest


def _at_least(manifest: Manifest, now: datetime) -> int:
    """Return where the new epoch may begin; under a clock that is behind the backup two restores must not begin at the same revision."""
    made = parse_time(manifest.made)
    if now >= made:
        return int(now.timestamp() * 1_000_000)
    return int(made.timestamp() * 1_000_000) + secrets.randbelow(_SPREAD)


def _drain(file: File, parts: Iterator[bytes], write: Callable[[bytes], object]) -> None:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
        write(part)
    if digest.hexdigest() != file.sha256:
        raise BackupError(f"{file.path} in the backup is not what its manifest says: use another backup")


def _examined(stage: Path) -> Examined:
    try:
        return examine(stage / STORE, RingVault.open(stage / PKI / KEY_RING, made=""))
    except (StoreError, KeyRingError, apsw.Error) as error:
        raise BackupError(f"the store in the backup cannot be opened: {error}") from error


def _require_same(examined: Examined, manifest: Manifest) -> None:
    """Compare what is there with what the manifest counted."""
    found = (examined.identity, examined.epoch, examined.revision, examined.objects)
    if found != (manifest.identity, manifest.epoch, manifest.revision, manifest.objects):
        raise BackupError(f"the store in the backup is at revision {examined.revision} of {examined.identity}, not as its manifest says")


def _name(stage: Path, data: Path) -> None:
    """Give the finished folder its name: everything in it is on the disk before that."""
    for folder in (stage / PKI, stage):
        sync_folder(folder)
    failpoints.reach("restore.before_rename")
    stage.rename(data)  # over an empty folder at most
    failpoints.reach("restore.renamed")
    sync_folder(data.parent)
