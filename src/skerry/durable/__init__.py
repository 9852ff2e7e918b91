"""Durable SQLite files: what is acknowledged is on the disk.

The API's store, the event logs and a node's memory all write through a `Writer`. `hold_folder` keeps a second process out.
"""

from skerry.durable.checksums import damaged_pages, is_damage
from skerry.durable.connection import open_checked, quick_check
from skerry.durable.copying import copy_database, writing_alone
from skerry.durable.errors import (
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreFailedError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
)
from skerry.durable.files import put_in_place, sync_folder, write_private
from skerry.durable.group import Result, Work
from skerry.durable.lock import HeldLock, hold, hold_folder
from skerry.durable.rebuild import Rebuild
from skerry.durable.space import Space
from skerry.durable.writer import Writer

__all__ = [
    "HeldLock",
    "Rebuild",
    "Result",
    "Space",
    "StoreBusyError",
    "StoreClosedError",
    "StoreError",
    "StoreFailedError",
    "StoreFormatError",
    "StoreFullError",
    "StoreLockedError",
    "Work",
    "Writer",
    "copy_database",
    "damaged_pages",
    "hold",
    "hold_folder",
    "is_damage",
    "open_checked",
    "put_in_place",
    "quick_check",
    "sync_folder",
    "write_private",
    "writing_alone",
]
