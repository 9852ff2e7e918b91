"""When to move pages from the WAL into the database, so that the WAL stays bounded.

SQLite would do it inside COMMIT and keep an error to itself; here it is done after the answers went out, and an error is seen.
"""

from __future__ import annotations

import apsw

from skerry.durable import failpoints

CHECKPOINT_PAGES = 1_000  # 4 MB of WAL, then its pages move into the database
CHECKPOINT_FORCED_PAGES = 8 * CHECKPOINT_PAGES  # readers kept the WAL from starting over: wait for them


class Checkpoints:
    """Counts the pages written since the WAL was empty; `late` says that the last attempt failed."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._base = self._written()
        self._next = CHECKPOINT_PAGES
        self.late = False

    def run_when_due(self) -> None:
        """Checkpoint when enough was written. An fsync that fails here raises, as one of a commit does."""
        pages = self._written() - self._base
        if pages < self._next:
            return
        forced = pages >= CHECKPOINT_FORCED_PAGES
        self._next = pages + CHECKPOINT_PAGES // 4
        failpoints.reach("durable.before_checkpoint")
        mode = apsw.SQLITE_CHECKPOINT_RESTART if forced else apsw.SQLITE_CHECKPOINT_PASSIVE
        in_wal, moved = self._db.wal_checkpoint(mode=mode)
        failpoints.reach("durable.after_checkpoint")
        if in_wal == moved:
            self._base, self._next = self._written(), CHECKPOINT_PAGES
            self.late = False

    def _written(self) -> int:
        return self._db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
