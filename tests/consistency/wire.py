"""HTTP/1.1 over TLS as raw bytes: the trial's own client, which shares nothing with the server or its client room."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

LIMIT_BYTES = 4 << 20
ANSWER_S = 20.0
CONNECT_S = 5.0
LOST = (OSError, EOFError, TimeoutError, ssl.SSLError)
"""What a connection that is no more raises."""


class Answer(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Address:
    """Where the server listens, and as whom it is asked."""

    port: int
    context: ssl.SSLContext


class Connection:
    """One keep-alive connection; whatever goes wrong closes it and is raised as one of `LOST`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: Address) -> Connection:
        async with asyncio.timeout(CONNECT_S):
            streams = await asyncio.open_connection("127.0.0.1", address.port, ssl=address.context, limit=LIMIT_BYTES)
        return cls(*streams)

    async def request(self, method: str, path: str, body: Any = None, media: str = "application/json") -> Answer:
        async with asyncio.timeout(ANSWER_S):
            self._send(method, path, b"" if body is None else msgspec.json.encode(body), media)
            status, headers = await self._head()
            if b"chunked" in headers.get(b"transfer-encoding", b""):
                return Answer(status, b"".join([chunk async for chunk in self._chunks()]))
            return Answer(status, await self._reader.readexactly(int(headers.get(b"content-length", b"0"))))

    async def stream(self, path: str) -> tuple[int, AsyncIterator[list[bytes]]]:
        """Begin a watch; return its status and its lines, as many at a time as arrive together."""
        async with asyncio.timeout(ANSWER_S):
            self._send("GET", path, b"", "application/json")
            status, headers = await self._head()
        if b"chunked" in headers.get(b"transfer-encoding", b""):
            return status, self._lines()
        return status, self._whole(int(headers.get(b"content-length", b"0")))

    def close(self) -> None:
        self._writer.transport.abort()

    def _send(self, method: str, path: str, body: bytes, media: str) -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: trial\r\nUser-Agent: trial/1\r\nContent-Type: {media}\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def _head(self) -> tuple[int, dict[bytes, bytes]]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        return int(first.split(b" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            chunk = await self._reader.readexactly(size + 2)
            yield chunk[:-2]
        await self._reader.readexactly(2)

    async def _lines(self) -> AsyncIterator[list[bytes]]:
        rest = b""
        async for chunk in self._chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                yield lines
        if rest:
            raise EOFError(f"the stream ended in the middle of a line: {rest[:100]!r}")

    async def _whole(self, length: int) -> AsyncIterator[list[bytes]]:
        yield [await self._reader.readexactly(length)]
