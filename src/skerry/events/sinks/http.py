"""POSTs to subscribers with h11 on asyncio streams, keeping a few connections.

What must stay true: no redirect is followed, no proxy is used, nothing of ours goes along but the event; the address that was judged is the
one that is connected to; link-local addresses (cloud metadata), multicast and unspecified ones are refused, everything else is where Pods
and neighbours of a node live; an answer's body is read up to a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11
import msgspec

from skerry.events.delivery import Reply, Sink
from skerry.model.reasons import why

MAX_REPLY_BYTES = 256 * 1024
_MAX_HEADER_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024
_MAX_IDLE = 4
_IDLE_S = 10.0


class NotAllowedError(ConnectionError):
    """The host's addresses are all ones that events never go to."""


class UnsendableError(ValueError):
    """The event cannot be written as an HTTP message: trying again changes nothing."""


class _Connection(msgspec.Struct):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: h11.Connection
    idle_since: float = 0.0


class _Target(msgspec.Struct, frozen=True):
    """Scheme, host, port, and whose certificates count."""

    secure: bool
    host: str
    port: int
    ca_certs: str


def refused_address(address: str) -> bool:
    """Say whether events must not go to *address*: link-local, multicast, unspecified, also when written as IPv4 in IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified


class HttpSender:
    """A small pool of connections to subscribers; `close` ends them."""

    def __init__(self) -> None:
        self._idle: dict[_Target, list[_Connection]] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def post(self, sink: Sink, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> Reply:
        """POST and return the answer, whatever its status; raises ConnectionError or TimeoutError when there is none, UnsendableError."""
        parts = urlsplit(sink.uri)
        secure = parts.scheme == "https"
        target = _Target(secure, parts.hostname or "", parts.port or (443 if secure else 80), sink.ca_certs)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        all_headers = [("host", parts.netloc), ("content-length", str(len(body))), ("user-agent", "skerry"), *headers.items()]
        try:
            request = h11.Request(method="POST", target=path, headers=all_headers)
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise UnsendableError(f"the event cannot be sent over HTTP: {error}") from error
        async with asyncio.timeout(timeout_s):
            while (kept := self._kept(target)) is not None:
                # A connection that the peer closed while it was idle says nothing about this event.
                with contextlib.suppress(ConnectionError):
                    return await self._exchange(target, kept, request, body)
            return await self._exchange(target, await self._connect(target), request, body)

    def _kept(self, target: _Target) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        connections = self._idle.get(target, [])
        while connections:
            connection = connections.pop()
            if now - connection.idle_since < _IDLE_S and not connection.reader.at_eof():
                return connection
            connection.writer.close()
        self._idle.pop(target, None)
        return None

    async def _connect(self, target: _Target) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectionError(f"{target.host} cannot be resolved: {why(error)}") from error
        addresses = [str(a[4][0]) for a in found if not refused_address(str(a[4][0]))]
        if not addresses:
            raise NotAllowedError(f"{target.host} is a link-local, multicast or unspecified address: events do not go there")
        context = self._context(target.ca_certs) if target.secure else None
        failure: OSError = ConnectionError("no address")
        for address in addresses[:4]:
            try:
                reader, writer = await asyncio.open_connection(
                    address, target.port, ssl=context, server_hostname=target.host if context else None, limit=_READ_BYTES
                )
            except OSError as error:
                failure = error
            else:
                return _Connection(reader, writer, h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEADER_BYTES))
        raise ConnectionError(f"{target.host}:{target.port} cannot be reached: {why(failure)}") from failure

    def _context(self, ca_certs: str) -> ssl.SSLContext:
        if ca_certs not in self._contexts:
            try:
                self._contexts[ca_certs] = ssl.create_default_context(cadata=ca_certs or None)
            except ssl.SSLError as error:
                raise ConnectionError(f"CACerts cannot be read: {error}") from error
        return self._contexts[ca_certs]

    async def _exchange(self, target: _Target, connection: _Connection, request: h11.Request, body: bytes) -> Reply:
        try:
            reply = await _converse(connection, request, body)
        except (h11.ProtocolError, OSError) as error:
            connection.writer.close()
            raise ConnectionError(f"{target.host}:{target.port}: {error}") from error
        except BaseException:
            connection.writer.close()
            raise
        self._keep(target, connection, whole=reply.whole)
        return reply

    def _keep(self, target: _Target, connection: _Connection, *, whole: bool) -> None:
        connections = self._idle.setdefault(target, [])
        if (
            whole
            and len(connections) < _MAX_IDLE
            and connection.protocol.our_state is h11.DONE
            and connection.protocol.their_state is h11.DONE
        ):
            connection.protocol.start_next_cycle()
            connection.idle_since = asyncio.get_running_loop().time()
            connections.append(connection)
        else:
            connection.writer.close()

    def forget_idle(self) -> None:
        """Close connections that nothing has used for a while."""
        now = asyncio.get_running_loop().time()
        for target, connections in list(self._idle.items()):
            fresh = [c for c in connections if now - c.idle_since < _IDLE_S]
            for connection in connections:
                if connection not in fresh:
                    connection.writer.close()
            self._idle[target] = fresh
            if not fresh:
                del self._idle[target]

    async def close(self) -> None:
        """Close what is idle."""
        connections = [c for kept in self._idle.values() for c in kept]
        self._idle.clear()
        for connection in connections:
            connection.writer.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()


async def _converse(connection: _Connection, request: h11.Request, body: bytes) -> Reply:
    send = connection.protocol.send
    parts = [send(request), send(h11.Data(data=body)) if body else b"", send(h11.EndOfMessage())]
    connection.writer.write(b"".join(part for part in parts if part))
    await connection.writer.drain()
    status, headers = 0, {}
    received = bytearray()
    while True:
        event = await _next_event(connection)
        if isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            received += event.data
            if len(received) > MAX_REPLY_BYTES:
                return Reply(status, headers, bytes(received[:MAX_REPLY_BYTES]), whole=False)
        elif isinstance(event, h11.EndOfMessage):
            return Reply(status, headers, bytes(received))
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionError("closed the connection without an answer")


async def _next_event(connection: _Connection) -> object:
    while True:
        event = connection.protocol.next_event()
        if event is not h11.NEED_DATA:
            return event
        connection.protocol.receive_data(await connection.reader.read(_READ_BYTES))
