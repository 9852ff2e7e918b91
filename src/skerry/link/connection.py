"""The link on asyncio: one protocol object at either end, carrying streams.

What stays true: a peer that is silent for `Limits.silent_s` is cut off; a peer that reads nothing is cut off once
`Limits.max_unsent` bytes wait for it; when the connection ends, every stream on it fails with the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import cast

from skerry.link.core import DataReceived, Ended, Event, Goodbye, HeadersReceived, LinkCore, PeerError, Reset, RoomMade
from skerry.link.limits import DEFAULT_LIMITS, Limits
from skerry.link.stream import LinkClosedError, LinkStream

log = logging.getLogger(__name__)

PEER_CLOSED = "the peer closed the connection"
CLOSED_UNHEARD = "the peer closed the connection before it said a word"
"""Also what a node sees when the hub refuses its certificate: a hub's asyncio sends no TLS alert."""

OnStream = Callable[[LinkStream], None]


class LinkConnection(asyncio.Protocol):
    """One end of a link. `on_stream` gets each stream that the peer opens (at the hub); `on_closed` the reason, once."""

    def __init__(
        self,
        *,
        client: bool,
        limits: Limits = DEFAULT_LIMITS,
        on_stream: OnStream | None = None,
        on_closed: Callable[[str], None] | None = None,
    ) -> None:
        self._core = LinkCore(client=client, limits=limits)
        self._limits = limits
        self._on_stream = on_stream
        self._on_closed = on_closed
        self._streams: dict[int, LinkStream] = {}
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = self._loop.create_future()
        self._writable = True
        self._feeding = False
        self._heard = False
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def closed(self) -> bool:
        return self._transport is None and self._closed.done()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def wait_closed(self) -> str:
        """Wait for the end of the connection and return its reason."""
        return str(await asyncio.shield(self._closed))

    def open_stream(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, ended: bool = True) -> LinkStream:
        """Send a request; its body, if *ended* is False, goes by `send`."""
        if self._transport is None:
            raise LinkClosedError("the link is not connected")
        found = [(":method", method), (":scheme", "https"), (":authority", "hub"), (":path", path), *(headers or {}).items()]
        number = self._core.open(found, ended=ended)
        stream = self._streams[number] = LinkStream(self, number)
        if ended:
            stream.mark_sent()
            self._flush()
        else:
            self._flush_soon()
        return stream

    def close(self, reason: str) -> None:
        """Say goodbye and close; streams fail with the reason."""
        if self._transport is not None:
            self._core.close(reason)
            self._flush()
            transport, self._transport = self._transport, None
            transport.close()
            self._end(reason)

    def abort(self, reason: str) -> None:
        """Close without another word, also to a peer that reads nothing."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()
            self._end(reason)

    @property
    def peer(self) -> str:
        """The other end's address, "" when it is gone."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(name[0]) if name else ""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._heard_at = self._loop.time()
        self._core.start()
        self._flush()
        self._timer = self._loop.call_later(self._limits.ping_every_s, self._look_after)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._heard_at = self._loop.time()
        self._heard = self._feeding = True
        try:
            for event in self._core.feed(data):
                self._dispatch(event)
        except PeerError as error:
            self._feeding = False
            self._flush()
            self.close(str(error))
            return
        finally:
            self._feeding = False
        self._flush()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._end(f"the connection was lost: {error}" if error else PEER_CLOSED if self._heard else CLOSED_UNHEARD)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        for stream in list(self._streams.values()):
            stream.take_room()

    # What streams call.

    def try_send(self, stream: int, data: memoryview, *, ended: bool) -> memoryview | None:
        """Send what fits now and return the rest, or None once all of it, and the end if asked, has been sent."""
        while self._writable and self._transport is not None:
            try:
                room = self._core.room(stream)
            except PeerError as error:
                raise LinkClosedError(str(error)) from error
            if len(data) and room <= 0:
                return data
            part, data = data[:room], data[room:]
            self._core.data(stream, bytes(part), ended=ended and not data)
            if not data and ended:
                self._streams[stream].mark_sent()
                self._settle(stream)
            self._flush()
            if not data:
                return None
        return data

    def answer(self, stream: int, headers: list[tuple[str, str]], *, ended: bool) -> None:
        self._core.headers(stream, headers, ended=ended)
        if ended:
            self._flush()
            self._settle(stream)
        else:
            self._flush_soon()

    def consumed(self, stream: LinkStream, count: int) -> None:
        self._core.consumed(stream.id, count, open_=stream.id in self._streams)
        self._settle(stream.id)
        self._flush()

    def drop(self, stream: LinkStream) -> None:
        self._core.reset(stream.id)
        if stream.buffered:
            self._core.consumed(stream.id, stream.buffered, open_=False)
            stream.buffered = 0
        self._streams.pop(stream.id, None)
        self._flush()

    def _dispatch(self, event: Event) -> None:
        match event:
            case DataReceived(number, data, padding):
                self._take_data(number, data, padding)
            case HeadersReceived(number, headers):
                self._take_headers(number, headers)
            case Ended(number):
                stream = self._streams.get(number)
                if stream is not None:
                    stream.take_end()
                    self._settle(number)
            case Reset(number, code):
                stream = self._streams.pop(number, None)
                if stream is not None:
                    stream.take_failure(f"the peer gave the stream up (code {code})")
            case RoomMade(0):
                for stream in list(self._streams.values()):
                    stream.take_room()
            case RoomMade(number):
                stream = self._streams.get(number)
                if stream is not None:
                    stream.take_room()
            case Goodbye(reason):
                self.close(f"the peer closed the link: {reason}")

    def _take_data(self, number: int, data: bytes, padding: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            self._core.consumed(number, len(data) + padding, open_=False)  # of a stream that we gave up
        elif data:
            stream.take_data(data, len(data) + padding)
        elif padding:
            self._core.consumed(number, padding)

    def _take_headers(self, number: int, headers: dict[str, str]) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.take_headers(headers)
        elif self._on_stream is not None and ":method" in headers:
            stream = self._streams[number] = LinkStream(self, number)
            stream.take_headers(headers)
            self._on_stream(stream)

    def _settle(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is not None and stream.finished and not stream.buffered:
            del self._streams[number]
            self._core.forget(number)

    def _flush_soon(self) -> None:
        """Flush in a moment: most often a body follows at once, and one write carries both."""
        if not self._feeding:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._feeding or self._transport is None:
            return
        data = self._core.outgoing()
        if data:
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > self._limits.max_unsent:
                self.abort(f"the peer left more than {self._limits.max_unsent} bytes unread")

    def _look_after(self) -> None:
        if self._transport is None:
            return
        silent_s = self._loop.time() - self._heard_at
        if silent_s >= self._limits.silent_s:
            self.abort(f"nothing was heard of the peer for {silent_s:.0f} s")
            return
        if silent_s >= self._limits.ping_every_s / 2:
            self._core.ping()
            self._flush()
        self._timer = self._loop.call_later(min(self._limits.ping_every_s, self._limits.silent_s - silent_s), self._look_after)

    def _end(self, reason: str) -> None:
        if self._closed.done():
            return
        self._closed.set_result(reason)
        if self._timer is not None:
            self._timer.cancel()
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.take_failure(reason)
        if self._on_closed is not None:
            self._on_closed(reason)
