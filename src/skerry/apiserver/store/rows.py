"""The store's file: one row a revision, append-only, and what a row means.

The state at the floor of a resource plus every later row is the present state. A row is deleted only when it is at or below
the floor and superseded there, in the same transaction that writes the floor; the newest revision is therefore always known,
from a row or from a floor, and is never given out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from sys import intern
from typing import Any

import apsw
import msgspec

from skerry.apiserver.store.history import History, superseded_by
from skerry.apiserver.store.records import Change, ChangeType, Index, Key, Record
from skerry.apiserver.store.shelf import Shelf
from skerry.apiserver.store.vault import Vault
from skerry.durable import StoreFormatError, is_damage, quick_check

TYPES: tuple[ChangeType, ...] = ("ADDED", "MODIFIED", "DELETED")
Row = tuple[int, str, str, str, int, bytes]  # revision, resource, namespace, name, index in TYPES, value
Indexer = Callable[[Key, bytes], Index]

MIGRATIONS = (
    """
    CREATE TABLE revisions(
        revision INTEGER PRIMARY KEY, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        change INTEGER NOT NULL, value BLOB NOT NULL) STRICT;
    CREATE TABLE floors(resource TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE epochs(revision INTEGER PRIMARY KEY, epoch TEXT NOT NULL) STRICT;
    INSERT INTO epochs VALUES (0, lower(hex(randomblob(8))));
    """,
    # The ids of the keys that may have sealed a row; none in a file whose values are all plain. From here on pages have checksums.
    "CREATE TABLE sealing(id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;",
)
CHECKSUMS_SINCE = 2

_CHUNKS = (32, 16, 8, 4, 2, 1)  # rows a statement: each statement costs a turn of the interpreter's lock
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


def begin_epoch(db: apsw.Connection, *, skip: int, at_least: int = 0) -> str:
    """Start a new epoch *skip* revisions above the newest one, and at *at_least*; returns its name."""
    start = max(_newest(db) + skip, at_least)
    db.execute("INSERT INTO epochs VALUES (?, lower(hex(randomblob(8))))", (start,))
    return _epoch(db)[1]


class Loaded(msgspec.Struct, frozen=True):
    """The file in memory."""

    identity: str
    epoch: str
    revision: int
    shelves: dict[str, Shelf]
    history: History


def load(db: apsw.Connection, *, index: Indexer, vault: Vault, limit: int, limit_bytes: int) -> Loaded:
    """Read the whole file: the present state, and the history above the floors within the bounds given.

    StoreFormatError when the file is damaged or a value cannot be read.
    """
    try:
        if faults := quick_check(db):
            raise StoreFormatError(f"{db.filename} is damaged ({'; '.join(faults)}): restore a backup")
        return _load(db, index, vault, History(limit=limit, limit_bytes=limit_bytes, floor=_epoch(db)[0]))
    except apsw.Error as error:
        if not is_damage(error):
            raise
        raise StoreFormatError(f"{db.filename} is damaged ({error}): restore a backup") from error


def _load(db: apsw.Connection, index: Indexer, vault: Vault, history: History) -> Loaded:
    base, epoch = _epoch(db)
    floors = dict(db.execute("SELECT resource, revision FROM floors"))
    present: dict[Key, Record] = {}
    for change in _replay(db, present, index, vault):
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
    return Loaded(_identity(db), epoch, _newest(db), _shelves(present.values()), history)


def _replay(db: apsw.Connection, present: dict[Key, Record], index: Indexer, vault: Vault) -> Iterator[Change]:
    """Yield the change of each row, keeping *present* true at each."""
    keys: dict[Key, Key] = {}
    for row in db.execute("SELECT revision, resource, namespace, name, change, value FROM revisions ORDER BY revision"):
        try:
            type_, record = _record(row, keys, index, vault)
        except Exception as error:
            raise StoreFormatError(f"revision {row[0]} in {db.filename} cannot be read ({error}): restore a backup") from error
        previous = present.pop(record.key, None)
        if type_ != "DELETED":
            present[record.key] = record
        yield Change(type_, record, previous)


def _record(row: Any, keys: dict[Key, Key], index: Indexer, vault: Vault) -> tuple[ChangeType, Record]:
    """Return what a row says; equal keys become one."""
    revision, resource, namespace, name, change, sealed = row
    fresh = Key(intern(resource), intern(namespace), name)
    key = keys.setdefault(fresh, fresh)
    value = vault.unseal(key, sealed)
    return TYPES[change], Record.indexed(key, revision, value, index(key, value))


def _shelves(records: Iterable[Record]) -> dict[str, Shelf]:
    by_resource: dict[str, list[Record]] = {}
    for record in records:
        by_resource.setdefault(record.key.resource, []).append(record)
    shelves = {resource: Shelf() for resource in by_resource}
    for resource, shelf in shelves.items():
        shelf.fill(by_resource[resource])
    return shelves


def _epoch(db: apsw.Connection) -> tuple[int, str]:
    """Return where the present epoch began, and its name."""
    revision, epoch = next(iter(db.execute("SELECT revision, epoch FROM epochs ORDER BY revision DESC LIMIT 1")))
    return int(revision), str(epoch)


def _identity(db: apsw.Connection) -> str:
    """Return the name of the file's first epoch, which no copy or restore changes."""
    return str(next(iter(db.execute("SELECT epoch FROM epochs ORDER BY revision LIMIT 1")))[0])


def _newest(db: apsw.Connection) -> int:
    """Return the highest revision ever committed: a row's, or that of a tombstone whose row is gone, or a new epoch's start."""
    query = "SELECT max(coalesce((SELECT max(revision) FROM revisions), 0), coalesce((SELECT max(revision) FROM floors), 0), \
(SELECT max(revision) FROM epochs))"
    return int(next(iter(db.execute(query)))[0])
