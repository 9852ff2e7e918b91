"""Twins and running numbers on the node's disk (`devices.sqlite`), opened when the first device comes.

What must stay true: a twin that was saved is there after a power cut; what a device said is saved seldom (flash wears out),
what became of a wish at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import apsw
import msgspec

from skerry.durable import Writer
from skerry.model.unreadable import NOT_JSON
from skerry.node.devices.twin import Twin

MIGRATIONS = (
    """
    CREATE TABLE twins (uid TEXT NOT NULL PRIMARY KEY, data BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE numbers (source TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL, own INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE mark (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), stream TEXT NOT NULL, seq INTEGER NOT NULL) STRICT;
    """,
)


class Numbers(msgspec.Struct, frozen=True):
    """The last running number and the last own number (-1: none) of each source, as of *seq* in the outbox *stream*."""

    stream: str = ""
    seq: int = 0
    last: Mapping[str, tuple[int, int]] = msgspec.field(default_factory=dict)


class TwinStore:
    """What outlives a restart of the node's software."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @classmethod
    async def open(cls, path: Path) -> TwinStore:
        return cls(await Writer.open(path, MIGRATIONS))

    async def twins(self) -> dict[str, Twin]:
        """Return all saved twins by UID; one that cannot be read is left out, its device starts anew."""
        rows = await self._writer.read(lambda db: [(str(u), d) for u, d in db.execute("SELECT uid, data FROM twins")])
        found: dict[str, Twin] = {}
        for uid, data in rows:
            try:
                found[uid] = msgspec.json.decode(data, type=Twin)
            except (*NOT_JSON, TypeError):
                continue
        return found

    async def save(self, twins: Iterable[Twin]) -> None:
        rows = [(t.uid, msgspec.json.encode(t)) for t in twins]

        def work(db: apsw.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO twins VALUES (?, ?)", rows)

        if rows:
            await self._writer.write(work)

    async def forget(self, uid: str) -> None:
        await self._writer.write(lambda db: _run(db, "DELETE FROM twins WHERE uid = ?", (uid,)))

    async def numbers(self) -> Numbers:
        def work(db: apsw.Connection) -> Numbers:
            mark = next(iter(db.execute("SELECT stream, seq FROM mark")), ("", 0))
            rows = db.execute("SELECT source, number, own FROM numbers")
            return Numbers(str(mark[0]), int(mark[1]), {str(s): (int(n), int(o)) for s, n, o in rows})

        return await self._writer.read(work)

    async def save_numbers(self, numbers: Numbers) -> None:
        """Save what changed, together with the place in the outbox up to which it is complete."""
        rows = [(source, number, own) for source, (number, own) in numbers.last.items()]

        def work(db: apsw.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)", rows)
            db.execute("INSERT OR REPLACE INTO mark VALUES (1, ?, ?)", (numbers.stream, numbers.seq))

        await self._writer.write(work)

    async def close(self) -> None:
        await self._writer.close()


def _run(db: apsw.Connection, sql: str, values: tuple[str, ...]) -> None:
    db.execute(sql, values)
