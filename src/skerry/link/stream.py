"""One stream of a link: a request and its answer, both of any length, with back-pressure both ways.

What stays true: `send` waits while the peer does not read; what came in and was not read is bounded by the stream's
window; once the stream or the connection broke, every call raises LinkClosedError.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol


class LinkClosedError(ConnectionError):
    """The stream, or the connection below it, is gone; the message says why."""


class Carrier(Protocol):
    """What a stream needs of its connection."""

    def try_send(self, stream: int, data: memoryview, *, ended: bool) -> memoryview | None: ...
    def answer(self, stream: int, headers: list[tuple[str, str]], *, ended: bool) -> None: ...
    def consumed(self, stream: LinkStream, count: int) -> None: ...
    def drop(self, stream: LinkStream) -> None: ...


class LinkStream:
    """One stream, at either end. One task reads and one writes; the connection calls the methods in the second half."""

    __slots__ = ("_carrier", "_done", "_error", "_inbox", "_reader", "_sent_all", "_writer", "buffered", "headers", "id", "on_abort")

    def __init__(self, carrier: Carrier, number: int) -> None:
        self.id = number
        self.headers: Mapping[str, str] = {}
        """What the peer sent first; empty at the node until `response()` returned."""
        self.on_abort: Callable[[], object] | None = None
        """Called once when the peer gives up or the connection breaks before both ways have ended."""
        self.buffered = 0
        self._carrier = carrier
        self._inbox: deque[tuple[bytes, int]] | tuple[()] = ()  # a deque takes 600 bytes, and a watch's stream at the hub gets nothing
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._done = False
        self._sent_all = False
        self._error: LinkClosedError | None = None

    @property
    def method(self) -> str:
        return self.headers.get(":method", "")

    @property
    def target(self) -> str:
        """Path and query as they came."""
        return self.headers.get(":path", "")

    @property
    def status(self) -> int:
        """Status of the answer; 0 until it is there."""
        text = self.headers.get(":status", "0")
        return int(text) if text.isascii() and text.isdigit() else 0

    @property
    def finished(self) -> bool:
        """Whether both ways have ended, well or not."""
        return self._error is not None or (self._sent_all and self._done)

    async def response(self) -> int:
        """Wait for the answer to our request and return its status; `headers` holds the rest."""
        while not self.headers:
            self._raise_error()
            if self._done:
                raise LinkClosedError("the peer ended the stream without an answer")
            await self._wait_to_read()
        return self.status

    def respond(self, status: int, headers: Mapping[str, str] | None = None, *, ended: bool = False) -> None:
        """Answer a request: status and headers now, the body with `send`; names in lower case."""
        self._raise_error()
        self._sent_all = self._sent_all or ended
        self._carrier.answer(self.id, [(":status", str(status)), *(headers or {}).items()], ended=ended)

    async def send(self, data: bytes, *, ended: bool = False) -> None:
        """Send all of *data*; waits as long as the peer does not read."""
        rest: memoryview | None = memoryview(data)
        while rest is not None:
            self._raise_error()
            if self._sent_all:
                raise LinkClosedError("the stream was finished already")
            rest = self._carrier.try_send(self.id, rest, ended=ended)
            if rest is not None:
                await self._wait_to_write()

    def mark_sent(self) -> None:
        """Our way has ended; the connection calls it as it sends the last bytes."""
        self._sent_all = True

    async def finish(self) -> None:
        """Say that we send nothing more."""
        if not self._sent_all:
            await self.send(b"", ended=True)

    async def receive(self) -> bytes | None:
        """Return the next bytes, or None once the peer has said that it sends nothing more."""
        while not self._inbox:
            if self._done:
                return None
            self._raise_error()
            await self._wait_to_read()
        assert isinstance(self._inbox, deque)
        data, weight = self._inbox.popleft()
        self.buffered -= weight
        self._carrier.consumed(self, weight)
        return data

    async def read(self, *, limit_bytes: int) -> bytes:
        """Return everything that the peer sends; more than the limit raises LinkClosedError and gives the stream up."""
        parts, size = [], 0
        while (data := await self.receive()) is not None:
            size += len(data)
            if size > limit_bytes:
                self.reset()
                raise LinkClosedError(f"the peer sent more than {limit_bytes} bytes")
            parts.append(data)
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def reset(self) -> None:
        """Give the stream up; nothing more goes either way. Does nothing once it has ended."""
        if not self.finished:
            self._error = LinkClosedError("we gave the stream up")
            self._carrier.drop(self)
            self._wake()
        elif self.buffered:
            self._carrier.drop(self)

    # What the connection calls.

    def take_headers(self, headers: Mapping[str, str]) -> None:
        if not self.headers:
            self.headers = headers
        self._wake_reader()

    def take_data(self, data: bytes, weight: int) -> None:
        if isinstance(self._inbox, tuple):
            self._inbox = deque()
        self._inbox.append((data, weight))
        self.buffered += weight
        self._wake_reader()

    def take_end(self) -> None:
        self._done = True
        self._wake_reader()

    def take_room(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def take_failure(self, reason: str) -> None:
        """The stream is gone. What was received whole may still be read."""
        if self.finished:
            return
        self._error = LinkClosedError(reason)
        self._wake()
        if self.on_abort is not None:
            self.on_abort()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise LinkClosedError(*self._error.args)

    def _wake(self) -> None:
        self._wake_reader()
        self.take_room()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _wait_to_read(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    async def _wait_to_write(self) -> None:
        self._writer = asyncio.get_running_loop().create_future()
        await self._writer
