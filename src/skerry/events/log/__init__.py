"""Event logs on SQLite: the node's outbox and the hub's log, and the batch that goes from one to the other."""

from __future__ import annotations

from skerry.events.log._hub_sql import Account, GapError
from skerry.events.log.batch import MAX_BATCH_BYTES, MAX_EVENT_BYTES, BatchError
from skerry.events.log.hublog import DROPPED_TYPE, HubLog, HubLogLimits, LogEntry, LogExpiredError
from skerry.events.log.outbox import EventTooLargeError, Outbox, OutboxBusyError, OutboxLimits

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
