"""Work on large objects, beside the loop: one request in a thousand costs a thousand times as much as the others, and they go on.

What runs here is pure: it reads a request's own objects, and what nobody alters once it is there. Whatever has to be one step with
the store (look-ups, what is counted, the write itself) stays on the loop; what was read before is compared there (`update`) or asked
again (`create`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from skerry.model.errors import too_many_requests

LARGE = 64 << 10
"""Bytes of a body or of an object from which on it is worked on beside the loop; shorter ones hold fewer values than take 50 ms."""
DENSE = 8
"""How many times as long a byte of YAML or protobuf takes as one of JSON: Python reads those itself."""
AT_ONCE = 4
"""Large requests that have their objects in memory at the same time."""
MAX_WAITING = 64
"""Large requests that wait for that, body in hand; more are told to come back."""

P = ParamSpec("P")
T = TypeVar("T")


class Beside:
    """One thread, since Python runs one at a time anyhow: the loop gets its turn every few milliseconds."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *work* returns, or raise what it raises."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "large objects")
        return await asyncio.wrap_future(self._thread.submit(work, *args, **kwargs))

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the few places for large requests; ApiError 429 when too many wait for one."""
        if self._waiting >= MAX_WAITING:
            what = f"{MAX_WAITING} requests of more than {LARGE} bytes, or for such objects,"
            raise too_many_requests(f"{what} wait already: try again", retry_after_s=1)
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    def turn(self, of: Hashable) -> asyncio.Lock:
        """Return what is held while one large object is changed: of several that change it at once all but one would work in vain."""
        found = self._turns.get(of)
        if found is None:
            found = self._turns[of] = asyncio.Lock()
        return found

    def close(self) -> None:
        """Let the thread end; nothing may be asked of it any more."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = None
