"""A checksum on every page of a file, so that a bit that flips on the disk is an error and never a value.

The last eight bytes of a page hold its checksum: written with the page, compared at each read of it (the extension `cksumvfs` that
travels with apsw). The write-ahead log has checksums of its own.
"""

from __future__ import annotations

import threading
from pathlib import Path

import apsw

from skerry.durable.errors import StoreFormatError

RESERVED_BYTES = 8  # of each page; SQLite keeps the figure in the file's header
PAGE_BYTES = 4096
_NAME = "cksmvfs"
_HEADER_BYTES = 100
_TRIES = 3  # a page that is being moved out of the write-ahead log may be seen half written
_loading = threading.Lock()


def vfs() -> str:
    """Return the name of the VFS that writes and compares the checksums; files without them pass through it as they are."""
    with _loading:
        if _NAME not in apsw.vfs_names():
            _load()
    return _NAME


def is_damage(error: BaseException) -> bool:
    """Say whether *error* is a page whose checksum is wrong, or a file whose structure is."""
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return True
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA


def damaged_pages(path: Path, *, first: int = 1, count: int, vfs_name: str | None = None) -> tuple[list[int], int]:
    """Read *count* pages of the file at *path* from number *first*; return those whose checksum is wrong, and how many pages there are.

    Free pages too, which nothing else ever reads. The file may be in use; what is only in the write-ahead log is not looked at.
    """
    flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0]
    file = apsw.VFSFile(vfs_name or vfs(), str(path.resolve()), flags)
    try:
        total = file.xFileSize() // PAGE_BYTES
        file.xRead(_HEADER_BYTES, 0)  # says that the pages have checksums
        return [n for n in range(first, min(first + count, total + 1)) if not _is_whole(file, (n - 1) * PAGE_BYTES)], total
    finally:
        file.xClose()


def _is_whole(file: apsw.VFSFile, offset: int) -> bool:
    for _ in range(_TRIES):
        try:
            file.xRead(PAGE_BYTES, offset)
        except apsw.IOError:
            continue
        return True
    return False


def _load() -> None:
    library = Path(apsw.__file__).with_name("sqlite_extra_binaries") / "cksumvfs.so"
    default = apsw.vfs_names()[0]
    db = apsw.Connection(":memory:")
    try:
        db.enable_load_extension(True)
        db.load_extension(str(library))
    except apsw.Error as error:
        raise StoreFormatError(f"page checksums need {library} ({error}): install the apsw that skerry is locked to") from error
    finally:
        db.close()
        apsw.set_default_vfs(default)  # loading it makes it everybody's; only who asks gets it
