"""HTTP/1.1 on a TLS transport: bytes to `Request`, `Response` to bytes. The only module here that knows aiohttp.

Limits come before anything is parsed: header lines, header count, body size, time to send a request. Who asks is settled
once a connection (client certificate) and once a request (bearer token).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary

from aiohttp import HttpVersion11, WSMsgType, web
from aiohttp.web_protocol import RequestHandler

from skerry.apiserver.http.answers import error_answer
from skerry.apiserver.http.compression import MIN_BYTES, Compressor
from skerry.apiserver.http.limits import FREE_BYTES, InFlight, OpenStream, OpenStreams, Receiving
from skerry.apiserver.http.message import ANONYMOUS, Request, Response, Upgrade, User, pairs
from skerry.apiserver.http.paths import normalise
from skerry.apiserver.http.whole import Whole
from skerry.model.errors import ApiError, bad_request, too_large, unauthorized

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 3 << 20
MAX_LINE_BYTES = 64 << 10
MAX_HEADERS = 64
MAX_FIELD_BYTES = 16 << 10
BODY_TIMEOUT_S = 60.0
STRANGERS_BODY_S = 10.0
KEEPALIVE_S = 180.0
FIRST_REQUEST_S = 30.0
"""How long a connection may say nothing before its first request is complete."""
MAX_STRANGERS_BODY_BYTES = 64 << 10
"""What somebody without credentials may send: an enrollment fits in a tenth of it."""
STREAM_BUFFER_BYTES = 16 << 10
"""What may wait in the transport of a stream whose client does not read."""
UNSENT_BYTES = 128 << 10
_NOT_SENT_LOW_WATER = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
MAX_MESSAGE_BYTES = 1 << 20
FRAMES_AT_ONCE = 64

Handle = Callable[[Request], Awaitable[Response]]
CertificateUser = Callable[[Any], User | None]
"""Given the connection's ssl_object, say who the client's certificate names."""


Unknown = Callable[[str, str, Mapping[str, str], str], None]
"""Told of a request whose credentials are nobody's: method, path, headers and the client's address."""


class TokenAuthenticator(Protocol):
    """Knows bearer tokens."""

    def user_of(self, token: str) -> User | None:
        """Return whose token it is, or None when it is nobody's."""
        ...


class ApiHttp:
    """Speaks HTTP/1.1 for a dispatcher; `protocol_factory()` gives what a listener hands its transport to."""

    def __init__(
        self,
        handle: Handle,
        *,
        tokens: TokenAuthenticator | None = None,
        certificate: CertificateUser | None = None,
        unknown: Unknown | None = None,
    ) -> None:
        self._handle, self._tokens, self._unknown = handle, tokens, unknown
        self._certificate = certificate or user_of_certificate
        self._server: web.Server | None = None
        self.in_flight, self.streams = InFlight(), OpenStreams(good=lambda token: tokens is not None and tokens.user_of(token) is not None)
        self._receiving, self._compressor = Receiving(), Compressor()

    def protocol_factory(self) -> asyncio.Protocol:
        """Return the protocol of one new connection; must be called on the loop that will run it."""
        if self._server is None:
            self._server = web.Server(
                self._serve,
                keepalive_timeout=KEEPALIVE_S,
                access_log=None,
                max_line_size=MAX_LINE_BYTES,
                max_field_size=MAX_FIELD_BYTES,
                max_headers=MAX_HEADERS,
                lingering_time=2.0,
                auto_decompress=False,
                handler_cancellation=True,
            )
        connection = self._server()
        asyncio.get_running_loop().call_later(FIRST_REQUEST_S, _drop_silent, connection)
        return connection

    async def close(self, timeout_s: float = 2.0) -> None:
        """End every connection, giving answers that are being written *timeout_s* to finish."""
        self.streams.stop()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(timeout_s)

    async def _serve(self, raw: web.BaseRequest) -> web.StreamResponse:
        try:
            response, user = await self._answer(raw)
            if response.upgrade is not None:
                return await self._upgrade(raw, response.upgrade, user)
            if not isinstance(response.body, bytes) or len(response.body) >= MIN_BYTES:
                response = await self._compressor.compressed(raw._message.path, _headers(raw), response)
            if isinstance(response.body, bytes):
                return _plain(response)
            stream = await self._open(response.body, user, raw)
        except ApiError as error:
            return _plain(error_answer(error))
        return await self._stream(raw, response, response.body, stream)

    async def _upgrade(self, raw: web.BaseRequest, upgrade: Upgrade, user: User) -> web.StreamResponse:
        try:
            stream = self.streams.open(user.name, raw.transport, _token(raw.headers.get("Authorization", "")))
        except ApiError:
            upgrade.abandon()
            raise
        try:
            return await _websocket(raw, upgrade)
        finally:
            self.streams.close(stream)

    async def _open(self, body: AsyncIterator[bytes], user: User, raw: web.BaseRequest) -> OpenStream:
        try:
            return self.streams.open(user.name, raw.transport, _token(raw.headers.get("Authorization", "")))
        except ApiError:
            await _closed(body)
            raise

    async def _answer(self, raw: web.BaseRequest) -> tuple[Response, User]:
        """Read the request and answer it, unless too many are worked on already; strangers have a limit of their own."""
        path, _, query = raw._message.path.partition("?")
        clean = normalise(path)
        if clean is None:
            raise bad_request(f"the path {path[:200]!r} is not one that can be served: no encoded slashes, dot segments or empty ones")
        headers = _headers(raw)
        user = self._user(raw, headers)
        # Who sends slowly takes nobody's place: a request counts from when it is complete; until then its bytes count.
        body = await self._body(raw, headers, user) if raw.body_exists else b""
        self.in_flight.admit(user)
        try:
            return await self._handle(Request(raw._message.method, clean, query, headers, body, user, raw.remote or "")), user
        finally:
            self.in_flight.release(user)

    async def _body(self, raw: web.BaseRequest, headers: Mapping[str, str], user: User) -> bytes:
        stranger = user is ANONYMOUS
        limit, timeout_s = (MAX_STRANGERS_BODY_BYTES, STRANGERS_BODY_S) if stranger else (MAX_BODY_BYTES, BODY_TIMEOUT_S)
        length = headers.get("content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            raise too_large(limit)
        content = raw.content
        if content.is_eof() and content.total_raw_bytes <= FREE_BYTES:
            return content.read_nowait()  # it came with its head, as nearly all do
        if headers.get("expect", "").lower() == "100-continue" and raw.transport is not None and not content.total_raw_bytes:
            raw.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(timeout_s):
                return await _read_limited(raw, limit, self._receiving)
        except TimeoutError:
            raise ApiError(408, "Timeout", f"the body did not arrive within {timeout_s:.0f} s") from None

    async def _stream(self, raw: web.BaseRequest, response: Response, body: AsyncIterator[bytes], stream: OpenStream) -> web.StreamResponse:
        """Write what comes, waiting for the client each time: what it does not read stays where it came from."""
        out = web.StreamResponse(status=response.status, headers=pairs(response.headers))
        if raw.version >= HttpVersion11:
            out.enable_chunked_encoding()
        else:  # a body without a length ends with its connection, also where the client asked to keep that
            out.force_close()
        now = asyncio.get_running_loop().time
        written = 0
        try:
            try:
                await out.prepare(raw)
            except ConnectionError:  # the client went away before its answer began, which is its right
                return out
            if raw._message.method == "HEAD":
                return out  # which ends it
            protocol = raw.protocol
            if raw.transport is not None:
                _buffer_little(raw.transport)
            async for chunk in body:
                if (written := written + len(chunk)) > STREAM_BUFFER_BYTES:
                    written = 0
                    await asyncio.sleep(0)  # a thousand streams that all have much to say let others speak
                stream.since = now()
                try:
                    await out.write(chunk)
                    if protocol._paused:
                        await protocol._drain_helper()
                except ConnectionError:  # or in the middle of it
                    return out
                stream.since = 0.0
            with suppress(ConnectionError):
                await out.write_eof()
        finally:
            self.streams.close(stream)
            await _closed(body)
        return out

    def _user(self, raw: web.BaseRequest, headers: Mapping[str, str]) -> User:
        authorization = headers.get("authorization")
        if authorization:
            token = _token(authorization)
            user = self._tokens.user_of(token) if self._tokens is not None and token else None
            if user is None:
                if self._unknown is not None:
                    self._unknown(raw._message.method, raw._message.path.partition("?")[0], headers, raw.remote or "")
                raise unauthorized()
            return user
        transport = raw.transport
        ssl_object = transport.get_extra_info("ssl_object") if transport is not None else None
        found = self._certificate(ssl_object) if ssl_object is not None else None
        return found or ANONYMOUS


def _token(authorization: str) -> str:
    """Return the bearer token of a header, "" without one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _headers(raw: web.BaseRequest) -> dict[str, str]:
    """Return the headers by lower-case name; of one given several times the values are joined, as RFC 9110 says."""
    found: dict[str, str] = {}
    for key, value in raw._message.headers.items():
        if not value.isascii():
            raise bad_request(f"the header {key} is not ASCII")
        key = key.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _drop_silent(connection: RequestHandler) -> None:
    """Close a connection that has not brought one request."""
    if connection.transport is not None and connection._request_count == 0 and connection._current_request is None:
        connection.transport.abort()


_named: WeakKeyDictionary[Any, User | None] = WeakKeyDictionary()
"""Whom the certificates of open connections name: a certificate never changes while its connection lasts."""


def user_of_certificate(ssl_object: Any) -> User | None:
    """Return the user that a verified client certificate names: CN the name, each O a group."""
    try:
        return _named[ssl_object]
    except KeyError:
        certificate = ssl_object.getpeercert()
    user = _named[ssl_object] = user_of_subject(certificate.get("subject") or ()) if certificate else None
    return user


def user_of_subject(subject: Any) -> User | None:
    """Return the user of a certificate's subject; None without a common name."""
    parts = [pair for part in subject for pair in part]
    name = next((v for k, v in parts if k == "commonName"), "")
    groups = tuple(v for k, v in parts if k == "organizationName")
    node = name.removeprefix("system:node:") if "system:nodes" in groups and name.startswith("system:node:") else ""
    return User(name, (*groups, "system:authenticated"), node=node) if name else None


async def _read_limited(raw: web.BaseRequest, limit: int, receiving: Receiving) -> bytes:
    chunks, size, counted = [], 0, 0
    try:
        while chunk := await raw.content.readany():
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            if size - counted > FREE_BYTES:
                receiving.take(size - counted)
                counted = size
            chunks.append(chunk)
    finally:
        receiving.give(counted)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _plain(response: Response) -> web.StreamResponse:
    assert isinstance(response.body, bytes)
    return cast("web.StreamResponse", Whole(response.status, response.headers, response.body))


def _buffer_little(transport: asyncio.Transport) -> None:
    """Let little wait for a client that does not read: here, and in the kernel, which would take megabytes a connection."""
    transport.set_write_buffer_limits(STREAM_BUFFER_BYTES)
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _NOT_SENT_LOW_WATER, UNSENT_BYTES)


async def _closed(body: AsyncIterator[bytes]) -> None:
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()


class _WebSocket:
    """aiohttp's WebSocket as ours."""

    def __init__(self, ws: web.WebSocketResponse) -> None:
        self._ws = ws
        self._received = 0

    @property
    def protocol(self) -> str:
        return self._ws.ws_protocol or ""

    async def receive(self) -> bytes | None:
        self._received += 1
        if self._received % FRAMES_AT_ONCE == 0:
            await asyncio.sleep(0)  # frames that are there already are received without waiting: others get their turn too
        message = await self._ws.receive()
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is WSMsgType.TEXT:
            return str(message.data).encode()
        return None

    async def send(self, data: bytes) -> None:
        await self._ws.send_bytes(data)

    async def close(self, code: int = 1000) -> None:
        await self._ws.close(code=code)


async def _websocket(raw: web.BaseRequest, upgrade: Upgrade) -> web.StreamResponse:
    ws = web.WebSocketResponse(protocols=upgrade.protocols, max_msg_size=MAX_MESSAGE_BYTES, compress=False, heartbeat=30.0)
    try:
        await ws.prepare(raw)
    except BaseException:
        upgrade.abandon()
        raise
    try:
        await upgrade.serve(_WebSocket(ws))
    finally:
        await ws.close()
    return ws


__all__ = ["ApiHttp", "RequestHandler", "TokenAuthenticator", "user_of_certificate", "user_of_subject"]
