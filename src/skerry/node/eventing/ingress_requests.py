"""One connection of an app that sends events into Brokers; imported with the first, h11 and all.

What must stay true: 202 only after the events are on disk; every answer is one of a few; a request is bounded in size and time before
anything is parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

import h11
import msgspec

from skerry.durable import StoreError
from skerry.events.cloudevents import EventError, key_of_apps
from skerry.events.httpbinding import from_http
from skerry.events.log import EventTooLargeError, Outbox, OutboxBusyError
from skerry.model.objects import Name

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
_MAX_HEADER_BYTES = 16 * 1024
_REQUEST_TIMEOUT_S = 30.0
_IDLE_TIMEOUT_S = 60.0


class _Reply(msgspec.Struct, frozen=True):
    status: int
    message: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


class Requests:
    """Answers what comes on one connection after the other; *runs_here* says whether a Broker runs on this node."""

    def __init__(self, outbox: Outbox, runs_here: Callable[[Name], bool]) -> None:
        self._outbox = outbox
        self._runs_here = runs_here

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until the peer is gone or says something that is not HTTP."""
        with contextlib.suppress(h11.LocalProtocolError):
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEADER_BYTES)
        while True:
            reply = await self._exchange(connection, reader)
            if reply is None:
                return
            writer.write(_render(connection, reply))
            await writer.drain()
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _exchange(self, connection: h11.Connection, reader: asyncio.StreamReader) -> _Reply | None:
        """Read one request and judge it; None when the peer is gone."""
        try:
            async with asyncio.timeout(_IDLE_TIMEOUT_S):
                request = await _next_event(connection, reader)
            if not isinstance(request, h11.Request):
                return None
            if sum(len(k) + len(v) for k, v in request.headers) > _MAX_HEADER_BYTES:
                return _Reply(431, f"headers have at most {_MAX_HEADER_BYTES} bytes")
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                body = await _body(connection, reader)
        except h11.RemoteProtocolError as error:
            return _Reply(error.error_status_hint, f"not HTTP/1.1: {error}")
        if body is None:
            return _Reply(413, f"a request has at most {MAX_BODY_BYTES} bytes")
        return await self._judge(request, body)

    async def _judge(self, request: h11.Request, body: bytes) -> _Reply:
        broker = _broker_of(request.target)
        if broker is None or not self._runs_here(broker):
            return _Reply(404, "no such Broker runs on this node: POST to /<namespace>/<broker>")
        if request.method == b"OPTIONS":
            return _Reply(200, headers={"allow": "POST, OPTIONS", "webhook-allowed-origin": "*", "webhook-allowed-rate": "1000"})
        if request.method != b"POST":
            return _Reply(405, "only POST is supported", {"allow": "POST, OPTIONS"})
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in request.headers}
        try:
            events = from_http(headers, body)
            keys = [key_of_apps(e) for e in events]
            await asyncio.gather(*(self._outbox.append(e, key=k, broker=str(broker)) for e, k in zip(events, keys, strict=True)))
        except EventTooLargeError as error:
            return _Reply(413, str(error))
        except EventError as error:
            return _Reply(400, str(error))
        except (OutboxBusyError, StoreError) as error:
            log.warning("the outbox takes no events", extra={"cause": str(error)})
            return _Reply(503, "events cannot be stored now: try again later", {"retry-after": "1"})
        return _Reply(202)


def _broker_of(target: bytes) -> Name | None:
    """Return the Broker that a path names; nothing is decoded, since names need no escapes."""
    path = target.partition(b"?")[0].decode("latin-1")
    parts = path.split("/")
    return Name(parts[1], parts[2]) if len(parts) == 3 and parts[0] == "" else None


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        connection.receive_data(await reader.read(64 * 1024))


async def _body(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes | None:
    """Return the whole body, or None when it is too long."""
    received = bytearray()
    while True:
        event = await _next_event(connection, reader)
        if isinstance(event, h11.Data):
            received += event.data
            if len(received) > MAX_BODY_BYTES:
                return None
        else:
            return bytes(received)


def _render(connection: h11.Connection, reply: _Reply) -> bytes:
    body = msgspec.json.encode({"error": reply.message}) if reply.message else b""
    headers = [("content-length", str(len(body))), *reply.headers.items()]
    if body:
        headers.append(("content-type", "application/json"))
    parts = [connection.send(h11.Response(status_code=reply.status, headers=headers))]
    if body:
        parts.append(connection.send(h11.Data(data=body)))
    with contextlib.suppress(h11.LocalProtocolError):
        parts.append(connection.send(h11.EndOfMessage()))
    return b"".join(p for p in parts if p)
