"""A restored backup starts a new epoch: clients see it on the wire, and no revision of the lost time is given out again."""

from __future__ import annotations

from pathlib import Path

from skerry.apiserver.store.opening import rebuild_for
from skerry.apiserver.store.rows import MIGRATIONS, begin_epoch
from skerry.apiserver.store.vault import Unopened
from skerry.durable import writing_alone

SKIPPED_REVISIONS = 1_000_000_000  # more than a hub can write between two backups: 2,500 a second for four days


def start_new_epoch(path: Path, *, skip: int = SKIPPED_REVISIONS, at_least: int = 0, vfs: str | None = None) -> str:
    """Mark the restored store file at *path*, which no process has open, and return the new epoch.

    It begins *skip* revisions above the newest of the file, and at *at_least*.

    Lists and watches of older revisions are refused from then on (410), so every client lists again.
    """
    with writing_alone(path, MIGRATIONS, rebuild=rebuild_for(Unopened()), vfs_name=vfs) as db:
        return begin_epoch(db, skip=skip, at_least=at_least)
