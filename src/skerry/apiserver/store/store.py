"""The API's objects: written to the disk first, then seen by everybody.

What must stay true: a write returns after its fsync; readers and watchers see only what is committed, in order of revision;
a revision is given out once. Checks run on the loop against what is committed and what waits, so that two writers of one
object cannot both succeed. When a commit is lost, everything that waits is refused: it may have built on what was lost.
Loop thread only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import apsw

from skerry.apiserver.store.errors import ConflictError, ExistsError, MissingError
from skerry.apiserver.store.history import History
from skerry.apiserver.store.opening import note_key, rebuild_for
from skerry.apiserver.store.pending import ADDED, DELETED, MODIFIED, Pending, Queue
from skerry.apiserver.store.records import Change, ChangeType, Key, Record, Snapshot
from skerry.apiserver.store.rotation import Rotation
from skerry.apiserver.store.rows import MIGRATIONS, TYPES, Indexer, Loaded, compact, insert, load
from skerry.apiserver.store.scrub import Scrub
from skerry.apiserver.store.shelf import Shelf
from skerry.apiserver.store.vault import Open, RingVault, Vault
from skerry.apiserver.store.watcher import Audience, Only, Watcher
from skerry.durable import Result, Space, StoreClosedError, StoreError, StoreFailedError, StoreFullError, Writer, failpoints

log = logging.getLogger(__name__)

Encode = Callable[[int], bytes]
Subscriber = Callable[[list[Change]], None]


class Foreseer(Protocol):
    """Who counts what will be: every write as soon as it waits for its commit, in order; loop thread, and it must not raise."""

    def staged(self, change: ChangeType, record: Record) -> None:
        """The next write will find *record* so (DELETED: no longer)."""
        ...

    def dropped(self) -> None:
        """What was staged since the last commit is lost: count anew from what is committed."""
        ...


HISTORY_CHANGES = 10_000  # of each resource
HISTORY_BYTES = 16 << 20  # of all together: what only the history still holds
VALUE_BYTES = 8 << 20
GARBAGE_ROWS = 256  # rows deleted in one transaction
_SETTLING_S = 0.005
_BEING_DELETED = b'"deletionTimestamp":'


class Store:
    """All objects of one API server, in one file; `open` makes one."""

    def __init__(self, writer: Writer, loaded: Loaded, *, index: Indexer, vault: Vault, vfs: str | None = None) -> None:
        self._writer = writer
        self._index = index
        self._seal = vault.seal
        self.rotation = Rotation(writer, vault, self.settled) if isinstance(vault, RingVault) else None
        self.scrub = Scrub(writer, vault, live=self._live, is_live=lambda r: self.get(r.key) is r, vfs=vfs)
        self._epoch = loaded.epoch
        self._identity = loaded.identity
        self._revision = self._allocated = loaded.revision
        self._shelves = loaded.shelves
        self._history: History = loaded.history
        self._queue = Queue()
        self._space = Space(writer.path)
        self._compacting = False
        self._subscribers: list[Subscriber] = []
        self._foreseers: tuple[Foreseer, ...] = ()
        self._watchers: dict[str, Audience] = {}
        self._committed = lambda: self._revision  # one for all watches
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        index: Indexer,
        vault: Vault | None = None,
        history: int = HISTORY_CHANGES,
        history_bytes: int = HISTORY_BYTES,
        vfs: str | None = None,
    ) -> Store:
        """Open the file at *path* and load it whole.

        *index* gives the labels and field labels of a value. *vault* seals what is secret on its way to the disk, and opens it again;
        without one everything is kept plain. *history* is how many changes of a resource a watch can go back.
        """
        vault = vault or Open()
        writer = await Writer.open(path, MIGRATIONS, vfs=vfs, rebuild=rebuild_for(vault))
        try:
            loaded = await writer.read(lambda db: load(db, index=index, vault=vault, limit=history, limit_bytes=history_bytes))
            if isinstance(vault, RingVault):
                primary = vault.ring.primary.id
                await writer.write(lambda db: note_key(db, primary))
        except BaseException:
            await writer.close()
            raise
        store = cls(writer, loaded, index=index, vault=vault, vfs=vfs)
        store._compact_when_due()
        return store

    @property
    def path(self) -> Path:
        return self._writer.path

    @property
    def revision(self) -> int:
        """The newest committed revision; 0 when nothing was ever written."""
        return self._revision

    @property
    def epoch(self) -> str:
        """Names this history of revisions: another one after a backup was restored."""
        return self._epoch

    @property
    def identity(self) -> str:
        """Names this store for good; a restored backup keeps it."""
        return self._identity

    @property
    def failed(self) -> StoreFailedError | None:
        """Why no write is taken any more, or None."""
        return self._writer.failed

    async def wait_failed(self) -> StoreFailedError:
        """Return when the store takes no writes any more: the hub then best ends, and is started again."""
        return await self._writer.wait_failed()

    def get(self, key: Key) -> Record | None:
        """Return the committed object, or None."""
        shelf = self._shelves.get(key.resource)
        return None if shelf is None else shelf.get(key)

    def list(self, resource: str, namespace: str = "") -> Snapshot:
        """Return the committed objects of *resource*, of all namespaces or of one."""
        shelf = self._shelves.get(resource)
        return Snapshot(() if shelf is None else shelf.records(namespace), self._revision)

    def list_at(self, resource: str, namespace: str, revision: int) -> Snapshot:
        """Return the list as it was at *revision*; TooOldError when that is forgotten, ValueError when it is not there yet."""
        if revision > self._revision:
            raise ValueError(f"revision {revision} of {resource} is not there yet, the newest is {self._revision}")
        ring = self._history.ring(resource)
        if not ring.after(revision, limit=1):
            return Snapshot(self.list(resource, namespace).records, revision)
        state = ring.undo(self._shelves.get(resource) or Shelf(), revision)
        return Snapshot(tuple(state[where] for where in sorted(state) if namespace in ("", where[0])), revision)

    async def create(self, key: Key, encode: Encode) -> Record:
        """Store a new object, whose bytes *encode* makes for the revision it gets; ExistsError."""
        if self._newest(key) is not None:
            raise ExistsError(key)
        return await self._stage(key, ADDED, encode)

    async def update(self, key: Key, encode: Encode, *, expected: int) -> Record:
        """Replace the object that was read at revision *expected*; MissingError or ConflictError."""
        self._require(key, expected)
        return await self._stage(key, MODIFIED, encode)

    async def delete(self, key: Key, encode: Encode, *, expected: int, marked: bool = False) -> Record:
        """Remove the object that was read at revision *expected*; *encode* makes its final bytes. MissingError or ConflictError.

        With *marked* its final bytes are stored first, in the same transaction: watchers see a change, then the end.
        """
        self._require(key, expected)
        self._require_open()
        if marked:
            self._put(key, MODIFIED, encode).cancel()  # nobody waits for it
        future = self._put(key, DELETED, encode)
        self._commit_soon()
        return await future

    def watch(self, resource: str, namespace: str = "", *, after: int, only: Only | None = None) -> Watcher:
        """Watch changes strictly above revision *after*, perhaps *only* some; TooOldError when some are forgotten. Close it when done."""
        audience = self._watchers.get(resource)
        if audience is None:
            audience = self._watchers[resource] = Audience()
        ring = self._history.ring(resource)
        watcher = Watcher(ring, namespace, after, only=only, committed=self._committed, closed=audience.remove)
        audience.add(watcher)
        return watcher

    def begin(self, resource: str) -> None:
        """Say that *resource* is new: a watch from before now is one of another time, unless something of it is still held."""
        self._history.ring(resource).begin(self._revision)

    def end_watches(self, resource: str) -> None:
        """End the watches of *resource*, whose objects are shown otherwise from now on, or no more: who asks again resumes."""
        for watcher in list(self._watchers.get(resource, ())):
            watcher.close()

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call *callback* with each batch of changes right after its commit, on the loop; returns what ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def foresee(self, foreseer: Foreseer) -> None:
        """Tell *foreseer* of every write from now on, before its commit."""
        self._foreseers = (*self._foreseers, foreseer)

    def waiting(self) -> Sequence[tuple[ChangeType, Record]]:
        """Return what waits for its commit: the newest write of each object."""
        return [(TYPES[pending.kind], pending.record) for pending in self._queue.newest_of_all()]

    def reindex(self, resource: str) -> None:
        """Ask `index` again about everything of *resource*, as when it has learnt of more fields. Costs a decoding each."""
        for record in {id(r): r for r in (*self.list(resource).records, *self._history.ring(resource).records())}.values():
            record.take_index(self._index(record.key, record.value))

    async def settled(self) -> None:
        """Return once every write that waits now is on the disk, or refused."""
        newest = self._allocated
        while (oldest := self._queue.oldest()) is not None and oldest <= newest:  # noqa: ASYNC110 - rare: no write pays for an event
            await asyncio.sleep(_SETTLING_S)

    async def close(self) -> None:
        """Finish what waits, end the watches, let the file go."""
        self._closing = True
        await self._idle.wait()
        for watcher in [w for watchers in self._watchers.values() for w in watchers]:
            watcher.close()
        await self._writer.close()

    def _live(self) -> Iterator[Record]:
        for shelf in self._shelves.values():
            yield from shelf.records()

    # Writing: stage on the loop, commit in the writer's thread, publish on the loop.

    def _newest(self, key: Key) -> Record | None:
        """Return the object as the next write will find it."""
        pending = self._queue.newest(key)
        if pending is None:
            return self.get(key)
        return None if pending.kind == DELETED else pending.record

    def _require(self, key: Key, expected: int) -> None:
        newest = self._newest(key)
        if newest is None:
            raise MissingError(key)
        if newest.revision != expected:
            raise ConflictError(key, expected=expected, actual=newest.revision)

    def _stage(self, key: Key, kind: int, encode: Encode) -> asyncio.Future[Record]:
        """Give the write its revision and its bytes, and let it wait for the next transaction."""
        self._require_open()
        future = self._put(key, kind, encode)
        self._commit_soon()
        return future

    def _put(self, key: Key, kind: int, encode: Encode) -> asyncio.Future[Record]:
        """Let the write wait for the next transaction, without asking for one."""
        revision = self._allocated + 1
        value = encode(revision)
        if len(value) > VALUE_BYTES:
            raise ValueError(f"{key} is {len(value)} bytes, the limit is {VALUE_BYTES}")
        if kind != DELETED:
            self._require_space(value)
        record = Record.indexed(key, revision, value, self._index(key, value))
        pending = Pending(record, kind, self._seal(key, value), asyncio.get_running_loop().create_future())
        self._allocated = revision
        self._queue.add(pending)
        for foreseer in self._foreseers:
            foreseer.staged(TYPES[kind], record)
        return pending.future

    def _require_space(self, value: bytes) -> None:
        """Refuse what makes the file grow on a full disk; an object that is being deleted is on its way to free some."""
        try:
            self._space.require(len(value))
        except StoreFullError:
            if _BEING_DELETED not in value:
                raise

    def _require_open(self) -> None:
        failed = self._writer.failed
        if failed is not None:
            raise StoreFailedError(failed.path, failed.cause)
        if self._closing:
            raise StoreClosedError(self.path)
        self._queue.require_room()

    def _commit_soon(self) -> None:
        """Send what waits to the disk in the loop's next turn, unless a transaction is on its way: then the next one takes it."""
        if self._idle.is_set():
            self._idle.clear()
            self._commit_next_turn()

    def _commit_next_turn(self) -> None:
        """Let everybody else have a turn first: what they write goes into the same transaction, and that costs as much as a write does."""
        asyncio.get_running_loop().call_soon(self._commit)

    def _commit(self) -> None:
        """Send what waits to the disk; nothing is on its way."""
        batch = self._queue.next_batch()
        if not batch:
            self._idle.set()
            return
        rows = [pending.row() for pending in batch]
        try:
            self._writer.submit(lambda db: insert(db, rows), self._settle)
        except StoreError as error:  # failed meanwhile
            self._settle(Result(error=error))

    def _settle(self, result: Result[None]) -> None:
        """Publish what was committed, or refuse it and everything that may have built on it."""
        failpoints.reach("store.before_publish")
        if result.error is None:
            self._publish(self._queue.land())
        else:
            for pending in self._queue.drop():
                pending.refuse(result.error)
            for foreseer in self._foreseers:
                foreseer.dropped()
        self._commit_next_turn()
        self._compact_when_due()

    def _publish(self, batch: Sequence[Pending]) -> None:
        changes = [self._apply(pending) for pending in batch]
        self._revision = batch[-1].record.revision
        for callback in tuple(self._subscribers):
            try:
                callback(changes)
            except Exception:
                log.exception("a subscriber of the store failed")
        for change in changes:
            audience = self._watchers.get(change.record.key.resource)
            if audience is not None:
                audience.wake(change)
        for pending in batch:
            pending.resolve()

    def _apply(self, pending: Pending) -> Change:
        record = pending.record
        shelf = self._shelves.get(record.key.resource)
        if shelf is None:
            shelf = self._shelves[record.key.resource] = Shelf()
        previous = shelf.remove(record.key) if pending.kind == DELETED else shelf.put(record)
        change = Change(TYPES[pending.kind], record, previous)
        self._history.append(change)
        return change

    def _compact_when_due(self) -> None:
        """Delete superfluous rows, a few at a time, each time beside or between the writes."""
        if self._compacting or self._closing or len(self._history.garbage) < GARBAGE_ROWS or self._writer.failed is not None:
            return
        rows, floors = self._history.take_garbage(GARBAGE_ROWS)
        self._compacting = True

        def work(db: apsw.Connection) -> None:
            failpoints.reach("store.before_compaction")
            compact(db, rows, floors)
            failpoints.reach("store.after_compaction")

        def done(result: Result[None]) -> None:
            self._compacting = False
            if result.error is not None:
                log.debug("compaction postponed", extra={"rows": len(rows), "cause": repr(result.error)})
                self._history.put_back(rows, floors)
            elif self._idle.is_set():
                self._compact_when_due()

        try:
            self._writer.submit(work, done)
        except StoreError as error:  # failed meanwhile
            done(Result(error=error))
