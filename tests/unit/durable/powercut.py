"""A disk that forgets what was not synced: a VFS for tests of whatever writes through SQLite.

`Disk` counts operations (write, truncate, sync, delete) and can go dark at one of them: from then on every operation fails, as
for a process whose machine lost power. `remains` then says what a real disk could hold: everything that was synced, and of the
rest nothing, everything, or a random subset of 512-byte sectors. A sync that is told to fail forgets what it was to write but
leaves it readable, as Linux does: the next sync succeeds without it.
"""

from __future__ import annotations

import functools
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import apsw

SECTOR = 512
Survivors = Literal["nothing", "everything", "some sectors"]


@dataclass
class _File:
    synced: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes] | int] = field(default_factory=list)  # a write at an offset, or a new size
    deleted: bool = False


class Disk:
    """What one simulated machine has on its disk; its VFS is called `name`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations = 0
        self.dark_at: int | None = None
        self.dark = False
        self.fail_sync: Callable[[str], bool] = lambda path: False
        self.space: int | None = None  # bytes that may still be written beyond the present size of each file
        self.syncs = 0
        self.failed_syncs = 0
        self.unreported: list[BaseException | None] = []  # raised while SQLite closed or rolled back, so that nobody could catch it
        self._files: dict[str, _File] = {}
        self._lock = threading.Lock()

    def adopt(self, path: Path) -> None:
        """Take a file that exists as being on the disk already."""
        self._files[str(path.resolve())] = _File(bytearray(path.read_bytes()))

    def step(self) -> None:
        """Count one operation; apsw.IOError once the power is off."""
        with self._lock:
            self.operations += 1
            if self.dark_at is not None and self.operations >= self.dark_at:
                self.dark = True
            if self.dark:
                raise apsw.IOError("the power is off")

    def write(self, path: str, offset: int, data: bytes, *, grows: int) -> None:
        self.step()
        with self._lock:
            if self.space is not None and grows > 0:
                if grows > self.space:
                    raise apsw.FullError("no space left on the simulated disk")
                self.space -= grows
            self._file(path).unsynced.append((offset, data))

    def truncate(self, path: str, size: int) -> None:
        self.step()
        with self._lock:
            self._file(path).unsynced.append(size)

    def delete(self, path: str, *, synced: bool) -> None:
        self.step()
        with self._lock:
            if synced:
                self._files.pop(path, None)
            else:
                self._file(path).deleted = True

    def sync(self, path: str) -> None:
        self.step()
        with self._lock:
            file = self._file(path)
            self.syncs += 1
            if self.fail_sync(path):
                self.failed_syncs += 1
                file.unsynced.clear()
                raise apsw.IOError("the simulated disk could not sync")
            for change in file.unsynced:
                _apply(file.synced, change)
            file.unsynced.clear()

    def remains(self, survivors: Survivors, rng: random.Random) -> dict[str, bytes]:
        """Return what each file holds when the power is back."""
        left = {}
        for path, file in self._files.items():
            image = bytearray(file.synced)
            for change in file.unsynced if survivors != "nothing" else ():
                for part in _sectors(change):
                    if survivors == "everything" or rng.random() < 0.5:
                        _apply(image, part)
            if not file.deleted or (survivors == "some sectors" and rng.random() < 0.5):
                left[path] = bytes(image)
        return left

    def restore_to(self, folder: Path, survivors: Survivors, rng: random.Random) -> None:
        """Write what remains into *folder*, under the files' own names."""
        for path, data in self.remains(survivors, rng).items():
            (folder / Path(path).name).write_bytes(data)

    def _file(self, path: str) -> _File:
        file = self._files.setdefault(path, _File())
        if file.deleted:  # made again under the same name
            file = self._files[path] = _File()
        return file


@contextmanager
def mounted(name: str) -> Iterator[Disk]:
    """Offer a fresh disk as the VFS of its `name`; one at a time. *name* tells runs apart in messages."""
    below = _below()
    assert below.disk is None, f"{name}: another disk is mounted"
    disk = below.disk = Disk(CHECKSUMMED)
    try:
        yield disk
    finally:
        below.disk = None
    assert all(isinstance(error, apsw.IOError | apsw.FullError) for error in disk.unreported), (name, disk.unreported)


CHECKSUMMED = "cutdisk"


@functools.cache
def _below() -> _Vfs:
    """Return the VFS of all disks, with the page checksums of the product above it.

    That extension stands on whatever is the default when it is loaded, once a process; a second copy of it, under a name of its own,
    stands on ours.
    """
    vfs = _Vfs()
    library = Path(apsw.__file__).with_name("sqlite_extra_binaries") / "cksumvfs.so"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "cutvfs.so"
        copy.write_bytes(library.read_bytes().replace(b"cksmvfs\0", CHECKSUMMED.encode() + b"\0"))
        db = apsw.Connection(":memory:", vfs="unix")
        db.enable_load_extension(True)
        db.load_extension(str(copy), "sqlite3_cksumvfs_init")
        db.close()
    apsw.set_default_vfs("unix")
    return vfs


class _Vfs(apsw.VFS):
    def __init__(self) -> None:
        self.disk: Disk | None = None
        super().__init__("below-" + CHECKSUMMED, "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        assert self.disk is not None, "no disk is mounted"
        return _VfsFile(self.disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        assert self.disk is not None, "no disk is mounted"
        self.disk.delete(filename, synced=syncdir)
        super().xDelete(filename, syncdir)

    def excepthook(self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None) -> Any:
        if self.disk is not None:
            self.disk.unreported.append(evalue)


class _VfsFile(apsw.VFSFile):
    """The live file is the page cache: reads see every write; only the disk's own copy survives."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("unix", name, flags)

    def excepthook(self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None) -> Any:
        self.disk.unreported.append(evalue)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.disk.write(self.path, offset, bytes(data), grows=offset + len(data) - self.xFileSize())
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self.disk.truncate(self.path, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.disk.sync(self.path)


def _apply(image: bytearray, change: tuple[int, bytes] | int) -> None:
    if isinstance(change, int):
        del image[change:]
        image.extend(bytes(change - len(image)))
        return
    offset, data = change
    image.extend(bytes(max(0, offset + len(data) - len(image))))
    image[offset : offset + len(data)] = data


def _sectors(change: tuple[int, bytes] | int) -> Iterator[tuple[int, bytes] | int]:
    """Yield what a disk writes at once: a part of *change* that does not cross the boundary of a sector."""
    if isinstance(change, int):
        yield change
        return
    offset, data = change
    start = 0
    while start < len(data):
        end = min(len(data), (offset + start) // SECTOR * SECTOR + SECTOR - offset)
        yield offset + start, data[start:end]
        start = end
