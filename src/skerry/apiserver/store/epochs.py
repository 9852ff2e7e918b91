"""A restored backup starts a new epoch: clients see it on the wire, and no revision of the lost time is given out again."""

from __future__ import annotations

from pathlib import Path

from skerry.apiserver.store.opening import rebuild_for
from skerry.apiserver.store.rows import MIGRATIONS, begin_epoch
from skerry.apiserver.store.vault import Unopened
from skerry.durable import Writer

SKIPPED_REVISIONS = 1_000_000_000  # more than a hub can write between two backups: 2,500 a second for four days


async def start_new_epoch(path: Path, *, skip: int = SKIPPED_REVISIONS, vfs: str | None = None) -> str:
    """Mark the restored store file at *path*, which no process has open, and return the new epoch.

    Lists and watches of older revisions are refused from then on (410), so every client lists again.
    """
    writer = await Writer.open(path, MIGRATIONS, vfs=vfs, rebuild=rebuild_for(Unopened()))
    try:
        return await writer.write(lambda db: begin_epoch(db, skip=skip))
    finally:
        await writer.close()
