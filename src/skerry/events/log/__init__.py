"""Event logs on SQLite: the node's outbox and the hub's log, and the batch that goes from one to the other.

The hub's log is loaded when it is asked for: a node has no use for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skerry.events.log.batch import MAX_BATCH_BYTES, MAX_EVENT_BYTES, BatchError
from skerry.events.log.outbox import EventTooLargeError, Outbox, OutboxBusyError, OutboxLimits

if TYPE_CHECKING:
    from skerry.events.log._hub_sql import Account, GapError
    from skerry.events.log.hublog import DROPPED_TYPE, HubLog, HubLogLimits, LogEntry, LogExpiredError

_HOMES = {
    "Account": "_hub_sql",
    "DROPPED_TYPE": "hublog",
    "GapError": "_hub_sql",
    "HubLog": "hublog",
    "HubLogLimits": "hublog",
    "LogEntry": "hublog",
    "LogExpiredError": "hublog",
}

__all__ = [
    "DROPPED_TYPE",
    "MAX_BATCH_BYTES",
    "MAX_EVENT_BYTES",
    "Account",
    "BatchError",
    "EventTooLargeError",
    "GapError",
    "HubLog",
    "HubLogLimits",
    "LogEntry",
    "LogExpiredError",
    "Outbox",
    "OutboxBusyError",
    "OutboxLimits",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
