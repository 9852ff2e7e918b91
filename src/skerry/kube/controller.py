"""Looks at one key after the other, and again later when that failed: the top of every controller's task.

`reconcile(key)` does all that is to be done for the key now and returns the seconds after which to look again, or None.
It may fail at any point and be called again: what it does must not depend on having been called before.
Many keys at which nothing is to be done, as after a restart, hold the loop for a slice at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from time import perf_counter
from typing import Generic, TypeVar

from skerry.kube.backoff import Backoff
from skerry.kube.queue import RETRY, WorkQueue
from skerry.model.errors import ApiError

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
Reconcile = Callable[[K], Awaitable[float | None]]

SLICE_S = 0.005
"""How long one controller goes on without a turn of the others: at a start twenty of them may have much to look at."""
_RACES = (404, 409)
"""Somebody else was faster: normal, and over at the next look."""


class Controller(Generic[K]):
    """A queue and the workers on it."""

    def __init__(self, name: str, reconcile: Reconcile[K], *, workers: int = 1, backoff: Backoff = RETRY) -> None:
        self.name = name
        self.queue: WorkQueue[K] = WorkQueue(backoff=backoff)
        self._reconcile = reconcile
        self._workers = workers

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            self.queue.close()

    async def _work(self) -> None:
        until = perf_counter() + SLICE_S
        while True:
            key = await self.queue.get()
            try:
                await self._look_at(key)
            finally:
                self.queue.done(key)
            if perf_counter() > until:
                await asyncio.sleep(0)
                until = perf_counter() + SLICE_S

    async def _look_at(self, key: K) -> None:
        try:
            again_s = await self._reconcile(key)
        except ApiError as error:
            again_s = self.queue.retry(key)
            level = logging.DEBUG if error.code in _RACES and self.queue.failures(key) < 5 else logging.WARNING
            log.log(level, "reconcile refused", extra=self._facts(key, error.message, again_s))
        except (ConnectionError, TimeoutError) as error:
            again_s = self.queue.retry(key)
            log.info("reconcile lost its connection", extra=self._facts(key, str(error), again_s))
        except Exception as error:
            again_s = self.queue.retry(key)
            log.exception("reconcile failed", extra=self._facts(key, repr(error), again_s))
        else:
            self.queue.forget(key)
            if again_s is not None:
                self.queue.add_after(key, again_s)

    def _facts(self, key: K, error: str, again_s: float) -> dict[str, object]:
        return {"controller": self.name, "key": str(key), "error": error, "again_s": round(again_s, 2)}
