"""Durable SQLite files: what is acknowledged is on the disk.

The API's store, the event logs and a node's memory all write through a `Writer`. `hold_folder` keeps a second process out.
"""

from skerry.durable.connection import quick_check
from skerry.durable.errors import (
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreFailedError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
)
from skerry.durable.group import Result, Work
from skerry.durable.lock import HeldLock, hold_folder
from skerry.durable.space import Space
from skerry.durable.writer import Writer

__all__ = [
    "HeldLock",
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
    "hold_folder",
    "quick_check",
]
