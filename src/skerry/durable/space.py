"""The last of the disk is kept for writes that free space: deletes, compaction, and a clean end.

SQLite deletes by writing, so a file that grew until nothing was left could not shrink any more.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from skerry.durable.errors import StoreFullError

log = logging.getLogger(__name__)

RESERVE_BYTES = 8 << 20  # two WALs
LOOK_EVERY_S = 0.25  # others write, too
LOOK_EVERY_BYTES = RESERVE_BYTES // 8  # so that what was taken since the last look, twice over, fits in the reserve


def free_bytes(path: Path) -> int:
    """Return what programs like us may still write beside *path*."""
    stats = os.statvfs(path.parent)
    return stats.f_bavail * stats.f_frsize


class Space:
    """Refuses what makes the file at *path* grow while the disk has less than a reserve left."""

    def __init__(self, path: Path, *, reserve_bytes: int = RESERVE_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._reserve_bytes = reserve_bytes
        self._now = now
        self._look_at = now()
        self._grown = 0
        self._short = False

    def require(self, size: int) -> None:
        """Raise StoreFullError while space is short for *size* bytes more; the disk is asked now and then, not each time."""
        self._grown += size
        if self._now() >= self._look_at or self._grown >= LOOK_EVERY_BYTES:
            self._look_at = self._now() + LOOK_EVERY_S
            self._grown = 0
            self._look()
        if self._short:
            raise StoreFullError(self._path, f"the last {self._reserve_bytes >> 20} MiB of the disk are kept for deleting")

    def _look(self) -> None:
        free = free_bytes(self._path)
        short = free < self._reserve_bytes
        if short != self._short:
            self._short = short
            facts = {"path": str(self._path), "free_bytes": free, "reserve_bytes": self._reserve_bytes}
            if short:
                log.error("disk nearly full, only deletes are taken", extra=facts)
            else:
                log.warning("disk has space again", extra=facts)
