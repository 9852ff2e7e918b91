"""The hub's data folder: one process at a time, and a store that was there once is never begun anew without a word.

The file `pki/store` names the store that belongs to the hub's keys, from the moment it was made. Nodes have pinned those keys: a hub
that came back with them and an empty store would look like one that deleted everything.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from skerry.durable import HeldLock, StoreLockedError, hold, hold_folder, write_private

STORE, EVENTS, PKI, AUDIT = "hub.sqlite", "events.sqlite", "pki", "audit"
KEY_RING = "secrets.keys"
RESTORED = "restored"
"""Beside the keys: the newest revision of the backup that the hub was restored from."""
BACKUP_LOCK = "backup.lock"
BACKUP_WORK = ".backup-"
"""What the folder of a snapshot begins with, while a backup is made."""
_KNOWN = "store"
_MAX_KNOWN_BYTES = 256


class DataFolderError(Exception):
    """The folder cannot be used as it is; the message names what is wrong and what to do."""


def take(data: Path) -> HeldLock:
    """Lock *data* for this process; DataFolderError names the process that has it. The lock goes with the process, however it ends."""
    try:
        lock = hold_folder(data)
    except StoreLockedError as error:
        raise DataFolderError(f"another hub runs with {data} (process {error.pid}): stop it first, or use another --data") from error
    data.chmod(0o711)  # its files are private one by one; others may pass through
    return lock


def require_store(data: Path) -> None:
    """Refuse a store that is missing or empty where the keys say that there was one."""
    store = data / STORE
    if not (data / PKI / _KNOWN).exists() or (store.exists() and store.stat().st_size > 0):
        return
    what = "is empty" if store.exists() else "is missing"
    raise DataFolderError(
        f"{store} {what}, and {data / PKI / _KNOWN} says that there was a store: put it back, or restore a backup into an empty folder. "
        f"To begin anew with the same keys, and lose every object, remove {data / PKI / _KNOWN}"
    )


def restored_from(pki: Path) -> int:
    """Return the newest revision of the backup that the hub was restored from; 0 for one that never was. DataFolderError: it is damaged."""
    note = pki / RESTORED
    try:
        return int(note.read_text("ascii"))
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise DataFolderError(
            f"{note} is damaged ({error}): write the backup's revision into it (skerry hub backup inspect says it), "
            "so that no token to join is taken that may have been used"
        ) from error


def remember_store(data: Path, identity: str) -> None:
    """Note which store belongs to the hub's keys; refuse one that is another hub's."""
    known = data / PKI / _KNOWN
    if not known.exists():
        write_private(known, f"{identity}\n".encode())
        return
    with known.open("rb") as file:
        expected = file.read(_MAX_KNOWN_BYTES).decode(errors="replace").strip()
    if expected != identity:
        raise DataFolderError(
            f"{data / STORE} is the store {identity}, and these keys belong to the store {expected}: it is another hub's. "
            f"Put the right file back, or restore a backup"
        )


def remove_leftovers(data: Path) -> None:
    """Remove the snapshot of a backup that was killed, unless one is being made now."""
    try:
        lock = hold(data / BACKUP_LOCK)
    except StoreLockedError:
        return
    try:
        for left in data.glob(f"{BACKUP_WORK}*"):
            shutil.rmtree(left, ignore_errors=True)
    finally:
        lock.release()
