"""The store's file: one row a revision, append-only, and what a row means.

The state at the floor of a resource plus every later row is the present state. A row is deleted only when it is at or below
the floor and superseded there, in the same transaction that writes the floor; the newest revision is therefore always known,
from a row or from a floor, and is never given out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from sys import intern
from typing import Any

import apsw
import msgspec

from skerry.apiserver.store.history import History, superseded_by
from skerry.apiserver.store.records import NOTHING, Change, ChangeType, Index, Key, Record
from skerry.apiserver.store.shelf import Shelf

TYPES: tuple[ChangeType, ...] = ("ADDED", "MODIFIED", "DELETED")
Row = tuple[int, str, str, str, int, bytes]  # revision, resource, namespace, name, index in TYPES, value
Indexer = Callable[[Key, bytes], Index]
Sealer = Callable[[Key, bytes], bytes]

MIGRATIONS = (
    """
    CREATE TABLE revisions(
        revision INTEGER PRIMARY KEY, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        change INTEGER NOT NULL, value BLOB NOT NULL) STRICT;
    CREATE TABLE floors(resource TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE epochs(revision INTEGER PRIMARY KEY, epoch TEXT NOT NULL) STRICT;
    INSERT INTO epochs VALUES (0, lower(hex(randomblob(8))));
    """,
)

_CHUNKS = (32, 8, 1)  # rows a statement: each statement costs a turn of the interpreter's lock
_INSERTS = {n: "INSERT INTO revisions VALUES " + ",".join(["(?,?,?,?,?,?)"] * n) for n in _CHUNKS}  # noqa: S608


def insert(db: apsw.Connection, rows: Sequence[Row]) -> None:
    """Append *rows*, in order of revision."""
    start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            flat: list[Any] = []
            for row in rows[start : start + size]:
                flat += row
            db.execute(_INSERTS[size], flat)
            start += size


def compact(db: apsw.Connection, revisions: Sequence[int], floors: Mapping[str, int]) -> None:
    """Write *floors*, below which nothing can be resumed, and delete the rows *revisions* that this makes superfluous."""
    db.executemany("INSERT OR REPLACE INTO floors VALUES (?, ?)", floors.items())
    doomed = msgspec.json.encode(revisions).decode()
    db.execute("DELETE FROM revisions WHERE revision IN (SELECT value FROM json_each(?))", (doomed,))


def begin_epoch(db: apsw.Connection, *, skip: int = 1_000_000_000) -> None:
    """Start a new epoch, as after restoring a backup: revisions that the lost time may have used are skipped."""
    newest = _newest(db)
    db.execute("INSERT INTO epochs VALUES (?, lower(hex(randomblob(8))))", (newest + skip,))


@dataclass(frozen=True)
class Loaded:
    """The file in memory."""

    epoch: str
    revision: int
    shelves: dict[str, Shelf]
    history: History


def load(db: apsw.Connection, *, index: Indexer, unseal: Sealer, limit: int, limit_bytes: int) -> Loaded:
    """Read the whole file: the present state, and the history above the floors within the bounds given."""
    base, epoch = next(iter(db.execute("SELECT revision, epoch FROM epochs ORDER BY revision DESC LIMIT 1")))
    floors = dict(db.execute("SELECT resource, revision FROM floors"))
    history = History(limit=limit, limit_bytes=limit_bytes, floor=base)
    present: dict[Key, Record] = {}
    for change in _replay(db, present, index, unseal):
        resource = change.record.key.resource
        floor = max(base, floors.get(resource, 0))
        if change.revision > floor:
            history.ring(resource).floor = max(history.ring(resource).floor, floor)
            history.append(change)
        else:
            history.garbage += superseded_by(change)
    for resource, floor in floors.items():
        ring = history.ring(resource)
        ring.floor = max(ring.floor, floor)
    return Loaded(epoch, _newest(db), _shelves(present.values()), history)


def _replay(db: apsw.Connection, present: dict[Key, Record], index: Indexer, unseal: Sealer) -> Iterator[Change]:
    """Yield the change of each row, keeping *present* true at each."""
    keys: dict[Key, Key] = {}
    query = "SELECT revision, resource, namespace, name, change, value FROM revisions ORDER BY revision"
    for revision, resource, namespace, name, change, sealed in db.execute(query):
        fresh = Key(intern(resource), intern(namespace), name)
        key = keys.setdefault(fresh, fresh)
        value = unseal(key, sealed)
        found = index(key, value)
        record = Record(key, revision, value, found.labels or NOTHING, found.fields or NOTHING)
        previous = present.pop(key, None)
        if TYPES[change] != "DELETED":
            present[key] = record
        yield Change(TYPES[change], record, previous)


def _shelves(records: Iterable[Record]) -> dict[str, Shelf]:
    by_resource: dict[str, list[Record]] = {}
    for record in records:
        by_resource.setdefault(record.key.resource, []).append(record)
    shelves = {resource: Shelf() for resource in by_resource}
    for resource, shelf in shelves.items():
        shelf.fill(by_resource[resource])
    return shelves


def _newest(db: apsw.Connection) -> int:
    """Return the highest revision ever committed: a row's, or that of a tombstone whose row is gone, or a new epoch's start."""
    query = "SELECT max(coalesce((SELECT max(revision) FROM revisions), 0), coalesce((SELECT max(revision) FROM floors), 0), \
(SELECT max(revision) FROM epochs))"
    return int(next(iter(db.execute(query)))[0])
