"""Databases that are not this process's own: a copy of one that is in use, and one that nobody uses, opened for a moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from skerry.durable.checksums import RESERVED_BYTES, vfs
from skerry.durable.connection import open_reader, open_writer, quick_check
from skerry.durable.errors import StoreFormatError
from skerry.durable.lock import hold
from skerry.durable.rebuild import Rebuild


@contextmanager
def writing_alone(path: Path, migrations: Sequence[str], *, rebuild: Rebuild, vfs_name: str | None = None) -> Iterator[apsw.Connection]:
    """Open a file with page checksums for writing, in a transaction; StoreLockedError when another writer has it."""
    lock = hold(path.with_name(path.name + ".lock"), what=path)
    try:
        db = open_writer(path, migrations, vfs=vfs_name or vfs(), rebuild=rebuild)
        try:
            with db:
                yield db
        finally:
            db.close()
    finally:
        lock.release()


def copy_database(source: Path, target: Path, *, at_that_moment: Callable[[], None] = lambda: None) -> None:
    """Copy *source* into the new file *target* in one read, and check the copy; StoreFormatError when either is damaged.

    The copy has page checksums when the source has. *at_that_moment* is called as soon as it is settled which moment the copy shows.
    Writers are not held up; the write-ahead log cannot start over until the copy is made.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    reading = open_reader(source, vfs=vfs())
    writing = apsw.Connection(str(target.resolve()), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW, vfs=vfs())
    try:
        if reading.reserve_bytes("main", -1) == RESERVED_BYTES:  # from the first page that is written on
            writing.reserve_bytes("main", RESERVED_BYTES)
            writing.execute("CREATE TABLE replaced(x)")
        reading.execute("BEGIN")
        reading.execute("SELECT 1 FROM sqlite_schema").fetchall()
        at_that_moment()
        with writing.backup("main", reading, "main") as copying:
            copying.step(-1)
    except apsw.Error as error:
        raise StoreFormatError(f"{source} cannot be copied ({error})") from error
    finally:
        writing.close()
        reading.close()
    _check(target)


def _check(path: Path) -> None:
    db = apsw.Connection(str(path.resolve()), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs())
    try:
        list(db.execute("PRAGMA journal_mode=DELETE"))  # one file, no companions
        if faults := quick_check(db):
            raise StoreFormatError(f"the copy of the database is damaged ({'; '.join(faults)})")
    finally:
        db.close()
