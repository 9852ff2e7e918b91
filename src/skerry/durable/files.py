"""Whole small files, replaced so that a power cut leaves the old or the new one."""

from __future__ import annotations

import os
from pathlib import Path

from skerry.durable import failpoints


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(made: Path, path: Path) -> None:
    """Give the finished file *made* the name *path*, durably: its content first, then its name."""
    with made.open("rb") as content:
        os.fsync(content.fileno())
    failpoints.reach("file.before_rename")
    made.rename(path)
    failpoints.reach("file.after_rename")
    sync_folder(path.parent)
    failpoints.reach("file.renamed")


def write_private(path: Path, content: bytes) -> None:
    """Replace the file *path* by one of mode 0600 with *content*; a kill leaves the old or the new one."""
    made = path.with_name(f".{path.name}.new")
    made.unlink(missing_ok=True)
    handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        failpoints.reach("file.created")
        file.write(content)
        failpoints.reach("file.written")
    put_in_place(made, path)
