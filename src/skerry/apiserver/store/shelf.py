"""The present state of one resource, in memory and in order: what GET and LIST read.

Lists are made once and handed out until something they contain changes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from skerry.apiserver.store.records import Key, Record

Place = tuple[str, str]  # namespace, name


def place(key: Key) -> Place:
    return (key.namespace, key.name)


class Shelf:
    """The records of one resource by namespace and name."""

    def __init__(self) -> None:
        self._records: dict[Place, Record] = {}
        self._order: list[Place] = []
        self._lists: dict[str, Sequence[Record]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def fill(self, records: Iterable[Record]) -> None:
        """Put many at once, as at start; what was there is dropped."""
        self._records = {place(r.key): r for r in records}
        self._order = sorted(self._records)
        self._lists.clear()

    def get(self, key: Key) -> Record | None:
        return self._records.get((key.namespace, key.name))

    def put(self, record: Record) -> Record | None:
        """Place *record*; returns the one it replaces."""
        where = place(record.key)
        previous = self._records.get(where)
        if previous is None:
            insort(self._order, where)
        self._records[where] = record
        self._touch(where[0])
        return previous

    def remove(self, key: Key) -> Record | None:
        """Take the record of *key* away and return it."""
        where = place(key)
        previous = self._records.pop(where, None)
        if previous is not None:
            del self._order[bisect_left(self._order, where)]
            self._touch(where[0])
        return previous

    def records(self, namespace: str = "") -> Sequence[Record]:
        """Return all records, or a namespace's, in order."""
        found = self._lists.get(namespace)
        if found is None:
            start, end = 0, len(self._order)
            if namespace:
                start = bisect_left(self._order, (namespace, ""))
                end = bisect_left(self._order, (namespace + "\0", ""))
            records = self._records
            found = self._lists[namespace] = tuple([records[where] for where in self._order[start:end]])
        return found

    def by_place(self) -> dict[Place, Record]:
        """Return a copy to reckon with."""
        return dict(self._records)

    def _touch(self, namespace: str) -> None:
        self._lists.pop("", None)
        self._lists.pop(namespace, None)
