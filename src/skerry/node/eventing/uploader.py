"""Sends the outbox to the hub, in order, a few batches at a time, and goes on where the hub says.

What must stay true: the hub's answer is the only thing that moves the mark; after any failure the hub is asked for its mark first; what
is missing from the outbox is declared, never skipped; a batch that the hub refuses is not thrown away unless its event is damaged here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from skerry.durable.failpoints import reach
from skerry.events.log import BatchError, Outbox
from skerry.events.log.batch import MAX_BATCH_EVENTS, digest, encode, encode_dropped, head
from skerry.kube.api import Transport, TransportResponse
from skerry.model.chance import fraction
from skerry.model.unreadable import NOT_JSON

log = logging.getLogger(__name__)

PATH = "/skerry/link/events"
_MAX_ANSWER_BYTES = 64 * 1024
_BOUND = "the outbox reached its bound"
_EARLIER = "an earlier hub acknowledged them"
_DAMAGED = "damaged on the node's disk"


class HubTransport(Transport, Protocol):
    """The node's connection to its hub."""

    async def wait_connected(self) -> None: ...


class UploadSettings(msgspec.Struct, frozen=True):
    """`window`: batches under way at once. `gather_s`: under load, wait this long for a fuller batch."""

    window: int = 3
    max_batch_bytes: int = 1024 * 1024
    gather_s: float = 0.025
    answer_timeout_s: float = 30.0
    retry_s: float = 0.2
    max_retry_s: float = 2.0


class _ResyncError(Exception):
    """The hub has something else than we thought: ask it."""


class _RefusedError(Exception):
    """The hub does not take this batch; the message is the hub's."""


class _Answer(msgspec.Struct):
    acknowledged: int
    digest: str = ""


class _Batch(msgspec.Struct, frozen=True):
    last: int
    body: bytes


class Uploader:
    """One outbox's way to the hub; `run` never ends."""

    def __init__(
        self,
        outbox: Outbox,
        hub: HubTransport,
        *,
        settings: UploadSettings | None = None,
        jitter: Callable[[], float] = fraction,
    ) -> None:
        self._outbox = outbox
        self._hub = hub
        self._settings = settings or UploadSettings()
        self._jitter = jitter
        self._doubtful = False
        self._trouble = ""

    async def run(self) -> None:
        """Upload for ever; trouble is logged once when it begins and once when it ends."""
        failures = 0
        while True:
            await self._hub.wait_connected()
            before = self._outbox.acknowledged
            try:
                await self._session()
            except* _ResyncError:
                log.debug("the hub has another mark")
            except* _RefusedError as error:
                self._doubtful = True
                self._begin_trouble(error.exceptions[0])
            except* (OSError, TimeoutError) as error:
                self._begin_trouble(error.exceptions[0])
            failures = 0 if self._outbox.acknowledged > before else failures + 1
            await asyncio.sleep(self._pause_s(failures))

    def _pause_s(self, failures: int) -> float:
        longest: float = min(self._settings.retry_s * 2.0 ** min(failures, 16), self._settings.max_retry_s)
        return longest * (0.5 + self._jitter() / 2)

    def _begin_trouble(self, error: BaseException) -> None:
        if not self._trouble:
            log.warning("events wait for the hub", extra={"cause": str(error), "acknowledged": self._outbox.acknowledged})
        self._trouble = str(error) or type(error).__name__

    def _end_trouble(self) -> None:
        if self._trouble:
            log.info("events reach the hub again", extra={"acknowledged": self._outbox.acknowledged})
        self._trouble = ""

    async def _session(self) -> None:
        """Agree on the mark, then send until something fails."""
        window = asyncio.Semaphore(self._settings.window)
        under_way: asyncio.Queue[tuple[int, asyncio.Task[int]]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            after = await self._agree()
            group.create_task(self._acknowledge(under_way, window))
            while True:
                await self._outbox.wait_newer(after)
                await window.acquire()
                batch = await self._next(after)
                reach("uploader.before_send")
                under_way.put_nowait((batch.last, group.create_task(self._send(batch))))
                after = batch.last
                if self._outbox.newest - after < MAX_BATCH_EVENTS:
                    await asyncio.sleep(self._settings.gather_s)

    async def _agree(self) -> int:
        """Ask for the hub's mark and return it; begin a new stream when our numbers mean other events to the hub."""
        said = await self._answer_of(await self._request("GET", b""))
        mark = said.acknowledged
        if not await self._means_the_same(mark, said.digest):
            log.warning("the hub knows other events by our numbers", extra={"mark": mark, "newest": self._outbox.newest})
            mark = await self._begin_stream()
        self._outbox.acknowledge(mark)
        self._end_trouble()
        return mark

    async def _means_the_same(self, mark: int, told: str) -> bool:
        """Compare the event at the mark, if we still hold it; a mark beyond our newest number says that this disk is an older copy."""
        if mark > self._outbox.newest:
            return False
        rows = await self._outbox.read(mark - 1, max_events=1, max_bytes=1) if mark and told else []
        return not rows or rows[0][0] != mark or digest(rows[0][1]) == told

    async def _begin_stream(self) -> int:
        """Take a new identity, and account for what the hub had before under the old one."""
        await self._outbox.begin_stream()
        had = self._outbox.acknowledged
        if not had:
            return 0
        return (await self._answer_of(await self._request("POST", encode_dropped(1, had, reason=_EARLIER)))).acknowledged

    async def _next(self, after: int) -> _Batch:
        """Build the batch that follows *after*; there is at least one number to account for."""
        newest = self._outbox.newest
        rows = await self._outbox.read(after, max_events=MAX_BATCH_EVENTS, max_bytes=self._settings.max_batch_bytes)
        reason = _EARLIER if after < self._outbox.acknowledged else _BOUND
        if not rows:
            return _Batch(newest, encode_dropped(after + 1, newest, reason=reason))
        if not self._doubtful:
            return _Batch(rows[-1][0], encode(after, rows, reason=reason))
        sound = [row for row in rows if _is_sound(row[1])]
        if not sound:
            return _Batch(rows[-1][0], encode_dropped(after + 1, rows[-1][0], reason=_DAMAGED))
        return _Batch(sound[-1][0], encode(after, sound, reason=_DAMAGED if len(sound) < len(rows) else reason))

    async def _send(self, batch: _Batch) -> int:
        return (await self._answer_of(await self._request("POST", batch.body))).acknowledged

    async def _request(self, method: str, body: bytes) -> TransportResponse:
        headers = {"skerry-stream": self._outbox.stream, "content-type": "application/x-ndjson"}
        async with asyncio.timeout(self._settings.answer_timeout_s):
            return await self._hub.request(method, PATH, headers=headers, body=body)

    async def _answer_of(self, response: TransportResponse) -> _Answer:
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                body = await response.read(limit_bytes=_MAX_ANSWER_BYTES)
        finally:
            await response.close()
        if response.status == 409:
            raise _ResyncError
        if response.status in (400, 413, 422):
            raise _RefusedError(f"the hub refused a batch ({response.status}): {body[:500].decode(errors='replace')}")
        if response.status != 200:
            raise ConnectionError(f"the hub answered {response.status} to events: {body[:200].decode(errors='replace')}")
        try:
            return msgspec.json.decode(body, type=_Answer)
        except NOT_JSON as error:
            raise ConnectionError(f"the hub's answer to events cannot be read: {error}") from error

    async def _acknowledge(self, under_way: asyncio.Queue[tuple[int, asyncio.Task[int]]], window: asyncio.Semaphore) -> None:
        """Take the answers in the order of sending."""
        while True:
            last, task = await under_way.get()
            mark = await task
            if mark < last:
                raise _ResyncError
            reach("uploader.before_acknowledge")
            self._outbox.acknowledge(last)
            self._doubtful = False
            window.release()


def _is_sound(raw: bytes) -> bool:
    try:
        head(raw)
    except BatchError:
        return False
    return True
