"""Reads a store's file as starting from it would, without serving it: what a backup is checked with before it counts as one."""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec

from skerry.apiserver.store.opening import needed_keys
from skerry.apiserver.store.records import Index
from skerry.apiserver.store.rows import CHECKSUMS_SINCE, load
from skerry.apiserver.store.vault import RingVault
from skerry.durable import StoreFormatError, open_checked


class Examined(msgspec.Struct, frozen=True):
    """A store that could be started from: `objects` counts by resource."""

    identity: str
    epoch: str
    revision: int
    objects: dict[str, int]


def examine(path: Path, vault: RingVault) -> Examined:
    """Check every page of the file and every value; StoreFormatError or KeyRingError when it could not be started from.

    The ring is only read: without one, a store that needs a key is refused.
    """
    db = open_checked(path)
    try:
        version = int(next(iter(db.execute("PRAGMA user_version")))[0])
        if version < CHECKSUMS_SINCE:
            raise StoreFormatError(f"{path} was written by an older version: start the hub once, then make a backup")
        vault.require(needed_keys(db))
        loaded = load(db, index=lambda key, value: Index(), vault=vault, limit=1, limit_bytes=1)
        return Examined(
            loaded.identity, loaded.epoch, loaded.revision, {name: len(shelf) for name, shelf in sorted(loaded.shelves.items())}
        )
    except apsw.Error as error:
        raise StoreFormatError(f"{path} is damaged ({error})") from error
    finally:
        db.close()
