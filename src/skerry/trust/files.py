"""Files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import os
import resource
from pathlib import Path


def create_private(path: Path, data: bytes) -> None:
    """Create *path* with mode 0600 and *data*, synced; raises FileExistsError when it is there already."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def replace_private(path: Path, data: bytes) -> None:
    """Put *data* at *path* with mode 0600: after a power cut the old or the new content is there, whole."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # left behind by a power cut
    create_private(draft, data)
    draft.replace(path)
    _sync_folder(path.parent)


def leave_no_core() -> None:
    """Let this process and those that it starts leave no core file: it would hold keys and Secrets in plain text."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
