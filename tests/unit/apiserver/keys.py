"""One file of token keys for all tests of a process: an RSA key takes its time."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from skerry.trust import create_private, token_keys


@cache
def _made() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / token_keys.FILE
        token_keys.make(path, datetime(2026, 1, 1, tzinfo=UTC))
        return path.read_bytes()


def put_keys(folder: Path) -> Path:
    """Put a file of keys into *folder* and return its path."""
    path = folder / token_keys.FILE
    create_private(path, _made())
    return path
