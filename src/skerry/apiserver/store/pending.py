"""Writes on their way to the disk: what the next write of an object finds, and what goes into the next transaction."""

from __future__ import annotations

import asyncio

from skerry.apiserver.store.records import Key, Record
from skerry.apiserver.store.rows import TYPES, Row
from skerry.durable import StoreBusyError

BATCH_LIMIT = 1_000  # writes in one transaction
WAITING_LIMIT = 10_000
WAITING_BYTES = 64 << 20
ADDED, MODIFIED, DELETED = range(len(TYPES))


class Pending:
    """One write that is not committed yet, and whoever waits for it."""

    __slots__ = ("future", "kind", "record", "sealed")

    def __init__(self, record: Record, kind: int, sealed: bytes, future: asyncio.Future[Record]) -> None:
        self.record = record
        self.kind = kind
        self.sealed = sealed
        self.future = future

    def row(self) -> Row:
        key = self.record.key
        return (self.record.revision, key.resource, key.namespace, key.name, self.kind, self.sealed)

    def resolve(self) -> None:
        """Answer the writer, unless it went away."""
        if not self.future.done():
            self.future.set_result(self.record)

    def refuse(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Queue:
    """The writes that wait, in order, and the one transaction that is on its way."""

    def __init__(self) -> None:
        self._newest: dict[Key, Pending] = {}
        self._waiting: list[Pending] = []
        self._bytes = 0
        self.in_flight: list[Pending] = []

    def newest(self, key: Key) -> Pending | None:
        """Return the newest write of *key* that is not committed yet."""
        return self._newest.get(key)

    def oldest(self) -> int | None:
        """Return the revision of the oldest write that is not committed yet."""
        first = self.in_flight or self._waiting
        return first[0].record.revision if first else None

    def newest_of_all(self) -> list[Pending]:
        return list(self._newest.values())

    def require_room(self) -> None:
        if len(self._waiting) >= WAITING_LIMIT or self._bytes >= WAITING_BYTES:
            raise StoreBusyError(f"{len(self._waiting)} writes of {self._bytes} bytes wait already: try again later")

    def add(self, pending: Pending) -> None:
        self._newest[pending.record.key] = pending
        self._waiting.append(pending)
        self._bytes += len(pending.sealed)

    def next_batch(self) -> list[Pending]:
        """Move writes from waiting to in flight and return them; nothing while a transaction is on its way.

        Writes of one object that follow each other stay together.
        """
        waiting, end = self._waiting, BATCH_LIMIT
        if self.in_flight or not waiting:
            return []
        while end < len(waiting) and waiting[end].record.key == waiting[end - 1].record.key:
            end += 1
        self.in_flight, self._waiting = waiting[:end], waiting[end:]
        self._bytes = sum(len(p.sealed) for p in self._waiting)
        return self.in_flight

    def land(self) -> list[Pending]:
        """The transaction was committed: return its writes."""
        batch, self.in_flight = self.in_flight, []
        for pending in batch:
            key = pending.record.key
            if self._newest.get(key) is pending:
                del self._newest[key]
        return batch

    def drop(self) -> list[Pending]:
        """The transaction was lost: return its writes and all that wait, since they may have built on it."""
        lost = [*self.in_flight, *self._waiting]
        self.in_flight, self._waiting, self._bytes = [], [], 0
        self._newest.clear()
        return lost
