"""The node's memory: one SQLite file with everything the node was told, written before the node acts on it.

The file is 0600 and holds Secrets as they came; encryption with a key sealed in the TPM comes with the TPM. Who steals
the disk of a node without disk encryption reads the Secrets of the Pods that are bound to it, and no others: what is dropped is wiped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import apsw
import msgspec

from skerry.durable import StoreFailedError, StoreFormatError, StoreFullError, Writer
from skerry.kube.api import Origin
from skerry.model.objects import Name, Object
from skerry.model.unreadable import NOT_JSON
from skerry.node.memory.rule import Changes, Position, after_relapses

log = logging.getLogger(__name__)

MIGRATIONS = (
    """
    CREATE TABLE mirrors (
        mirror TEXT NOT NULL PRIMARY KEY, cluster TEXT NOT NULL, epoch TEXT NOT NULL, revision INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE objects (
        mirror TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (mirror, namespace, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE facts (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """,
)


DAMAGE = (apsw.NotADBError, apsw.CorruptError, *NOT_JSON)


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is wrong, and not the disk that it lies on."""
    cause = error.cause if isinstance(error, StoreFailedError) else error.__cause__ if isinstance(error, StoreFormatError) else error
    return isinstance(cause, DAMAGE)


async def _opened(path: Path) -> Writer:
    """Open the file so that what is dropped is overwritten: a Secret must not outlive its Pod in a free page."""
    writer = await Writer.open(path, MIGRATIONS)
    try:
        await writer.write(lambda db: db.pragma("secure_delete", True))
    except BaseException:
        await writer.close()
        raise
    return writer


class Memory:
    """What is remembered of all mirrors. Reads come from RAM; a write returns once it is on the disk."""

    def __init__(self, writer: Writer, state: Path) -> None:
        self._writer = writer
        self._state = state
        self._objects: dict[str, dict[Name, Object]] = {}
        self._positions: dict[str, Position] = {}
        self._facts: dict[str, str] = {}
        self._opening = asyncio.Lock()
        self.damaged = ""
        """Where the file of an earlier life was put that could not be read; "" when all was well."""
        self.unwritable = ""
        """Why the disk took no writes when the file was opened, so that a copy in RAM is used; "" when all is well."""

    @classmethod
    async def open(cls, state: Path, *, spare: Path | None = None) -> Memory:
        """Open `memory.sqlite` in the state folder and read all of it.

        A damaged file is put aside and a new one begun: what runs goes on, since only a list of the hub could end it. When the disk
        takes no writes (full, read-only), a copy in *spare*, a folder in RAM, is used until the node starts again.
        """
        path = state / "memory.sqlite"
        try:
            return await cls._read(path, state)
        except (StoreFormatError, StoreFullError, apsw.Error, StoreFailedError, *NOT_JSON, OSError) as error:
            if isinstance(error, StoreFormatError) and not isinstance(error.__cause__, DAMAGE):
                raise  # another program's, or a later version's: a person has to look
            if not _is_damage(error):
                if spare is None:
                    raise
                return await cls._open_copy(path, state, spare, error)
            aside = path.with_name(f"memory.sqlite.damaged-{time.time_ns()}")
            log.error("the node's memory is damaged and was put aside", extra={"file": str(aside), "error": str(error)})
            path.rename(aside)
            for rest in ("-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
        memory = await cls._read(path, state)
        memory.damaged = str(aside)
        return memory

    @classmethod
    async def _open_copy(cls, path: Path, state: Path, spare: Path, error: Exception) -> Memory:
        """Read a copy of the file and its log in RAM; the disk's own stays as it is."""
        import shutil

        log.error("the disk takes no writes: what the node is told is kept in RAM", extra={"file": str(path), "error": str(error)})
        shutil.rmtree(folder := spare / ".memory", ignore_errors=True)  # what has no dot there belongs to Pods
        folder.mkdir(mode=0o700)
        for name in (path.name, path.name + "-wal"):
            if path.with_name(name).exists():
                shutil.copyfile(path.with_name(name), folder / name)
                (folder / name).chmod(0o600)
        memory = await cls._read(folder / path.name, state)
        memory.unwritable = str(error)
        return memory

    @classmethod
    async def _read(cls, path: Path, state: Path) -> Memory:
        memory = cls(await _opened(path), state)
        try:
            await memory._load()
        except BaseException:
            await memory.close()
            raise
        return memory

    async def _load(self) -> None:
        def rows(db: apsw.Connection) -> tuple[list[tuple[object, ...]], ...]:
            return (
                list(db.execute("SELECT mirror, cluster, epoch, revision FROM mirrors")),
                list(db.execute("SELECT mirror, namespace, name, data FROM objects")),
                list(db.execute("SELECT key, value FROM facts")),
            )

        mirrors, objects, facts = await self._writer.write(rows)
        for mirror, cluster, epoch, revision in mirrors:
            self._positions[str(mirror)] = Position(Origin(str(cluster), str(epoch)), int(str(revision)))
        for mirror, namespace, name, data in objects:
            assert isinstance(data, bytes)
            self._objects.setdefault(str(mirror), {})[Name(str(namespace), str(name))] = msgspec.json.decode(data)
        self._facts = {str(k): str(v) for k, v in facts}

    async def close(self) -> None:
        await self._writer.close()

    @property
    def trouble(self) -> str:
        """What is wrong with the file, "" when all is well."""
        if self._writer.failed is not None:
            return f"nothing new is remembered until the disk takes writes again: {self._writer.failed}"
        if self.unwritable:
            return f"the disk took no writes, so what is told since the start is kept in RAM until the next: {self.unwritable}"
        return f"it could not be read and was put aside as {self.damaged}" if self.damaged else ""

    async def _write(self, work: Callable[[apsw.Connection], None]) -> None:
        """Run *work* on the disk; a file that failed before is opened again first, which syncs what it holds.

        What a failed write may have left on the disk is what the hub said: whoever wrote it writes it again.
        """
        async with self._opening:
            if self._writer.failed is not None:
                path = self._writer.path
                await self._writer.close()
                self._writer = await _opened(path)
                log.info("the node's memory takes writes again", extra={"file": str(path)})
        await self._writer.write(work)

    # ------------------------------------------------------------ the cluster

    @property
    def joined(self) -> Origin:
        """The cluster and epoch that this node believes; empty before the first list."""
        epoch = self._accepted_epoch() or self._facts.get("epoch", "")
        return Origin(self._facts.get("cluster", ""), epoch)

    def _accepted_epoch(self) -> str:
        """A person accepts the epoch of a restored hub with `skerry node accept-epoch`, which writes this file."""
        try:
            return (self._state / "accepted-epoch").read_text().strip()
        except OSError:
            return ""

    def named(self, origin: Origin) -> Origin:
        """Return what this node calls an answer's origin: an epoch of its own for each time that the hub went back."""
        return after_relapses(origin, int(self._facts.get(f"relapses of {origin.epoch}", "0")))

    async def relapsed(self, origin: Origin) -> None:
        """The hub went back within its epoch: believe it no more than another epoch, until a person accepts it."""
        key = f"relapses of {origin.epoch}"
        await self.remember(key, str(int(self._facts.get(key, "0")) + 1))

    async def join(self, origin: Origin) -> None:
        """Remember the first cluster that answered; a later one is never put in its place."""
        if self._facts.get("cluster"):
            return
        await self.remember("cluster", origin.cluster)
        await self.remember("epoch", origin.epoch)

    async def remember(self, key: str, value: str) -> None:
        """Keep one fact of the node's own."""

        def work(db: apsw.Connection) -> None:
            db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value))

        await self._write(work)
        self._facts[key] = value

    def fact(self, key: str) -> str:
        return self._facts.get(key, "")

    def facts(self, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*."""
        return [k for k in self._facts if k.startswith(prefix)]

    async def forget_fact(self, key: str) -> None:
        """Drop one fact of the node's own."""

        def work(db: apsw.Connection) -> None:
            db.execute("DELETE FROM facts WHERE key = ?", (key,))

        await self._write(work)
        self._facts.pop(key, None)

    # ------------------------------------------------------------ mirrors

    def mirrors(self) -> Iterable[str]:
        return tuple(self._positions)

    def objects(self, mirror: str) -> dict[Name, Object]:
        """Return the copy itself: only `apply` changes it."""
        return self._objects.setdefault(mirror, {})

    def position(self, mirror: str) -> Position:
        return self._positions.get(mirror, Position())

    def advance(self, mirror: str, position: Position) -> None:
        """Move on without a write: the next change brings it to the disk (a card has only so many writes)."""
        self._positions[mirror] = position

    async def apply(self, mirror: str, changes: Changes, position: Position) -> None:
        """Change the copy: on disk first, then in RAM."""

        def work(db: apsw.Connection) -> None:
            db.executemany(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
                [(mirror, n.namespace, n.name, msgspec.json.encode(o)) for n, o in changes.put.items()],
            )
            db.executemany(
                "DELETE FROM objects WHERE mirror = ? AND namespace = ? AND name = ?",
                [(mirror, n.namespace, n.name) for n in changes.drop],
            )
            origin = position.origin
            db.execute("INSERT OR REPLACE INTO mirrors VALUES (?, ?, ?, ?)", (mirror, origin.cluster, origin.epoch, position.revision))

        await self._write(work)
        have = self.objects(mirror)
        have.update(changes.put)
        for name in changes.drop:
            have.pop(name, None)
        self._positions[mirror] = position

    async def forget(self, mirror: str) -> None:
        """Drop a mirror and its objects: nothing needs them any more.

        RAM first: whoever needs them again while the disk is still at it finds nothing, and writes all of it behind this.
        """
        self._objects.pop(mirror, None)
        self._positions.pop(mirror, None)

        def work(db: apsw.Connection) -> None:
            db.execute("DELETE FROM objects WHERE mirror = ?", (mirror,))
            db.execute("DELETE FROM mirrors WHERE mirror = ?", (mirror,))

        await self._write(work)
