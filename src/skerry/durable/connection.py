"""How every durable SQLite file is opened, so that all of them keep the same promises.

WAL with `synchronous=FULL`: a commit is on the disk when COMMIT returns. What a WAL of an earlier life holds is moved into
the database and fsynced before the first write: pages that were only in a cache when an fsync failed get written again.
Files are 0600; a file that is not ours, or is of a later version, is refused and not touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from skerry.durable import checksums, failpoints
from skerry.durable.errors import StoreFormatError, StoreFullError
from skerry.durable.files import put_in_place, sync_folder
from skerry.durable.rebuild import Rebuild, leftover

APPLICATION_ID = 0x736B7279  # "skry", in the file's header
WAL_LIMIT_BYTES = 4 << 20  # what the WAL shrinks to after a checkpoint
_CACHE_KIB = 512
_LEAST_BYTES = 512  # the smallest page SQLite knows
# EXTRA while the switch to WAL still uses a rollback journal: FULL would not sync the folder after deleting it, and a power cut
# could bring it back to undo the whole file. In WAL mode FULL is enough.
_WRITER_PRAGMAS = (
    "synchronous=EXTRA",
    "journal_mode=WAL",
    "synchronous=FULL",
    "wal_autocheckpoint=0",
    f"journal_size_limit={WAL_LIMIT_BYTES}",
)
BUSY_TIMEOUT_MS = 5_000


def open_writer(path: Path, migrations: Sequence[str], *, vfs: str | None = None, rebuild: Rebuild | None = None) -> apsw.Connection:
    """Open *path* for its only writer, made if need be, with all *migrations* applied.

    With *rebuild* the file has page checksums, and one of an older kind is first copied into a new one, which takes its place.
    """
    _create(path)
    if rebuild is not None:
        leftover(path).unlink(missing_ok=True)
    with _readable(path):
        db = _opened(path, migrations, vfs, rebuild)
        try:
            if rebuild is not None and rebuild.needed(db):
                _replace(db, path, migrations, vfs, rebuild)
                db = _opened(path, migrations, vfs, rebuild)
            _migrate(db, migrations)
            sync_folder(path.parent)  # SQLite syncs the name of the WAL, too, and passes over an error
        except BaseException:
            db.close()
            raise
    return db


def _opened(path: Path, migrations: Sequence[str], vfs: str | None, rebuild: Rebuild | None) -> apsw.Connection:
    """Open *path* as it is, the write-ahead log of an earlier life moved into it."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
    db = apsw.Connection(str(path.resolve()), flags=flags, vfs=vfs)
    try:
        _protect(db)
        _require_ours(db, path, known=len(migrations))
        if rebuild is not None:
            _reserve(db, path, rebuild)
        for pragma in _WRITER_PRAGMAS:
            list(db.execute(f"PRAGMA {pragma}"))  # to its end: the switch to WAL commits, and may fail, after its answer
        _require_wal(db)
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        if rebuild is not None:
            _require_length(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _require_length(db: apsw.Connection, path: Path) -> None:
    """Refuse a file that ends before its last page does; SQLite would read zeros there, and of a free page nothing."""
    size, wanted = path.stat().st_size, _number(db, "page_count") * _number(db, "page_size")
    if size < wanted or size % _number(db, "page_size"):
        raise StoreFormatError(f"{path} is damaged (it has {size} bytes of {wanted}): restore a backup")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Translate what says that the file is damaged."""
    try:
        yield
    except apsw.NotADBError as error:
        raise StoreFormatError(f"{path} is not a database: move it away, or restore a backup") from error
    except apsw.Error as error:
        if checksums.is_damage(error):
            raise StoreFormatError(f"{path} is damaged ({error}): restore a backup") from error
        raise


def _reserve(db: apsw.Connection, path: Path, rebuild: Rebuild) -> None:
    """Give a new file room for its checksums; refuse one that says it has none although its version does."""
    version = _number(db, "user_version")
    if version == 0 and not db.execute("SELECT 1 FROM sqlite_schema").fetchone():
        db.reserve_bytes("main", checksums.RESERVED_BYTES)
    elif version >= rebuild.since and db.reserve_bytes("main", -1) != checksums.RESERVED_BYTES:
        raise StoreFormatError(f"{path} is damaged (its header denies the checksums of its pages): restore a backup")


def _replace(old: apsw.Connection, path: Path, migrations: Sequence[str], vfs: str | None, rebuild: Rebuild) -> None:
    """Copy what *old* holds into a new file and put that in its place; a kill leaves the old or the new, whole."""
    new_path = leftover(path)
    try:
        _fill(new_path, old, migrations, vfs, rebuild)
    except BaseException as error:
        for name in (new_path.name, f"{new_path.name}-journal"):  # it may have taken the last space that others need
            new_path.with_name(name).unlink(missing_ok=True)
        if _says_full(error):
            cause = f"a copy of its {path.stat().st_size >> 20} MiB with a checksum on every page has to be made beside it"
            raise StoreFullError(path, cause) from error
        raise
    finally:
        old.close()  # the last connection: it leaves no write-ahead log that could be taken for the new file's
    put_in_place(new_path, path)


def _says_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, is that of a full disk: a rollback that finds nothing to roll back hides it."""
    return error is not None and (isinstance(error, apsw.FullError) or _says_full(error.__cause__ or error.__context__))


def _fill(path: Path, old: apsw.Connection, migrations: Sequence[str], vfs: str | None, rebuild: Rebuild) -> None:
    """Make the new file *path* of what *old* holds."""
    _create(path)
    new = apsw.Connection(str(path.resolve()), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW, vfs=vfs)
    try:
        _protect(new)
        new.reserve_bytes("main", checksums.RESERVED_BYTES)
        new.execute("PRAGMA synchronous=OFF")  # a kill leaves a file that nobody looks at
        _migrate(new, migrations)
        rebuild.copy(old, new)
    finally:
        new.close()


def open_reader(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open *path*, which a writer of this process has open, for reading only."""
    db = apsw.Connection(str(path.resolve()), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOFOLLOW, vfs=vfs)
    _protect(db)
    db.execute("PRAGMA query_only=ON")
    return db


def open_checked(path: Path) -> apsw.Connection:
    """Open a file with page checksums for reading; StoreFormatError when it is not ours, or denies them."""
    with _readable(path):
        db = open_reader(path, vfs=checksums.vfs())
        try:
            _require_ours(db, path, known=_number(db, "user_version"))
            if db.reserve_bytes("main", -1) != checksums.RESERVED_BYTES:
                raise StoreFormatError(f"{path} has no page checksums, or its header is damaged")
        except BaseException:
            db.close()
            raise
    return db


def quick_check(db: apsw.Connection) -> list[str]:
    """Return what is wrong with the file, at most ten findings; none is a healthy one. Reads the whole file."""
    try:
        found = [" ".join(str(row[0]).split()) for row in db.execute("PRAGMA quick_check(10)")]
    except apsw.Error as error:
        if not checksums.is_damage(error):
            raise
        return [str(error)]  # so broken that the check itself cannot go on
    return [] if found == ["ok"] else found


def _create(path: Path) -> None:
    """Make the file with mode 0600 and its name durable, unless it exists."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if 0 < (size := path.stat().st_size) < _LEAST_BYTES:  # SQLite would take it for an empty one
            raise StoreFormatError(f"{path} is damaged (it was cut off after {size} bytes): restore a backup") from None
        return
    failpoints.reach("durable.file_created")
    sync_folder(path.parent)


def _protect(db: apsw.Connection) -> None:
    """Do not trust what stands in the file, and stay small."""
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
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
            failpoints.reach("durable.migration_begun")
            db.execute(migrations[number])
            failpoints.reach("durable.migration_made")
            db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={number + 1}; COMMIT")
            failpoints.reach("durable.migration_committed")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _number(db: apsw.Connection, pragma: str) -> int:
    return int(next(iter(db.execute(f"PRAGMA {pragma}")))[0])
