"""Which file a store may open with which keys, and how an older file, or one that was never sealed, becomes a sealed one.

Never is a Secret served empty, and never is a new key made where the old one is missing: the file says which keys it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import apsw

from skerry.apiserver.store.keyring import KeyRingError
from skerry.apiserver.store.records import Key
from skerry.apiserver.store.rows import CHECKSUMS_SINCE, Row, insert
from skerry.apiserver.store.vault import RingVault, Vault, sealed_with
from skerry.durable import Rebuild, StoreFormatError, failpoints, quick_check

_COPIED_AT_ONCE = 256
_PLAIN_TABLES = ("floors", "epochs")


def rebuild_for(vault: Vault) -> Rebuild:
    """Return what makes a file of any age into one of today's, its secrets sealed by *vault*; StoreFormatError for a lost key."""
    return Rebuild(since=CHECKSUMS_SINCE, needed=lambda db: _needs_copy(db, vault), copy=lambda old, new: _copy(old, new, vault))


def _needs_copy(db: apsw.Connection, vault: Vault) -> bool:
    version = int(next(iter(db.execute("PRAGMA user_version")))[0])
    needed = needed_keys(db) if version >= CHECKSUMS_SINCE else set()
    try:
        vault.admit(needed)
    except KeyRingError as error:
        raise StoreFormatError(f"{db.filename} cannot be opened: {error}") from error
    return 0 < version < CHECKSUMS_SINCE or (version > 0 and not needed and isinstance(vault, RingVault))


def needed_keys(db: apsw.Connection) -> set[bytes]:
    """Return the ids of the keys that may have sealed a row of the file; none when all is plain."""
    return {bytes(row[0]) for row in db.execute("SELECT id FROM sealing")}


def note_key(db: apsw.Connection, id_: bytes) -> None:
    """Say that rows sealed with this key may follow."""
    db.execute("INSERT OR IGNORE INTO sealing VALUES (?)", (id_,))


def _copy(old: apsw.Connection, new: apsw.Connection, vault: Vault) -> None:
    """Copy every table; values that were plain are sealed on the way."""
    if faults := quick_check(old):
        raise StoreFormatError(f"{old.filename} is damaged ({'; '.join(faults)}): restore a backup")
    failpoints.reach("store.rebuild_begun")
    with new:
        for table in _PLAIN_TABLES:
            new.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            new.executemany(f"INSERT INTO {table} VALUES (?, ?)", list(old.execute(f"SELECT * FROM {table}")))  # noqa: S608
        if isinstance(vault, RingVault):
            note_key(new, vault.ring.primary.id)
    rows = old.execute("SELECT revision, resource, namespace, name, change, value FROM revisions ORDER BY revision")
    for batch in _batches(_sealed(row, vault) for row in rows):
        with new:
            insert(new, batch)
        failpoints.reach("store.rebuild_copied")


def _sealed(row: Any, vault: Vault) -> Row:
    revision, resource, namespace, name, change, value = row
    if sealed_with(value) is None:
        value = vault.seal(Key(resource, namespace, name), value)
    return (revision, resource, namespace, name, change, value)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, _COPIED_AT_ONCE)):
        yield batch
