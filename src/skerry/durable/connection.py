"""How every durable SQLite file is opened, so that all of them keep the same promises.

WAL with `synchronous=FULL`: a commit is on the disk when COMMIT returns. What a WAL of an earlier life holds is moved into
the database and fsynced before the first write: pages that were only in a cache when an fsync failed get written again.
Files are 0600; a file that is not ours, or is of a later version, is refused and not touched.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import apsw

from skerry.durable.errors import StoreFormatError

APPLICATION_ID = 0x736B7279  # "skry", in the file's header
WAL_LIMIT_BYTES = 4 << 20  # what the WAL shrinks to after a checkpoint
_CACHE_KIB = 512
# EXTRA while the switch to WAL still uses a rollback journal: FULL would not sync the folder after deleting it, and a power cut
# could bring it back to undo the whole file. In WAL mode FULL is enough.
_WRITER_PRAGMAS = (
    "synchronous=EXTRA",
    "journal_mode=WAL",
    "synchronous=FULL",
    "wal_autocheckpoint=0",
    f"journal_size_limit={WAL_LIMIT_BYTES}",
)
_BUSY_TIMEOUT_MS = 5_000


def open_writer(path: Path, migrations: Sequence[str], *, vfs: str | None = None) -> apsw.Connection:
    """Open *path* for its only writer, made if need be, with all *migrations* applied."""
    _create(path)
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
    db = apsw.Connection(str(path.resolve()), flags=flags, vfs=vfs)
    try:
        _protect(db)
        _require_ours(db, path, known=len(migrations))
        for pragma in _WRITER_PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        _require_wal(db)
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        _migrate(db, migrations)
    except apsw.NotADBError as error:
        db.close()
        raise StoreFormatError(f"{path} is not a database: move it away, or restore a backup") from error
    except apsw.CorruptError as error:
        db.close()
        raise StoreFormatError(f"{path} is damaged ({error}): restore a backup") from error
    except BaseException:
        db.close()
        raise
    return db


def open_reader(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open *path*, which a writer of this process has open, for reading only."""
    db = apsw.Connection(str(path.resolve()), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOFOLLOW, vfs=vfs)
    _protect(db)
    db.execute("PRAGMA query_only=ON")
    return db


def quick_check(db: apsw.Connection) -> list[str]:
    """Return what is wrong with the file, at most ten findings; none is a healthy one. Reads the whole file."""
    try:
        found = [str(row[0]) for row in db.execute("PRAGMA quick_check(10)")]
    except apsw.CorruptError as error:  # so broken that the check itself cannot go on
        return [str(error)]
    return [] if found == ["ok"] else found


def _create(path: Path) -> None:
    """Make the file with mode 0600 and its name durable, unless it exists."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _protect(db: apsw.Connection) -> None:
    """Do not trust what stands in the file, and stay small."""
    db.set_busy_timeout(_BUSY_TIMEOUT_MS)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    for option in (apsw.SQLITE_DBCONFIG_DQS_DML, apsw.SQLITE_DBCONFIG_DQS_DDL, apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION):
        db.config(option, 0)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", f"cache_size=-{_CACHE_KIB}", "temp_store=MEMORY"):
        db.execute(f"PRAGMA {pragma}")


def _require_ours(db: apsw.Connection, path: Path, *, known: int) -> None:
    owner, version = _number(db, "application_id"), _number(db, "user_version")
    if owner not in (0, APPLICATION_ID) or (owner == 0 and db.execute("SELECT 1 FROM sqlite_schema").fetchone()):
        raise StoreFormatError(f"{path} is another program's database (application_id {owner}): choose another folder")
    if version > known:
        raise StoreFormatError(f"{path} has format {version}, this version of skerry knows up to {known}: run the later version again")


def _require_wal(db: apsw.Connection) -> None:
    """SQLite stays with a rollback journal, without an error, when it cannot make the WAL."""
    mode = next(iter(db.execute("PRAGMA journal_mode")))[0]
    if mode != "wal":
        raise apsw.CantOpenError(f"the write-ahead log could not be made, the journal mode is {mode}")


def _migrate(db: apsw.Connection, migrations: Sequence[str]) -> None:
    """Apply what is missing, each step in a transaction of its own together with its number."""
    for number in range(_number(db, "user_version"), len(migrations)):
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(migrations[number])
            db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={number + 1}; COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _number(db: apsw.Connection, pragma: str) -> int:
    return int(next(iter(db.execute(f"PRAGMA {pragma}")))[0])
