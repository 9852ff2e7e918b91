"""`kubectl port-forward`: connections to a Pod's ports, many through one WebSocket; each is a stream to the node of its own.

Two forms are spoken: SPDY/3.1 frames in binary messages (kubectl since 1.31: for each connection a stream for its bytes and one for
what went wrong), and plain channels for ports that the URL names (the Python clients: channel 2N carries the bytes of the Nth port,
channel 2N+1 its errors, and both begin with the port's number). What one client can make us hold is bounded: a connection whose
node does not take its bytes stops the reading of that WebSocket.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from skerry.apiserver.http.message import WebSocket
from skerry.apiserver.http.spdy import PROTOCOL_ERROR, REFUSED_STREAM, Data, Opened, Reset, Spdy, SpdyError
from skerry.apiserver.registry.streams import NodeStream
from skerry.model.errors import ApiError

TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = ("v4.channel.k8s.io", "portforward.k8s.io")
PROTOCOLS = (TUNNEL, *CHANNELS)
MAX_CONNECTIONS = 128
MAX_PORTS = 32
WAITING_CHUNKS = 16
BYTES_AT_ONCE = 8 << 10
"""Of a message: a frame of 60 bytes can unpack to 16 KiB, so others get their turn between two pieces."""

OpenPort = Callable[[int], Awaitable[NodeStream]]
"""Ask the Pod's node for a connection to a port; ApiError says why there is none."""


class Channel(Protocol):
    """Where the bytes of one connection go, and what is said when it cannot be."""

    async def data(self, data: bytes, *, ended: bool) -> None: ...
    async def failed(self, why: str) -> None: ...


class Connection:
    """One connection to a port: what the client sends waits here, in order, until the node takes it."""

    def __init__(self, port: int, opened: OpenPort, channel: Channel) -> None:
        self._port, self._open, self._channel = port, opened, channel
        self._inward: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING_CHUNKS)
        self.task = asyncio.create_task(self._run(), name=f"port-forward {port}")

    async def put(self, data: bytes | None) -> None:
        """Hand on what the client sent, None at its end; waits while the node does not take it."""
        if not self._inward.full():
            self._inward.put_nowait(data)
            return
        waiting = asyncio.create_task(self._inward.put(data))
        await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _run(self) -> None:
        try:
            stream = await self._open(self._port)
        except ApiError as error:
            await self._channel.failed(error.message)
            return
        upward = asyncio.create_task(self._upward(stream))
        try:
            while (data := await stream.receive()) is not None:
                await self._channel.data(data, ended=False)
            await self._channel.data(b"", ended=True)
        except ConnectionError:
            await self._channel.failed(f"the connection to port {self._port} broke")
        finally:
            upward.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await upward
            stream.reset()

    async def _upward(self, stream: NodeStream) -> None:
        while (data := await self._inward.get()) is not None:
            await stream.send(data)
        await stream.finish()


class _Connections:
    """The connections of one WebSocket; at its end none is left."""

    def __init__(self, opened: OpenPort) -> None:
        self._open = opened
        self.by_stream: dict[int, Connection] = {}

    def add(self, stream: int, port: int, channel: Channel) -> None:
        self.by_stream = {k: c for k, c in self.by_stream.items() if not c.task.done()}
        self.by_stream[stream] = Connection(port, self._open, channel)

    @property
    def full(self) -> bool:
        return sum(1 for c in self.by_stream.values() if not c.task.done()) >= MAX_CONNECTIONS

    async def close(self) -> None:
        tasks = [c.task for c in self.by_stream.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def tunnel(ws: WebSocket, opened: OpenPort) -> None:
    """Serve a WebSocket whose messages are SPDY frames."""
    serving = _Tunnel(ws, opened)
    try:
        while (message := await ws.receive()) is not None:
            await serving.take(message)
    except SpdyError:
        serving.spdy.goaway(PROTOCOL_ERROR)
        with contextlib.suppress(ConnectionError):
            await serving.flush()
    except ConnectionError:
        pass
    finally:
        await serving.connections.close()
        await ws.close()


class _Tunnel:
    """The streams of one SPDY connection: an error stream and a data stream with the same request ID are one connection."""

    def __init__(self, ws: WebSocket, opened: OpenPort) -> None:
        self.spdy = Spdy()
        self.connections = _Connections(opened)
        self._ws = ws
        self._errors: dict[str, int] = {}

    async def take(self, message: bytes) -> None:
        """Do what the frames of a message ask for."""
        for at in range(0, len(message), BYTES_AT_ONCE):
            if at:
                await asyncio.sleep(0)
            await self._take(message[at : at + BYTES_AT_ONCE])

    async def _take(self, message: bytes) -> None:
        for event in self.spdy.feed(message):
            match event:
                case Opened():
                    self._opened(event)
                case Data(id=stream, data=data, ended=ended):
                    await self.flush()
                    await self._data(stream, data, ended=ended)
                case Reset(id=stream):
                    connection = self.connections.by_stream.pop(stream, None)
                    if connection is not None:
                        connection.task.cancel()
        await self.flush()

    async def _data(self, stream: int, data: bytes, *, ended: bool) -> None:
        connection = self.connections.by_stream.get(stream)
        if connection is None:
            return
        if data:
            await connection.put(data)
        if ended:
            await connection.put(None)

    def _opened(self, event: Opened) -> None:
        kind, request = event.headers.get("streamtype"), event.headers.get("requestid", event.headers.get("port", ""))
        port = _port(event.headers.get("port", ""))
        if kind == "error" and port and len(self._errors) < MAX_CONNECTIONS:
            self._errors[request] = event.id
        elif kind == "data" and port and request in self._errors and not self.connections.full:
            error = self._errors.pop(request)
            self.connections.add(event.id, port, _Streams(self, event.id, error))
        else:
            self.spdy.reset(event.id, REFUSED_STREAM)
            return
        self.spdy.reply(event.id)

    async def flush(self) -> None:
        out = self.spdy.to_send()
        if out:
            await self._ws.send(out)


class _Streams:
    """The two SPDY streams of a connection."""

    def __init__(self, tunnel: _Tunnel, data: int, error: int) -> None:
        self._tunnel, self._data, self._error = tunnel, data, error

    async def data(self, data: bytes, *, ended: bool) -> None:
        self._tunnel.spdy.data(self._data, data, ended=ended)
        if ended:
            self._tunnel.spdy.data(self._error, b"", ended=True)
        await self._flush()

    async def failed(self, why: str) -> None:
        self._tunnel.spdy.data(self._error, why.encode(), ended=True)
        self._tunnel.spdy.reset(self._data)
        await self._flush()

    async def _flush(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self._tunnel.flush()


async def channels(ws: WebSocket, ports: list[int], opened: OpenPort) -> None:
    """Serve a WebSocket whose messages begin with a channel's number."""
    connections = _Connections(opened)
    try:
        for number, port in enumerate(ports):
            for channel in (2 * number, 2 * number + 1):
                await ws.send(bytes((channel,)) + struct.pack("<H", port))
            connections.add(2 * number, port, _Pair(ws, 2 * number))
        reading = asyncio.create_task(_read(ws, connections))
        running = {c.task for c in connections.by_stream.values()}
        waiting: list[asyncio.Future[Any]] = [reading, asyncio.gather(*running, return_exceptions=True)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await reading
    except ConnectionError:
        pass
    finally:
        await connections.close()
        await ws.close()


async def _read(ws: WebSocket, connections: _Connections) -> None:
    while (message := await ws.receive()) is not None:
        connection = connections.by_stream.get(message[0]) if message else None
        if connection is not None and len(message) > 1:
            await connection.put(message[1:])


class _Pair:
    """The two channels of a port."""

    def __init__(self, ws: WebSocket, number: int) -> None:
        self._ws, self._number = ws, number

    async def data(self, data: bytes, *, ended: bool) -> None:
        if data:
            await self._ws.send(bytes((self._number,)) + data)

    async def failed(self, why: str) -> None:
        with contextlib.suppress(ConnectionError):
            await self._ws.send(bytes((self._number + 1,)) + why.encode())


def _port(text: str) -> int:
    """Return the port that *text* names, 0 when it names none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 1 << 16 else 0
