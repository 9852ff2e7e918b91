"""Reads beside the writer: a read-only connection, made when first used, and the one thread it is used in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw

from skerry.durable.connection import open_reader
from skerry.durable.group import Work

T = TypeVar("T")


class Reader:
    """The connection; `run` and `close` belong into `executor`."""

    def __init__(self, path: Path, vfs: str | None) -> None:
        self.executor = ThreadPoolExecutor(1, thread_name_prefix=f"durable read {path.name}")
        self._path = path
        self._vfs = vfs
        self._db: apsw.Connection | None = None

    def run(self, work: Work[T]) -> T:
        """Run *work* on one snapshot of what is committed."""
        if self._db is None:
            self._db = open_reader(self._path, vfs=self._vfs)
        self._db.execute("BEGIN")
        try:
            return work(self._db)
        finally:
            if self._db.in_transaction:  # an I/O error ends it
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
