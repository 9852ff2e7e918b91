"""Work on large objects, beside the loop: one request in a thousand costs a thousand times as much as the others, and they go on.

What runs here is pure: it reads a request's own objects, and what nobody alters once it is there. Whatever has to be one step with
the store (look-ups, what is counted, the write itself) stays on the loop; what was read before is compared there (`update`) or asked
again (`create`). Who waits for somebody outside (a webhook) has neither place nor turn meanwhile: whoever is asked may need one to answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from skerry.model.errors import ApiError, too_many_requests

LARGE = 64 << 10
"""Bytes of a body or of an object from which on it is worked on beside the loop; shorter ones hold fewer values than take 50 ms."""
DENSE = 8
"""How many times as long a byte of YAML or protobuf takes as one of JSON: Python reads those itself."""
AT_ONCE = 4
"""Large requests that have their objects in memory at the same time."""
MAX_WAITING = 64
"""Large requests that wait for that, body in hand; more are told to come back."""
MAX_OUTSIDE = 16
"""Large requests that wait for somebody outside, objects in memory; more are told to come back."""

P = ParamSpec("P")
T = TypeVar("T")


class Place:
    """What one large request holds: one of the few places, and perhaps the turn at one object."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._held = True
        self._turn: asyncio.Lock | None = None

    @asynccontextmanager
    async def turn(self, turn: asyncio.Lock) -> AsyncIterator[None]:
        """Hold a turn, until somebody outside is waited for: two who change one object at once are compared by revision, too."""
        await turn.acquire()
        self._turn = turn
        try:
            yield
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.release()

    @asynccontextmanager
    async def left(self) -> AsyncIterator[None]:
        """Be without place and turn, and have a place again at the end; ApiError 429 when too many are."""
        self._places.leave()
        self._held = False
        self._end_turn()
        try:
            yield
        finally:
            await self._places.come_back()
            self._held = True

    def end(self) -> None:
        """Give place and turn back for good."""
        self._end_turn()
        if self._held:
            self._held = False
            self._places.release()


class Places(asyncio.Semaphore):
    """The places, and how many of those who had one wait for somebody outside."""

    def __init__(self) -> None:
        super().__init__(AT_ONCE)
        self.outside = 0

    def leave(self) -> None:
        """Give up a place until `come_back`; ApiError 429 when too many have."""
        if self.outside >= MAX_OUTSIDE:
            raise _too_many(MAX_OUTSIDE, "wait for webhooks")
        self.outside += 1
        self.release()

    async def come_back(self) -> None:
        try:
            await self.acquire()
        finally:
            self.outside -= 1


def _too_many(limit: int, doing: str) -> ApiError:
    what = f"{limit} requests of more than {LARGE} bytes, or for such objects, {doing} already: try again"
    return too_many_requests(what, retry_after_s=1)


async def wait_outside(waiting: Awaitable[T], place: Place | None) -> T:
    """Return what somebody outside says; who has a place is without it meanwhile."""
    if place is None:
        return await waiting
    try:
        async with place.left():
            return await waiting
    finally:
        if asyncio.iscoroutine(waiting):
            waiting.close()  # does nothing to one that has ended


class Beside:
    """One thread, since Python runs one at a time anyhow: the loop gets its turn every few milliseconds."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._places = Places()
        self._waiting = 0
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *work* returns, or raise what it raises."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "large objects")
        return await asyncio.wrap_future(self._thread.submit(work, *args, **kwargs))

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """Hold one of the few places for large requests; ApiError 429 when too many wait for one."""
        if self._waiting >= MAX_WAITING:
            raise _too_many(MAX_WAITING, "wait")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        place = Place(self._places)
        try:
            yield place
        finally:
            place.end()

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
