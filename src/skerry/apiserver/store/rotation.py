"""A new key for what is sealed: everything new is sealed with it, every old row is rewritten, then the old keys go.

What stays true at every step, also when the process is killed there: the ring holds each key that may have sealed a row, and the file
names each of them. A rotation that was cut short goes on at the next start. Rows are rewritten a few at a time between the writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import apsw
import msgspec

from skerry.apiserver.store.keyring import new_key
from skerry.apiserver.store.opening import note_key
from skerry.apiserver.store.records import Key
from skerry.apiserver.store.vault import SEALED_RESOURCES, RingVault, sealed_with
from skerry.durable import Writer, failpoints

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 64
_RESOURCES = ",".join(f"'{resource}'" for resource in sorted(SEALED_RESOURCES))
_ID = "substr(value, 2, 4)"


class KeyUse(msgspec.Struct, frozen=True):
    """One key of the ring: whether it seals what is written now, and how many rows it sealed."""

    id: str
    made: str
    primary: bool
    rows: int


class Rotation:
    """Rotates the keys of one open store; *settled* returns once every write that waits now is on the disk or refused."""

    def __init__(self, writer: Writer, vault: RingVault, settled: Callable[[], Awaitable[None]]) -> None:
        self._writer = writer
        self._vault = vault
        self._settled = settled
        self._turn = asyncio.Lock()

    @property
    def running(self) -> bool:
        return self._turn.locked()

    @property
    def unfinished(self) -> bool:
        """Whether old keys are still there."""
        return len(self._vault.ring.keys) > 1

    async def keys(self) -> list[KeyUse]:
        """Return every key with its use, the primary first."""
        rows = await self._writer.read(_rows_by_key)
        ring = self._vault.ring
        return [KeyUse(k.id.hex(), k.made, k is ring.primary, rows.get(k.id, 0)) for k in ring.keys]

    async def rotate(self, made: str) -> int:
        """Make a new primary key and rewrite all rows with it; returns how many."""
        async with self._turn:
            key = new_key(made)
            ring = self._vault.ring.with_primary(key)
            await asyncio.to_thread(self._vault.save, ring)
            failpoints.reach("rotation.key_saved")
            await self._writer.write(lambda db: note_key(db, key.id))
            failpoints.reach("rotation.key_noted")
            self._vault.use(ring)
            return await self._finish()

    async def resume(self) -> int:
        """Go on with a rotation that was cut short."""
        async with self._turn:
            return await self._finish() if self.unfinished else 0

    async def _finish(self) -> int:
        primary = self._vault.ring.primary.id
        await self._settled()  # what was sealed with the old key and waited
        rewritten, after = 0, 0
        while stale := await self._writer.read(lambda db, after=after: _stale(db, primary, after)):  # type: ignore[misc]
            after = stale[-1]
            rewritten += await self._writer.write(lambda db, stale=stale: _rewrite(db, stale, self._vault))  # type: ignore[misc]
            failpoints.reach("rotation.rows_rewritten")
        if left := await self._writer.read(lambda db: _stale(db, primary, 0)):
            raise RuntimeError(f"{len(left)} rows and more are still sealed with an old key, the first at revision {left[0]}")
        await self._writer.write(lambda db: _retire(db, primary))
        failpoints.reach("rotation.keys_retired")
        ring = self._vault.ring.only(set())
        await asyncio.to_thread(self._vault.save, ring)
        self._vault.use(ring)
        failpoints.reach("rotation.ring_trimmed")
        log.info("secrets sealed anew", extra={"key": primary.hex(), "rows": rewritten})
        return rewritten


def _rows_by_key(db: apsw.Connection) -> dict[bytes, int]:
    query = f"SELECT {_ID}, count(*) FROM revisions WHERE resource IN ({_RESOURCES}) GROUP BY 1"  # noqa: S608 - our own names
    return {bytes(id_): int(rows) for id_, rows in db.execute(query)}


def _stale(db: apsw.Connection, primary: bytes, after: int) -> list[int]:
    """Return the next revisions above *after* that another key sealed."""
    query = f"SELECT revision FROM revisions WHERE revision > ? AND resource IN ({_RESOURCES}) AND {_ID} <> ? \
ORDER BY revision LIMIT {ROWS_AT_ONCE}"  # noqa: S608 - our own names
    return [int(row[0]) for row in db.execute(query, (after, primary))]


def _rewrite(db: apsw.Connection, revisions: Sequence[int], vault: RingVault) -> int:
    """Seal these rows with the primary key; those that are gone meanwhile need nothing."""
    failpoints.reach("rotation.before_rewrite")
    primary, count = vault.ring.primary.id, 0
    for revision in revisions:
        row = db.execute("SELECT resource, namespace, name, value FROM revisions WHERE revision = ?", (revision,)).fetchone()
        if row is None or sealed_with(row[3]) == primary:
            continue
        key = Key(*row[:3])
        db.execute("UPDATE revisions SET value = ? WHERE revision = ?", (vault.seal(key, vault.unseal(key, row[3])), revision))
        count += 1
    return count


def _retire(db: apsw.Connection, primary: bytes) -> None:
    """Say that no row needs another key any more."""
    failpoints.reach("rotation.before_retire")
    db.execute("DELETE FROM sealing WHERE id <> ?", (primary,))
