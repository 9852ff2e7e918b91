"""Keeps the link to the hub up, and carries everything that the node and its hub say to each other.

What stays true: the node dials, nobody dials it; whatever answers and is not our hub counts as offline; being offline
never stops anything; a certificate that ran out or is about to is renewed with the same key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from skerry.link import ALPN, NODE_LIMITS, LinkClosedError, LinkConnection, LinkStream
from skerry.link.control import CONTROL_PATH, Open, Ping, Reader
from skerry.model.chance import fraction
from skerry.model.errors import ApiError, unavailable
from skerry.node.connection.answering import AnsweringStream
from skerry.node.connection.backoff import retry_delay_s
from skerry.node.connection.refusals import refusal_of
from skerry.node.identity.dialing import dial, wire_name
from skerry.node.identity.folder import Identity, StateFolder
from skerry.node.identity.hub_address import HubAddress
from skerry.trust import TrustError, Workshop, WorkshopError
from skerry.trust.tls import client_context

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any], AnsweringStream], Awaitable[None]]

CONNECT_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 60.0
"""Seconds until the head of an answer must be there; a watch answers at once and then goes on."""
CONTROL_SILENCE_S = 35.0
"""The hub says something every 10 s on the control stream; a hub that is silent there is not working."""
MAX_STREAMS = 64
"""Streams that the hub asked for, served at once."""
RENEW_EVERY_S = 3600.0
"""Seconds between two tries to renew: a clock that is decades off must not make us ask all the time."""


class HubOfflineError(ConnectionError):
    """There is no link now; it will come back by itself."""


class LinkResponse:
    """An answer on the link (`kube.TransportResponse`)."""

    def __init__(self, stream: LinkStream) -> None:
        self._stream = stream
        self.status = stream.status
        self.headers: Mapping[str, str] = stream.headers

    async def read(self, *, limit_bytes: int) -> bytes:
        return await self._stream.read(limit_bytes=limit_bytes)

    async def chunks(self) -> AsyncIterator[bytes]:
        while (data := await self._stream.receive()) is not None:
            yield data

    async def close(self) -> None:
        self._stream.reset()


class HubLink:
    """The node's way to its hub (`kube.Transport`). `run` keeps it up; `handle` says who serves what the hub asks for."""

    def __init__(self, folder: StateFolder, identity: Identity, workshop: Workshop) -> None:
        self._folder = folder
        self._identity = identity
        self._workshop = workshop
        self._address = HubAddress.parse(identity.settings.hub)
        self._handlers: dict[str, Handler] = {}
        self._link: LinkConnection | None = None
        self._up = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()
        self._renewed_at: float | None = None
        self._local_address = ""

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def local_address(self) -> str:
        """Our end's address of the last link: the one that leads to the hub. "" until there was one."""
        return self._local_address

    async def wait_connected(self) -> None:
        """Return as soon as there is a link."""
        await self._up.wait()

    def handle(self, kind: str, handler: Handler) -> None:
        """Serve streams of *kind* (logs, exec, twin, ...) with *handler*; once for each kind."""
        if kind in self._handlers:
            raise ValueError(f"streams of kind {kind!r} have a handler already")
        self._handlers[kind] = handler

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> LinkResponse:
        """Carry one HTTP exchange; raises HubOfflineError at once when there is no link, LinkClosedError when it breaks."""
        if self._link is None:
            raise HubOfflineError("there is no link to the hub now")
        lowered = {k.lower(): v for k, v in (headers or {}).items()}
        stream = self._link.open_stream(method, path, headers=lowered, ended=not body)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                if body:
                    await stream.send(body, ended=True)
                await stream.response()
        except TimeoutError as error:
            stream.reset()
            raise LinkClosedError(f"the hub did not answer {method} {path} within {ANSWER_TIMEOUT_S:.0f} s") from error
        except BaseException:
            stream.reset()
            raise
        return LinkResponse(stream)

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        loop = asyncio.get_running_loop()
        down_since, told = loop.time(), False
        try:
            while True:
                await self._renew_if_due()
                reason, stood_s = await self._connect_and_serve()
                if stood_s > 0:
                    down_since, told = loop.time(), False
                if not told:
                    log.warning("hub offline", extra={"hub": str(self._address), "reason": reason})
                    told = True
                refusal = refusal_of(reason)
                if refusal is not None:
                    await self._renew(why=refusal.value)
                outage_s = loop.time() - down_since
                await asyncio.sleep(retry_delay_s(outage_s, refused=refusal is not None or 0 < stood_s < 5, jitter=fraction()))
        finally:
            await self._end_answering()

    async def _connect_and_serve(self) -> tuple[str, float]:
        """Return why there is no link (any more), and how many seconds it stood."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                link = await self._dial()
        except TimeoutError:
            return f"it did not answer within {CONNECT_TIMEOUT_S:.0f} s", 0.0
        except (OSError, TrustError) as error:  # ssl.SSLError is an OSError
            return str(error) or type(error).__name__, 0.0
        began, reason = loop.time(), "the node ends"
        try:
            control = link.open_stream("GET", CONTROL_PATH)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                status = await control.response()
            if status != 200:
                return f"it refused the control stream with {status}", 0.0
            self._begin(link)
            began = loop.time()
            await self._obey(link, control)
            reason = "it ended the control stream"
        except TimeoutError:
            reason = "its control stream fell silent"
        except ConnectionError as error:
            reason = str(error)
        finally:
            up = self._link is not None
            self._link = None
            self._up.clear()
            link.close(reason)
        return reason, max(loop.time() - began, 0.001) if up else 0.0

    async def _dial(self) -> LinkConnection:
        context = client_context(
            self._identity.ca, certificate=self._folder.certificate, key=self._folder.key, protocols=[ALPN], dates=False
        )
        connected = await dial(self._address.host, self._address.port, remembered=self._folder.path / "hub-address")
        name = wire_name(self._address.host)  # bytes are taken as they are; a str is looked up in tables of 0.4 MiB
        transport, link = await asyncio.get_running_loop().create_connection(
            lambda: LinkConnection(client=True, limits=NODE_LIMITS), sock=connected, ssl=context, server_hostname=cast("str", name)
        )
        tls = transport.get_extra_info("ssl_object")
        if tls is None or tls.selected_alpn_protocol() != ALPN:
            link.close("not a skerry hub")
            raise ConnectionError("what answers does not speak skerry's link protocol: another server, or a proxy in between")
        self._local_address = str(transport.get_extra_info("sockname")[0])
        return link

    def _begin(self, link: LinkConnection) -> None:
        self._link = link
        self._up.set()
        log.info("hub connected", extra={"hub": str(self._address), "node": self._identity.name})

    async def _obey(self, link: LinkConnection, control: LinkStream) -> None:
        """Do what comes on the control stream until it ends."""
        reader = Reader()
        while True:
            async with asyncio.timeout(CONTROL_SILENCE_S):
                data = await control.receive()
            if data is None:
                return
            for message in reader.feed(data):
                match message:
                    case Ping():
                        pass
                    case Open():
                        self._answer(link, message)

    def _answer(self, link: LinkConnection, wanted: Open) -> None:
        task = asyncio.ensure_future(self._serve(AnsweringStream(link, wanted.stream), wanted))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _serve(self, stream: AnsweringStream, wanted: Open) -> None:
        handler = self._handlers.get(wanted.kind)
        try:
            if handler is None:
                raise ApiError(501, "NotImplemented", f"node {self._identity.name} serves no streams of kind {wanted.kind!r}")
            if len(self._answering) > MAX_STREAMS:
                raise unavailable(f"node {self._identity.name} serves {MAX_STREAMS} streams already")
            await handler(wanted.params, stream)
            await stream.end()
        except ApiError as error:
            await self._refuse(stream, error)
        except (ConnectionError, asyncio.CancelledError):
            stream.reset()
        except Exception as error:
            log.exception("a stream failed", extra={"kind": wanted.kind})
            await self._refuse(stream, ApiError(500, "InternalError", f"node {self._identity.name} failed: {type(error).__name__}"))

    async def _refuse(self, stream: AnsweringStream, error: ApiError) -> None:
        if stream.accepted:
            stream.reset()
            return
        try:
            await stream.refuse(error)
        except ConnectionError:
            return  # nobody waits for the answer any more

    async def _end_answering(self) -> None:
        left = list(self._answering)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _renew_if_due(self) -> None:
        if renewal_due(self._identity.certificate.not_before, self._identity.certificate.not_after, datetime.now(UTC)):
            await self._renew(why="it runs out")

    async def _renew(self, *, why: str) -> None:
        """Ask for our certificate again with the same key, at most once in a while; failures are logged and forgotten."""
        now = asyncio.get_running_loop().time()
        if self._renewed_at is not None and now - self._renewed_at < (60.0 if why != "it runs out" else RENEW_EVERY_S):
            return
        self._renewed_at = now
        from skerry.node.identity.joining import RefusedError, ask  # once in months

        try:
            answer = await ask(self._folder, self._identity.settings, self._identity.ca, self._workshop)
            if answer.certificate:
                self._identity = self._folder.load()
            log.info("asked for our certificate again", extra={"why": why, "phase": answer.phase})
        except (RefusedError, ConnectionError, WorkshopError, TrustError) as error:
            log.warning("our certificate was not renewed", extra={"why": why, "reason": str(error)})

    async def keep_fresh(self) -> None:
        """While the link stands, look once an hour whether the certificate should be renewed; runs until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S * (0.9 + 0.2 * fraction()))
            if self.connected:
                await self._renew_if_due()


def renewal_due(not_before: datetime, not_after: datetime, now: datetime) -> bool:
    """Whether two thirds of a certificate's life have passed, or the clock says that it is not valid at all."""
    lifetime: timedelta = not_after - not_before
    return now >= not_before + lifetime * 2 / 3
