"""What can go wrong with a durable file, grouped by what the caller does next.

`StoreFailedError`: stop and open again. `StoreFullError`, `StoreBusyError`: answer "later", try again. `StoreLockedError`,
`StoreFormatError`: a person has to decide. No error of these is raised for a write that was acknowledged.
"""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """Any refusal of a durable file."""

    http_status = 500  # what a server that meets it answers: 429, 503 and 507 say that nothing is wrong with the request itself


class StoreFailedError(StoreError):
    """A commit or an fsync failed: nothing is acknowledged any more until the file is closed and opened again.

    A second fsync may succeed although the first one lost the data, so trying again on the same file would be a lie.
    """

    http_status = 503

    def __init__(self, path: Path, cause: BaseException) -> None:
        super().__init__(f"{path} failed ({type(cause).__name__}: {cause}) and takes no writes until it is opened again")
        self.path = path
        self.cause = cause


class StoreFullError(StoreError):
    """The disk is full: this write was not kept; the next one may be, once there is space."""

    http_status = 507

    def __init__(self, path: Path, cause: BaseException | str) -> None:
        super().__init__(f"no space left for {path} ({cause}): the write was not kept; free some space and try again")
        self.path = path


class StoreBusyError(StoreError):
    """Too much waits already, or another program holds the file's write lock: try again shortly."""

    http_status = 429


class StoreClosedError(StoreError):
    """The file was closed before this was done."""

    http_status = 503

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is closed")
        self.path = path


class StoreLockedError(StoreError):
    """Another process uses the data."""

    def __init__(self, path: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{path} is in use by {who}: stop it first, or choose another folder")
        self.path = path
        self.pid = pid


class StoreFormatError(StoreError):
    """The file is not ours, is damaged, or was written by a later version."""
