"""How a file of an older kind becomes one of today's: copied into a new file, which then takes its place.

What SQLite cannot change in place (room for checksums in every page), and what must not stay behind in free pages and in the
write-ahead log (values that are sealed from now on), is changed this way. A kill at any point leaves the old file or the new one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import msgspec


class Rebuild(msgspec.Struct, frozen=True):
    """Files of version *since* and later have page checksums; `copy` fills a new file from one for which `needed` says so."""

    since: int
    needed: Callable[[apsw.Connection], bool]
    copy: Callable[[apsw.Connection, apsw.Connection], None]


def leftover(path: Path) -> Path:
    """Return where the new file is made; one that is found there was not finished."""
    return path.with_name(path.name + ".new")
