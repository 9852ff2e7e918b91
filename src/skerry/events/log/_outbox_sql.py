"""What the outbox does to its database, each function inside one transaction of the writer.

`bytes` in `meta` is always the sum of the stored bodies; `acknowledged` never goes back; `dropped` counts events that left before
the hub had them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw
import msgspec

from skerry.model.chance import token

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, broker TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL
    ) STRICT;
    CREATE TABLE cursors (trigger TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE recent (key TEXT PRIMARY KEY, marks BLOB NOT NULL, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX recent_by_seq ON recent (seq);
    """,
)

_CHUNK = 2000

MARK_BYTES = 8
RECENT = 64
"""How many of a key's last events are recognised when they are sent again."""
MAX_RECENT_KEYS = 10_000

Row = tuple[float, str, str, bytes]
"""at, broker, key, body"""


class Offer(msgspec.Struct, frozen=True):
    """A row, and the mark by which it is recognised when its source sends it again; b"" when it cannot be."""

    row: Row
    mark: bytes = b""


class Facts(msgspec.Struct, frozen=True):
    """What an outbox knows of itself; `running_s` is its age in seconds of running time."""

    stream: str
    newest: int
    acknowledged: int
    bytes: int
    dropped: int
    running_s: float
    cursors: Mapping[str, int]


class Bound(msgspec.Struct, frozen=True):
    """Keep at most `max_bytes`, nothing stamped before `oldest_s`; what goes beyond `acknowledged` counts as dropped."""

    max_bytes: int
    oldest_s: float
    acknowledged: int


def _meta(db: apsw.Connection, key: str) -> int:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else 0


def _set(db: apsw.Connection, key: str, value: int | str) -> None:
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value))


def load(db: apsw.Connection) -> Facts:
    """Return what is stored, making the stream's identity the first time."""
    row = db.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()
    if row is None:
        row = (new_stream(db),)
    last = db.execute("SELECT at FROM outbox ORDER BY seq DESC LIMIT 1").fetchone()
    return Facts(
        stream=str(row[0]),
        newest=newest(db),
        acknowledged=_meta(db, "acknowledged"),
        bytes=_meta(db, "bytes"),
        dropped=_meta(db, "dropped"),
        running_s=float(last[0]) if last else 0.0,
        cursors={str(t): int(s) for t, s in db.execute("SELECT trigger, seq FROM cursors")},
    )


def newest(db: apsw.Connection) -> int:
    """Return the newest number ever given, 0 before the first."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    return int(row[0]) if row else 0


def new_stream(db: apsw.Connection) -> str:
    """Give the outbox a new identity: the hub counts from its beginning again."""
    stream = token(16)
    _set(db, "stream", stream)
    return stream


def append(db: apsw.Connection, offers: Sequence[Offer], bound: Bound) -> tuple[int, int]:
    """Store what is not a repetition and hold the bound, oldest out first; returns the newest number and how many were dropped."""
    rows = _without_repetitions(db, offers)
    if not rows:
        return newest(db), 0
    db.executemany("INSERT INTO outbox (at, broker, key, body) VALUES (?, ?, ?, ?)", rows)
    last = db.last_insert_rowid()
    total = _meta(db, "bytes") + sum(len(r[3]) for r in rows)
    left, dropped = _hold(db, total, bound)
    _set(db, "bytes", left)
    if dropped:
        _set(db, "dropped", _meta(db, "dropped") + dropped)
    return last, dropped


def _without_repetitions(db: apsw.Connection, offers: Sequence[Offer]) -> list[Row]:
    """Return the rows that their source has not sent before, and remember them."""
    fresh: list[Row] = []
    marks: dict[str, list[bytes]] = {}
    for offer in offers:
        key = offer.row[2]
        if offer.mark:
            known = marks.get(key)
            if known is None:
                known = marks[key] = _recent(db, key)
            if offer.mark in known:
                continue
            known.append(offer.mark)
        fresh.append(offer.row)
    if marks and fresh:
        _remember(db, marks)
    return fresh


def _recent(db: apsw.Connection, key: str) -> list[bytes]:
    row = db.execute("SELECT marks FROM recent WHERE key = ?", (key,)).fetchone()
    joined = bytes(row[0]) if row else b""
    return [joined[i : i + MARK_BYTES] for i in range(0, len(joined), MARK_BYTES)]


def _remember(db: apsw.Connection, marks: Mapping[str, list[bytes]]) -> None:
    seq = newest(db)
    rows = [(key, b"".join(known[-RECENT:]), seq) for key, known in marks.items()]
    db.executemany("INSERT INTO recent VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET marks = excluded.marks, seq = excluded.seq", rows)
    if all(len(known) > 1 for known in marks.values()):
        return  # no new key
    count = db.execute("SELECT count(*) FROM recent").fetchone()
    if count and count[0] > MAX_RECENT_KEYS:
        db.execute("DELETE FROM recent WHERE key IN (SELECT key FROM recent ORDER BY seq LIMIT ?)", (MAX_RECENT_KEYS // 10,))


def _hold(db: apsw.Connection, total: int, bound: Bound) -> tuple[int, int]:
    dropped, last = 0, 0
    for seq, at, size in db.execute("SELECT seq, at, length(body) FROM outbox ORDER BY seq"):
        if total <= bound.max_bytes and at >= bound.oldest_s:
            break
        total, last = total - size, seq
        dropped += seq > bound.acknowledged
    if last:
        db.execute("DELETE FROM outbox WHERE seq <= ?", (last,))
    return total, dropped


def settle(db: apsw.Connection, acknowledged: int, cursors: Mapping[str, int], keep_after: int) -> bool:
    """Save the marks and delete a chunk of what everybody has; returns whether there is more to delete."""
    _set(db, "acknowledged", max(acknowledged, _meta(db, "acknowledged")))
    db.executemany("UPDATE cursors SET seq = max(seq, ?) WHERE trigger = ?", [(s, t) for t, s in cursors.items()])
    query = "SELECT count(*), max(seq), total(size) FROM (SELECT seq, length(body) AS size FROM outbox WHERE seq <= ? ORDER BY seq LIMIT ?)"
    count, last, size = db.execute(query, (keep_after, _CHUNK)).fetchone() or (0, None, 0)
    if count:
        db.execute("DELETE FROM outbox WHERE seq <= ?", (last,))
        _set(db, "bytes", _meta(db, "bytes") - int(size))
    return bool(count == _CHUNK)


def register(db: apsw.Connection, trigger: str, seq: int) -> int:
    """Return the Trigger's cursor, which is *seq* when it has none yet."""
    db.execute("INSERT INTO cursors VALUES (?, ?) ON CONFLICT (trigger) DO NOTHING", (trigger, seq))
    row = db.execute("SELECT seq FROM cursors WHERE trigger = ?", (trigger,)).fetchone()
    assert row is not None
    return int(row[0])


def forget(db: apsw.Connection, trigger: str) -> None:
    db.execute("DELETE FROM cursors WHERE trigger = ?", (trigger,))


def read(db: apsw.Connection, after: int, max_events: int, max_bytes: int) -> list[tuple[int, bytes]]:
    """Return events after *after* in order, at least one if there is one."""
    found: list[tuple[int, bytes]] = []
    size = 0
    for seq, body in db.execute("SELECT seq, body FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (after, max_events)):
        size += len(body)
        if found and size > max_bytes:
            break
        found.append((seq, body))
    return found


def read_broker(db: apsw.Connection, broker: str, after: int, last: int, limit: int) -> list[tuple[int, str, bytes]]:
    """Return (number, key, event) of one Broker with after < number <= last."""
    query = "SELECT seq, key, body FROM outbox WHERE seq > ? AND seq <= ? AND broker = ? ORDER BY seq LIMIT ?"
    return [(int(s), str(k), bytes(b)) for s, k, b in db.execute(query, (after, last, broker, limit))]


def oldest(db: apsw.Connection) -> int:
    """Return the oldest number still held, 0 when there is none."""
    row = db.execute("SELECT seq FROM outbox ORDER BY seq LIMIT 1").fetchone()
    return int(row[0]) if row else 0
