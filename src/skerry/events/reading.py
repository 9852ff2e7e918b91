"""Reads the hub's event log as a client, and writes an entry as a line for people: pure but for the transport that it is given.

A follower goes on after the last entry that it gave, however often the connection breaks: it misses and repeats nothing that the hub
still holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import msgspec

from skerry.kube.api import Transport
from skerry.kube.lines import split_lines
from skerry.model.errors import ApiError
from skerry.model.unreadable import NOT_JSON

PATH = "/skerry/events"
_MAX_LINE_BYTES = 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_RETRY_S = 1.0
_PAGE = 1000


class ReadEntry(msgspec.Struct, frozen=True):
    """One line of the log."""

    sequence: int
    node: str
    seq: int
    event: dict[str, Any]


class _Line(msgspec.Struct):
    sequence: int = 0
    node: str = ""
    seq: int = 0
    event: dict[str, Any] = {}
    error: dict[str, Any] | None = None


class _Request:
    """One request to the log: its entries, and after which entry the next page begins."""

    def __init__(self, transport: Transport, **selection: str | int | None) -> None:
        query = urlencode({k: v for k, v in selection.items() if v is not None and v != ""})
        self._transport, self._path = transport, f"{PATH}?{query}" if query else PATH
        self.next = 0
        self.answered = False

    async def entries(self) -> AsyncIterator[ReadEntry]:
        """Yield what the hub answers; raises ApiError, ConnectionError."""
        response = await self._transport.request("GET", self._path)
        try:
            if response.status != 200:
                raise _refused(response.status, await response.read(limit_bytes=_MAX_ERROR_BYTES))
            self.answered = True
            said = response.headers.get("skerry-next", "")
            self.next = int(said) if said.isascii() and said.isdigit() else 0
            async for entry in _entries(response.chunks()):
                yield entry
        finally:
            await response.close()


async def _entries(chunks: AsyncIterator[bytes]) -> AsyncIterator[ReadEntry]:
    async for text in split_lines(chunks, limit_bytes=_MAX_LINE_BYTES):
        try:
            line = msgspec.json.decode(text, type=_Line)
        except NOT_JSON as error:
            raise ConnectionError(f"the hub's event log sent something else: {error}") from error
        if line.error is not None:
            raise ApiError.from_status(line.error)
        yield ReadEntry(line.sequence, line.node, line.seq, line.event)


def _refused(status: int, body: bytes) -> ApiError:
    try:
        return ApiError.from_status(msgspec.json.decode(body, type=dict[str, Any]))
    except NOT_JSON:
        return ApiError(status, "Unknown", f"the hub answered {status}: {body[:200].decode(errors='replace')}")


async def follow(
    transport: Transport, *, after: int | None = None, tail: int | None = None, node: str = "", source: str = ""
) -> AsyncIterator[ReadEntry]:
    """Yield entries for ever, connecting again when it breaks; ApiError when refused, ConnectionError when the hub never answered."""
    position, told, answered = after, tail, False
    while True:
        request = _Request(transport, watch="true", after=position, tail=told, node=node, source=source)
        try:
            async for entry in request.entries():
                position, told = entry.sequence, None
                yield entry
        except ConnectionError:
            if not (answered or request.answered):
                raise
        answered = answered or request.answered
        await asyncio.sleep(_RETRY_S)


async def pages(
    transport: Transport, *, after: int | None = None, tail: int | None = None, node: str = "", source: str = ""
) -> AsyncIterator[ReadEntry]:
    """Yield all that is there now, page by page; raises ApiError, ConnectionError."""
    position, told = after, tail
    while True:
        request = _Request(transport, after=position, tail=told, limit=None if told else _PAGE, node=node, source=source)
        async for entry in request.entries():
            yield entry
        if tail is not None or request.next <= (position or 0):
            return
        position = request.next


def describe(entry: ReadEntry) -> str:
    """Return an entry as one line: sequence, node, time, type, source, subject, data; nothing in it can steer a terminal."""
    event = entry.event
    data = event.get("data", event.get("data_base64"))
    said = "" if data is None else msgspec.json.encode(data).decode()
    fields = [str(entry.sequence), entry.node, *(str(event.get(k) or "-") for k in ("time", "type", "source", "subject")), said]
    return " ".join(printable(f) for f in fields)


def printable(text: str) -> str:
    """Return *text* with everything escaped that is not a printable character."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:4096])
