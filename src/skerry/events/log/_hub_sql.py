"""What the hub's event log does to its database, each function inside one transaction of the writer.

A stream's `mark` and the events up to it are one transaction. `hub_seq` is never used twice. `totals` holds what `events` adds up to.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from skerry.durable import Rebuild, StoreFormatError, quick_check
from skerry.events.log.batch import Dropped, Entry, Stored, bounds, digest

MIGRATIONS = (
    """
    CREATE TABLE streams (
        id INTEGER PRIMARY KEY, node TEXT NOT NULL, stream TEXT NOT NULL, mark INTEGER NOT NULL DEFAULT 0,
        stored INTEGER NOT NULL DEFAULT 0, dropped INTEGER NOT NULL DEFAULT 0, touched INTEGER NOT NULL DEFAULT 0,
        digest TEXT NOT NULL DEFAULT '', UNIQUE (node, stream)
    ) STRICT;
    CREATE TABLE events (
        hub_seq INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE totals (
        one INTEGER PRIMARY KEY CHECK (one = 1), events INTEGER NOT NULL, bytes INTEGER NOT NULL, discarded INTEGER NOT NULL
    ) STRICT;
    INSERT INTO totals VALUES (1, 0, 0, 0);
    """,
    "-- From here on every page has a checksum.",
)
_CHECKSUMS_SINCE = 2
_TABLES = {"streams": 8, "events": 4, "totals": 4, "sqlite_sequence": 2}  # and how many columns they have

MAX_STREAMS = 64
"""Outbox identities remembered for one node; a node has one, and gets another only when its disk was lost."""

_FORGET_OLD_STREAMS = """
    DELETE FROM streams WHERE node = ?1 AND stream != ?2
    AND id NOT IN (SELECT id FROM streams WHERE node = ?1 ORDER BY touched DESC, id DESC LIMIT ?3)
"""

Row = tuple[int, str, int, bytes]
"""hub sequence, node, node's number, event"""


class GapError(Exception):
    """A batch does not follow what is stored: send from `mark + 1`."""

    def __init__(self, node: str, mark: int, first: int) -> None:
        super().__init__(f"the batch of {node} starts at {first}, but {mark + 1} is next")
        self.mark = mark


class Account(msgspec.Struct, frozen=True):
    """What the hub knows of one stream: numbers up to `mark` = `stored` + `dropped`."""

    node: str
    stream: str
    mark: int
    stored: int
    dropped: int


class Accepted(msgspec.Struct, frozen=True):
    """`newest` is the hub's newest sequence after the batch; `discarded` how many old events left for the bound."""

    mark: int
    newest: int
    discarded: int = 0


def _copy(old: apsw.Connection, new: apsw.Connection) -> None:
    """Copy every table of a log without checksums."""
    if faults := quick_check(old):
        raise StoreFormatError(f"{old.filename} is damaged ({'; '.join(faults)}): restore a backup")
    with new:
        for table, columns in _TABLES.items():
            new.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            values = ",".join("?" * columns)
            new.executemany(f"INSERT INTO {table} VALUES ({values})", old.execute(f"SELECT * FROM {table}"))  # noqa: S608


REBUILD = Rebuild(
    since=_CHECKSUMS_SINCE,
    needed=lambda db: 0 < int(next(iter(db.execute("PRAGMA user_version")))[0]) < _CHECKSUMS_SINCE,
    copy=_copy,
)
"""Makes a log of an earlier version one of today's."""


def newest(db: apsw.Connection) -> int:
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return int(row[0]) if row else 0


def oldest(db: apsw.Connection) -> int:
    """Return the oldest hub sequence still held, 0 when there is none."""
    row = db.execute("SELECT hub_seq FROM events ORDER BY hub_seq LIMIT 1").fetchone()
    return int(row[0]) if row else 0


def mark(db: apsw.Connection, node: str, stream: str) -> int:
    row = db.execute("SELECT mark FROM streams WHERE node = ? AND stream = ?", (node, stream)).fetchone()
    return int(row[0]) if row else 0


def digest_at_mark(db: apsw.Connection, node: str, stream: str) -> str:
    """Return the digest of the event at the mark; "" when that number was dropped, or nothing is stored."""
    row = db.execute("SELECT digest FROM streams WHERE node = ? AND stream = ?", (node, stream)).fetchone()
    return str(row[0]) if row else ""


def accounts(db: apsw.Connection) -> list[Account]:
    found = db.execute("SELECT node, stream, mark, stored, dropped FROM streams ORDER BY node, id")
    return [Account(str(n), str(s), int(m), int(st), int(d)) for n, s, m, st, d in found]


def store(db: apsw.Connection, node: str, stream: str, batch: Sequence[tuple[Entry, bytes]], max_events: int, max_bytes: int) -> Accepted:
    """Store what is new of *batch*, move the mark, hold the bound. *batch* pairs each entry with the event to keep for it."""
    known = mark(db, node, stream)
    first, last = bounds(batch[0][0])[0], bounds(batch[-1][0])[1]
    if first > known + 1:
        raise GapError(node, known, first)
    if last <= known:
        return Accepted(known, newest(db))
    fresh = [(e, body) for e, body in batch if bounds(e)[1] > known]
    db.executemany("INSERT INTO events (node, seq, body) VALUES (?, ?, ?)", [(node, bounds(e)[1], body) for e, body in fresh])
    _move(db, node, stream, last, [e for e, _ in fresh], known)
    discarded = _account(db, len(fresh), sum(len(body) for _, body in fresh), max_events, max_bytes)
    return Accepted(last, newest(db), discarded)


def _move(db: apsw.Connection, node: str, stream: str, last: int, fresh: Sequence[Entry], known: int) -> None:
    stored = sum(isinstance(e, Stored) for e in fresh)
    dropped = sum(e.last - max(e.first - 1, known) for e in fresh if isinstance(e, Dropped))
    if known == 0:
        db.execute("INSERT INTO streams (node, stream) VALUES (?, ?) ON CONFLICT DO NOTHING", (node, stream))
        db.execute(_FORGET_OLD_STREAMS, (node, stream, MAX_STREAMS))
    at_mark = digest(fresh[-1].raw) if isinstance(fresh[-1], Stored) else ""
    query = "UPDATE streams SET mark = ?, stored = stored + ?, dropped = dropped + ?, touched = ?, digest = ? WHERE node = ? AND stream = ?"
    db.execute(query, (last, stored, dropped, newest(db), at_mark, node, stream))


def _account(db: apsw.Connection, count: int, size: int, max_events: int, max_bytes: int) -> int:
    row = db.execute("SELECT events, bytes FROM totals").fetchone()
    assert row is not None
    events, total = int(row[0]) + count, int(row[1]) + size
    discarded, last = 0, 0
    if events > max_events or total > max_bytes:
        for seq, length in db.execute("SELECT hub_seq, length(body) FROM events ORDER BY hub_seq"):
            if events <= max_events and total <= max_bytes:
                break
            events, total, discarded, last = events - 1, total - length, discarded + 1, seq
        db.execute("DELETE FROM events WHERE hub_seq <= ?", (last,))
    db.execute("UPDATE totals SET events = ?, bytes = ?, discarded = discarded + ?", (events, total, discarded))
    return discarded


def read(db: apsw.Connection, after: int, limit: int, max_bytes: int) -> list[Row]:
    """Return rows after *after* in order, at least one if there is one."""
    found: list[Row] = []
    size = 0
    for row in db.execute("SELECT hub_seq, node, seq, body FROM events WHERE hub_seq > ? ORDER BY hub_seq LIMIT ?", (after, limit)):
        size += len(row[3])
        if found and size > max_bytes:
            break
        found.append((int(row[0]), str(row[1]), int(row[2]), bytes(row[3])))
    return found
