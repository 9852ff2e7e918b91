"""One node's link at the hub: serves its API calls and event batches, and asks it for streams.

What stays true: everything on the link is done as this node, whatever a header says; a node can only answer streams that it
was asked for; what a node can make us hold is bounded; nothing of the hub's own credentials is ever sent to it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from skerry.apiserver.http.message import Response, User
from skerry.events.log import MAX_BATCH_BYTES
from skerry.events.routes import Answer
from skerry.hub.frontdoor.refusals import checked_refusal
from skerry.hub.frontdoor.requests import Handle, answer, error_response, read_body, read_request
from skerry.link import LinkConnection, LinkStream
from skerry.link.control import (
    CONTROL_PATH,
    EVENTS_PATH,
    OUTBOX_HEADER,
    PING_EVERY_S,
    STATUS_HEADER,
    STREAMS_PATH,
    Message,
    Open,
    Ping,
    encode,
)
from skerry.model.errors import ApiError

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 10.0
"""Seconds that a node has to open a stream that it was asked for."""
MAX_ASKED = 64
"""Streams that were asked for and not opened yet, and messages that wait for the node."""
MAX_WRITES = 16
"""Requests with a body that are read and carried out at once for one node: it bounds the memory of their bodies."""
MAX_STATUS_BYTES = 64 * 1024
_OURS = "/skerry/link/"


class EventSink(Protocol):
    """Where event batches go (`events.routes.EventRoutes`); *node* is who the link belongs to."""

    async def mark(self, node: str, stream: str) -> Answer: ...
    async def upload(self, node: str, stream: str, body: bytes) -> Answer: ...


def away(message: str) -> ApiError:
    """Return 503 without a time to try again: kubectl would wait and try ten times before it told anybody."""
    return ApiError(503, "ServiceUnavailable", message)


def node_user(node: str) -> User:
    """Return the user that a node is, on the link and over HTTP/1.1."""
    return User(f"system:node:{node}", ("system:nodes", "system:authenticated"), node=node)


class NodeSession:
    """The hub's end of one link. `ready` is called once the node listens on its control stream."""

    def __init__(self, node: str, key_hash: str, *, handle: Handle, events: EventSink | None, ready: Callable[[NodeSession], None]) -> None:
        self.node = node
        self.key_hash = key_hash
        self.link: LinkConnection | None = None
        self._user = node_user(node)
        self._handle = handle
        self._events = events
        self._ready = ready
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[str, asyncio.Future[LinkStream]] = {}
        self._messages: asyncio.Queue[Message] = asyncio.Queue(MAX_ASKED)
        self._writes = asyncio.Semaphore(MAX_WRITES)
        self._listening = False

    async def open(self, kind: str, params: Mapping[str, Any], *, timeout_s: float = OPEN_TIMEOUT_S) -> LinkStream:
        """Ask the node for a stream; raises ApiError: the node's own refusal, 504 when it does not answer, 503 when it is gone."""
        if not self._listening or len(self._asked) >= MAX_ASKED or self._messages.full():
            raise away(f"node {self.node} has {len(self._asked)} streams to open already, or does not listen yet")
        stream_id = secrets.token_urlsafe(12)
        asked: asyncio.Future[LinkStream] = asyncio.get_running_loop().create_future()
        self._asked[stream_id] = asked
        self._messages.put_nowait(Open(stream_id, kind, dict(params)))
        try:
            async with asyncio.timeout(timeout_s):
                return await asked
        except TimeoutError as error:
            raise ApiError(504, "Timeout", f"node {self.node} did not open the {kind} stream within {timeout_s:.0f} s") from error
        except asyncio.CancelledError:
            if asked.done() and not asked.cancelled() and asked.exception() is None:
                asked.result().reset()  # it came as whoever asked for it gave up
            raise
        finally:
            self._asked.pop(stream_id, None)

    def on_stream(self, stream: LinkStream) -> None:
        """Serve a stream that the node opened."""
        task = asyncio.get_running_loop().create_task(self._serve(stream))
        stream.on_abort = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def on_closed(self, reason: str) -> None:
        """The link ended: whoever waits for the node is told."""
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(away(f"node {self.node} disconnected: {reason}"))
        for task in self._tasks:
            task.cancel()

    async def _serve(self, stream: LinkStream) -> None:
        try:
            response = await self._route(stream)
            if response is not None:  # sent from here: what a watch stands on for hours is kept low
                await answer(stream, response)
        except ApiError as error:
            await self._refuse(stream, error)
        except (ConnectionError, asyncio.CancelledError):
            stream.reset()
        except Exception:
            log.exception("a request on the link failed", extra={"node": self.node, "path": stream.target[:200]})
            stream.reset()

    async def _route(self, stream: LinkStream) -> Response | None:
        """Carry the request out; return the answer, or None when it was sent."""
        path = stream.target.partition("?")[0]
        if not path.startswith(_OURS):
            return await self._call(stream)
        if path == CONTROL_PATH and stream.method == "GET":
            await self._control(stream)
        elif path.startswith(STREAMS_PATH) and stream.method == "POST":
            await self._opened(stream, path.removeprefix(STREAMS_PATH))
        elif path == EVENTS_PATH and self._events is not None:
            return await self._take_events(stream, self._events)
        else:
            raise ApiError(404, "NotFound", f"the link has nothing at {stream.method} {path[:200]}")
        return None

    async def _call(self, stream: LinkStream) -> Response:
        peer = self.link.peer if self.link is not None else ""
        if stream.method == "GET":
            return await self._handle(await read_request(stream, self._user, max_body=0, peer=peer))
        async with self._writes:
            return await self._handle(await read_request(stream, self._user, peer=peer))

    async def _take_events(self, stream: LinkStream, events: EventSink) -> Response:
        outbox = stream.headers.get(OUTBOX_HEADER, "")
        if stream.method == "POST":
            async with self._writes:
                told = await events.upload(self.node, outbox, await read_body(stream, MAX_BATCH_BYTES))
        else:
            told = await events.mark(self.node, outbox)
        return Response(told.status, told.headers, told.body)

    async def _control(self, stream: LinkStream) -> None:
        if self._listening:
            raise ApiError(409, "Conflict", "this link has a control stream already")
        stream.respond(200, {"content-type": "application/x-ndjson"})
        self._listening = True
        self._ready(self)
        try:
            while True:
                await stream.send(encode(await self._next_message()))
        finally:
            self._listening = False

    async def _next_message(self) -> Message:
        try:
            async with asyncio.timeout(PING_EVERY_S):
                return await self._messages.get()
        except TimeoutError:
            return Ping()

    async def _opened(self, stream: LinkStream, stream_id: str) -> None:
        asked = self._asked.pop(stream_id, None)
        if asked is None or asked.done():
            raise ApiError(404, "NotFound", "nobody waits for this stream")
        status = stream.headers.get(STATUS_HEADER, "")
        if status != "200":
            asked.set_exception(checked_refusal(self.node, status, await self._refusal_body(stream)))
            stream.respond(200, ended=True)
            return
        stream.respond(200, {"content-type": "application/octet-stream"})
        stream.on_abort = None  # from here on it belongs to whoever asked for it
        asked.set_result(stream)

    async def _refusal_body(self, stream: LinkStream) -> bytes:
        try:
            return await read_body(stream, MAX_STATUS_BYTES)
        except ApiError:
            return b""

    async def _refuse(self, stream: LinkStream, error: ApiError) -> None:
        try:
            await answer(stream, error_response(error))
            stream.reset()
        except ConnectionError:
            return  # the node gave up waiting
