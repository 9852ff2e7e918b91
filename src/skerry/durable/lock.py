"""One process at a time: a lock file that names its holder.

The kernel drops the lock when its holder ends, however it ends, so a stale lock cannot exist. The file itself stays:
removing it would let two processes hold locks on two files of one name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from skerry.durable.errors import StoreLockedError

_PID_BYTES = 20


class HeldLock:
    """An exclusive lock, held until `release` or the end of the process. Not inherited by programs it starts."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd: int | None = fd

    def release(self) -> None:
        """Give the lock up; a second call does nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def hold(path: Path, *, what: Path | None = None) -> HeldLock:
    """Lock the file *path*, made if need be; StoreLockedError about *what* (default: the file) when somebody else has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, _PID_BYTES, 0).strip()
        os.close(fd)
        raise StoreLockedError(what or path, int(text) if text.isdigit() else None) from None
    except OSError:
        os.close(fd)
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return HeldLock(path, fd)


def hold_folder(folder: Path) -> HeldLock:
    """Lock a whole data folder (its file `lock`), made with mode 0700 if need be; StoreLockedError names who has it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return hold(folder / "lock", what=folder)
