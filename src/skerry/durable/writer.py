"""A durable file with one writer: all writes that wait are one transaction and one fsync, acknowledged after it.

What must stay true: `done` is called, and `write` returns, only after COMMIT with its fsync; in the order of submission; on
the event loop's thread. The first failed commit latches: everything that waits, and everything later, fails with
StoreFailedError until the file is opened again. A full disk does not latch, since nothing reached the disk. Everything that
waits is bounded. The WAL is bounded as long as no single read outlasts many commits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import apsw

from skerry.durable import checksums, failpoints
from skerry.durable.checkpoints import Checkpoints
from skerry.durable.connection import BUSY_TIMEOUT_MS, open_writer
from skerry.durable.errors import StoreBusyError, StoreClosedError, StoreError, StoreFailedError, StoreFullError
from skerry.durable.group import LATCHING_ERRORS, GroupLostError, Result, Work, run_group
from skerry.durable.lock import HeldLock, hold
from skerry.durable.reader import Reader
from skerry.durable.rebuild import Rebuild

log = logging.getLogger(__name__)

T = TypeVar("T")
Item = tuple[Work[Any], Callable[[Result[Any]], None]]

GROUP_LIMIT = 256  # writes in one transaction: bounds how long the first of them waits
WAITING_LIMIT = 16_384  # writes that may wait
READS_LIMIT = 1_024  # reads that may wait


class Writer:
    """The only writer of one SQLite file; `open` makes one, `close` ends it."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, lock: HeldLock, vfs: str | None, rebuild: Rebuild | None) -> None:
        self.path = path
        self._loop = loop
        self._lock = lock
        self._vfs = vfs
        self._rebuild = rebuild
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._waiting = 0  # loop thread only
        self._reads_waiting = 0
        self._failed: StoreFailedError | None = None
        self._failure = asyncio.Event()
        self._closing = False
        self._ended = loop.create_future()
        self._reader: Reader | None = None

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[str], *, vfs: str | None = None, rebuild: Rebuild | None = None) -> Writer:
        """Open *path* and apply the *migrations* it lacks; their order and text never change, new ones come last.

        With *rebuild* every page of the file has a checksum, and a file of an older kind is copied into one of today's.

        StoreLockedError when another writer has the file, StoreFormatError when it is not ours, damaged or of a later version.
        """
        loop = asyncio.get_running_loop()
        lock = hold(path.with_name(path.name + ".lock"), what=path)
        if vfs is None and rebuild is not None:
            vfs = checksums.vfs()
        writer = cls(path, loop, lock, vfs, rebuild)
        opened: asyncio.Future[None] = loop.create_future()
        threading.Thread(target=writer._run, args=(tuple(migrations), opened), name=f"durable {path.name}", daemon=True).start()
        try:
            await asyncio.shield(opened)
        except asyncio.CancelledError:
            opened.add_done_callback(lambda done: done.cancelled() or done.exception())
            await writer.close()
            raise
        return writer

    @property
    def failed(self) -> StoreFailedError | None:
        """Why no write is taken any more, or None."""
        return self._failed

    async def wait_failed(self) -> StoreFailedError:
        """Return when the file latches; its program then best ends, and is started again."""
        await self._failure.wait()
        assert self._failed is not None, "the event follows the failure"
        return self._failed

    def submit(self, work: Work[T], done: Callable[[Result[T]], None]) -> None:
        """Queue *work* for the next group; *done* is called on the loop once it is on the disk, or is not.

        The work runs in the writer's thread inside a transaction it shares with others: it must not begin, commit or roll back, and
        returns values, never cursors. StoreFailedError, StoreClosedError or StoreBusyError at once when it cannot be queued.
        """
        if self._failed is not None:
            raise StoreFailedError(self.path, self._failed.cause)
        if self._closing:
            raise StoreClosedError(self.path)
        if self._waiting >= WAITING_LIMIT:
            raise StoreBusyError(f"{WAITING_LIMIT} writes wait for {self.path} already: try again later")
        self._waiting += 1
        self._queue.put((work, done))

    async def write(self, work: Work[T]) -> T:
        """Run *work* as `submit` does and return its value after the fsync; a cancelled caller's write may still happen."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: Result[T]) -> None:
            if future.done():
                return
            if result.error is not None:
                future.set_exception(result.error)
            else:
                future.set_result(result.get())

        self.submit(work, done)
        return await future

    async def read(self, work: Work[T]) -> T:
        """Run *work* on a second, read-only connection, in a thread of its own, on one snapshot of what is committed."""
        if self._closing:
            raise StoreClosedError(self.path)
        if self._reads_waiting >= READS_LIMIT:
            raise StoreBusyError(f"{READS_LIMIT} reads wait for {self.path} already: try again later")
        if self._reader is None:
            self._reader = Reader(self.path, self._vfs)
        self._reads_waiting += 1
        try:
            return await self._loop.run_in_executor(self._reader.executor, self._reader.run, work)
        finally:
            self._reads_waiting -= 1

    async def close(self) -> None:
        """Finish what waits, then let the file go. Never raises; a second call waits for the first."""
        if not self._closing:
            self._closing = True
            if self._reader is not None:  # first, so that the writer is the last and leaves no WAL behind
                await asyncio.shield(self._loop.run_in_executor(self._reader.executor, self._reader.close))
                self._reader.executor.shutdown(wait=False)
            self._queue.put(None)
        await asyncio.shield(self._ended)
        self._lock.release()

    # Everything below runs in the writer's thread, except what is handed to the loop.

    def _run(self, migrations: Sequence[str], opened: asyncio.Future[None]) -> None:
        try:
            db = open_writer(self.path, migrations, vfs=self._vfs, rebuild=self._rebuild)
        except Exception as error:
            translated = error if isinstance(error, StoreError) else StoreFailedError(self.path, error)
            self._closing = True
            self._lock.release()
            self._on_loop(_settle, opened, translated)
            self._on_loop(_settle, self._ended, None)
            return
        self._on_loop(_settle, opened, None)
        checkpoints = Checkpoints(db, busy_timeout_ms=BUSY_TIMEOUT_MS)
        while items := self._next_group():
            self._commit(db, items)
            if self._failed is None:
                self._checkpoint(checkpoints)
        self._close(db)

    def _next_group(self) -> list[Item]:
        """Return all that waits, at least one and at most GROUP_LIMIT; nothing after `close`."""
        item = self._queue.get()
        items: list[Item] = []
        while item is not None:
            items.append(item)
            if len(items) >= GROUP_LIMIT:
                return items
            try:
                item = self._queue.get_nowait()
            except Empty:
                return items
        if items:
            self._queue.put(None)  # the end comes after what waited before it
        return items

    def _commit(self, db: apsw.Connection, items: Sequence[Item]) -> None:
        lost: StoreError | None = self._failed
        if lost is None:
            try:
                results = run_group(db, [work for work, _ in items])
            except GroupLostError as error:
                lost = self._lost(error.cause)
            except Exception as error:  # a fault of ours: nobody may wait for ever because of it
                lost = self._latch(error)
        if lost is not None:
            results = [Result(error=lost)] * len(items)
        failpoints.reach("durable.before_acknowledge")
        self._on_loop(self._deliver, [(done, result) for (_, done), result in zip(items, results, strict=True)])

    def _lost(self, cause: Exception) -> StoreError:
        """Translate why a group was lost, and latch unless the disk is known to hold what it held before."""
        if not isinstance(cause, apsw.FullError | apsw.BusyError):
            return self._latch(cause)
        if isinstance(cause, apsw.FullError):
            return StoreFullError(self.path, cause)
        return StoreBusyError(f"{self.path} is held by another program ({cause}): try again later")

    def _latch(self, cause: Exception) -> StoreFailedError:
        self._failed = StoreFailedError(self.path, cause)
        log.error("durable file failed", extra={"path": str(self.path), "cause": repr(cause)})
        self._on_loop(self._failure.set)
        return self._failed

    def _checkpoint(self, checkpoints: Checkpoints) -> None:
        try:
            checkpoints.run_when_due()
        except LATCHING_ERRORS as error:
            self._latch(error)
        except apsw.Error as error:  # full or busy: the WAL keeps the data, a later round tries again
            if not checkpoints.late:
                log.warning("checkpoint postponed", extra={"path": str(self.path), "cause": repr(error)})
            checkpoints.late = True

    def _close(self, db: apsw.Connection) -> None:
        try:
            if self._failed is not None:
                db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # the WAL is what the next opening recovers from
            db.close()
        except apsw.Error as error:
            log.warning("durable file did not close cleanly", extra={"path": str(self.path), "cause": repr(error)})
        self._on_loop(_settle, self._ended, None)

    def _on_loop(self, call: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            log.debug("durable file outlived its loop", extra={"path": str(self.path)})

    def _deliver(self, settled: Sequence[tuple[Callable[[Result[Any]], None], Result[Any]]]) -> None:
        self._waiting -= len(settled)
        for done, result in settled:
            try:
                done(result)
            except Exception:
                log.exception("a durable write's answer was not taken", extra={"path": str(self.path)})


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
