"""Makes a backup beside a hub that runs, or of one that does not: a snapshot, checked, sealed, read back, and only then named.

The databases are copied in one short read each: writers go on, and the write-ahead log grows by what they write meanwhile. Nothing
plain is written outside the hub's own folder, and nothing of it stays there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import apsw

from skerry import __version__
from skerry.apiserver.access.audit.files import read_head
from skerry.apiserver.store import Examined, KeyRingError, RingVault, examine, merge_rings
from skerry.durable import HeldLock, StoreError, StoreLockedError, copy_database, failpoints, hold, put_in_place
from skerry.hub.backup.envelope import BackupError, seal_to
from skerry.hub.backup.manifest import FORMAT, File, Manifest, encode
from skerry.hub.backup.restore import inspect
from skerry.hub.data_folder import AUDIT, BACKUP_LOCK, BACKUP_WORK, EVENTS, KEY_RING, PKI, STORE
from skerry.model.times import rfc3339

Say = Callable[[str], None]
_READ_BYTES = 1 << 20
_MAX_PKI_FILE_BYTES = 1 << 20


def back_up(data: Path, target: Path, key: bytes, *, now: datetime, say: Say, events: bool = True) -> Manifest:
    """Write a backup of the hub in *data* to the new file *target*; BackupError when it cannot be made or is not what it should be."""
    if target.exists():
        raise BackupError(f"{target} exists already: choose another name")
    if not (data / STORE).exists():
        raise BackupError(f"{data} is not the folder of a hub: there is no {STORE}")
    with _alone(data), _workspace(data) as work:
        try:
            examined = _gather(data, work, events=events, say=say)
        except (StoreError, KeyRingError, apsw.Error, OSError) as error:
            raise BackupError(f"{data} cannot be backed up: {error}") from error
        manifest = _describe(work, examined, now, _audit_head(data / AUDIT))
        try:
            _write(work, target, key, manifest, say)
        except OSError as error:
            raise BackupError(f"{target} cannot be written: {error}") from error
    return manifest


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    lock: HeldLock
    try:
        lock = hold(data / BACKUP_LOCK)
    except StoreLockedError as error:
        raise BackupError(f"another backup of {data} is being made (process {error.pid})") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _workspace(data: Path) -> Iterator[Path]:
    """Give a folder for the snapshot; what an earlier, killed backup left is removed first."""
    for left in data.glob(f"{BACKUP_WORK}*"):
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=BACKUP_WORK, dir=data))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _gather(data: Path, work: Path, *, events: bool, say: Say) -> Examined:
    """Copy everything a hub starts from into *work* and check that a hub could start from it."""
    (work / PKI).mkdir()
    _copy_pki(data, work)  # and again once the copy's moment is settled: a key may be made, and another retired, in between
    say(f"copying {STORE}")
    copy_database(data / STORE, work / STORE, at_that_moment=lambda: _copy_pki(data, work))
    failpoints.reach("backup.store_copied")
    if events and (data / EVENTS).exists():
        say(f"copying {EVENTS}")
        copy_database(data / EVENTS, work / EVENTS)
        failpoints.reach("backup.events_copied")
    say("checking the copy")
    examined = examine(work / STORE, RingVault.open(work / PKI / KEY_RING, made=""))
    failpoints.reach("backup.copy_checked")
    return examined


def _copy_pki(data: Path, work: Path) -> None:
    """Copy the keys. A second call brings them up to date and drops no key for Secrets: the store between the two may need it."""
    for source in sorted((data / PKI).iterdir()):
        if source.name.startswith(".") or not source.is_file() or source.is_symlink():
            continue
        content, made = source.read_bytes(), work / PKI / source.name
        if len(content) > _MAX_PKI_FILE_BYTES:
            raise BackupError(f"{source} is {len(content)} bytes: no file of a hub's keys is that long")
        if source.name == KEY_RING and made.exists():
            content = merge_rings(content, made.read_bytes(), source)
        made.write_bytes(content)
        made.chmod(0o600)


def _audit_head(folder: Path) -> str:
    """Return NUMBER:HASH of the last line of the audit log, which whoever can write its folder could write anew."""
    try:
        head = read_head(folder)
    except ValueError:
        return ""
    return f"{head.sequence}:{head.hash}" if head is not None else ""


def _describe(work: Path, examined: Examined, now: datetime, audit: str) -> Manifest:
    paths = sorted(path for path in work.rglob("*") if path.is_file())
    files = [File(str(path.relative_to(work)), path.stat().st_size, _digest(path)) for path in paths]
    return Manifest(FORMAT, __version__, rfc3339(now), examined.identity, examined.epoch, examined.revision, examined.objects, files, audit)


def _write(work: Path, target: Path, key: bytes, manifest: Manifest, say: Say) -> None:
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            failpoints.reach("backup.file_made")
            seal_to(out, key, _content(work, manifest, say))
        failpoints.reach("backup.file_written")
        say("reading it back")
        _verify(partial, key, manifest)
        failpoints.reach("backup.file_verified")
        put_in_place(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    failpoints.reach("backup.done")


def _content(work: Path, manifest: Manifest, say: Say) -> Iterator[bytes]:
    total, done, told = sum(file.size for file in manifest.files) or 1, 0, 0
    yield encode(manifest)
    for file in manifest.files:
        with (work / file.path).open("rb") as source:
            while part := source.read(_READ_BYTES):
                yield part
                done += len(part)
                if done * 10 // total > told:
                    told = done * 10 // total
                    say(f"writing: {told * 10} % of {total} bytes")


def _verify(path: Path, key: bytes, manifest: Manifest) -> None:
    """Read a finished backup as restoring it would; BackupError unless it is what it was made of."""
    found = inspect(path, key)
    if found != manifest:
        raise BackupError("the backup that was written is not what it was made of: try another disk")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
