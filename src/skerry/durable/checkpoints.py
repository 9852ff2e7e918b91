"""When to move pages from the WAL into the database, so that the WAL stays bounded.

SQLite would do it inside COMMIT and keep an error to itself; here it is done after the answers went out, and an error is seen. The WAL
starts over only when nobody reads from it. Readers (a backup, a scrub) are short, so as the WAL grows the writer waits for them, a
moment at first, at most a second.
"""

from __future__ import annotations

import apsw

from skerry.durable import failpoints

CHECKPOINT_PAGES = 1_000  # 4 MB of WAL, then its pages move into the database
FORCED = 8  # times as much: readers kept the WAL from starting over, wait for them
URGENT = 32  # times as much: wait longer
FORCED_WAIT_MS = 100
URGENT_WAIT_MS = 1_000


class Checkpoints:
    """Counts the pages written since the WAL was empty; `late` says that the last attempt failed."""

    def __init__(self, db: apsw.Connection, *, busy_timeout_ms: int) -> None:
        self._db = db
        self._busy_timeout_ms = busy_timeout_ms
        self._base = self._written()
        self._next = CHECKPOINT_PAGES
        self.late = False

    def run_when_due(self) -> None:
        """Checkpoint when enough was written. An fsync that fails here raises, as one of a commit does."""
        pages = self._written() - self._base
        if pages < self._next:
            return
        self._next = pages + max(CHECKPOINT_PAGES // 4, 1)
        failpoints.reach("durable.before_checkpoint")
        in_wal, moved = self._forced(pages) if pages >= FORCED * CHECKPOINT_PAGES else self._passive()
        failpoints.reach("durable.after_checkpoint")
        if in_wal == moved:
            self._base, self._next = self._written(), CHECKPOINT_PAGES
            self.late = False

    def _passive(self) -> tuple[int, int]:
        return self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _forced(self, pages: int) -> tuple[int, int]:
        """Wait for the readers that are there, and let nobody write meanwhile; BusyError when they take too long."""
        self._db.set_busy_timeout(URGENT_WAIT_MS if pages >= URGENT * CHECKPOINT_PAGES else FORCED_WAIT_MS)
        try:
            return self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        finally:
            self._db.set_busy_timeout(self._busy_timeout_ms)

    def _written(self) -> int:
        return self._db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
