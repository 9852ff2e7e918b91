"""The node's MQTT listener: sockets around `Session`, and who may come in.

What must stay true: a message is acknowledged after its handler said that it is stored; memory per client and in all is
bounded, by not reading on; plain TCP is spoken on loopback addresses only; a wrong password, an unknown device and one of
another node get the same answer, after the same time.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from skerry.drivers.mqtt import Topic
from skerry.node.mqtt.session import CONNECT_WITHIN_S, Ended, Knock, Listening, Message, Session, State
from skerry.node.mqtt.tls import listener_context

log = logging.getLogger(__name__)

MAX_CLIENTS = 4096
MAX_STRANGERS = 256
"""Connections that have not proved who they are."""
UNSTORED_MESSAGES = 2048
UNSTORED_BYTES = 4 << 20
"""What may wait for the disk, of one client and of all: then no more is read."""
REFUSED_AFTER_S = 0.5
TLS_GOODBYE_S = 2.0
SWEEP_S = 1.0
GOODBYE_S = 5.0
"""A client that does not read its last bytes is cut off after this."""

Done = Callable[[Exception | None], None]


class Handler(Protocol):
    """What a device's messages go to. `message` calls *done* when it is stored, with the error if it never will be."""

    def arrived(self) -> None: ...

    def heard(self) -> None: ...

    def message(self, topic: Topic, payload: bytes, *, again: bool, done: Done) -> None: ...

    def desired(self) -> bytes: ...

    def left(self, why: str) -> None: ...


class ListenError(OSError):
    """The listener cannot be opened as it is configured; the message says what to change."""


class MqttListener:
    """Accepts the devices that were given to `serve`."""

    def __init__(self) -> None:
        self._devices: dict[str, tuple[str, Handler]] = {}
        self._clients: set[_Client] = set()
        self._sessions: dict[str, _Client] = {}
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self.unstored_bytes = 0
        self.problem = ""
        """Why the listener could not be opened the last time, "" when it could."""

    async def open(self, host: str, port: int, *, certificate: str = "", key: str = "") -> None:
        """Listen; raises ListenError. *certificate* and *key* are PEM files; without them only a loopback address is served."""
        try:
            await self._open(host, port, _tls(certificate, key))
        except ListenError as error:
            self.problem = str(error)
            raise
        self.problem = ""

    async def _open(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        if tls is None and not _is_loopback(host):
            raise ListenError(
                f"MQTT without TLS is only for loopback addresses, not {host}: give --mqtt-tls-cert and --mqtt-tls-key, "
                "or another --mqtt-listen, when the node joins (or in its node.json)"
            )
        loop = asyncio.get_running_loop()
        try:
            shake_s, goodbye_s = (CONNECT_WITHIN_S, TLS_GOODBYE_S) if tls is not None else (None, None)
            self._server = await loop.create_server(
                lambda: _Client(self), host, port, ssl=tls, ssl_handshake_timeout=shake_s, ssl_shutdown_timeout=goodbye_s
            )
        except OSError as error:
            raise ListenError(f"cannot listen for MQTT on {host}:{port}: {error.strerror or error}") from error
        self._sweeping = loop.call_later(SWEEP_S, self._sweep)
        log.info("MQTT listener opened", extra={"address": host, "port": self.port, "tls": tls is not None})

    @property
    def port(self) -> int:
        """The real port, also when 0 was asked for; 0 while closed."""
        sockets = self._server.sockets if self._server else ()
        return int(sockets[0].getsockname()[1]) if sockets else 0

    async def close(self) -> None:
        """Hang up on everybody."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._server is not None:
            self._server.close()
            for client in list(self._clients):
                client.hang_up("the listener closes")
            await self._server.wait_closed()
            self._server = None
        await asyncio.sleep(0)

    # ------------------------------------------------------------ devices

    def serve(self, device: str, password: str, handler: Handler) -> None:
        """Let *device* (`namespace/name`) in with *password*; an empty password lets nobody in."""
        self.dismiss(device)
        self._devices[device] = (password, handler)

    def dismiss(self, device: str) -> None:
        """No longer let *device* in, and hang up on it."""
        known = self._devices.pop(device, None)
        client = self._sessions.get(device)
        if known and client is not None:
            client.hang_up("the device is no longer served here")

    def desire(self, device: str) -> None:
        """The desired values changed: send them if the device listens."""
        client, known = self._sessions.get(device), self._devices.get(device)
        if client is not None and known is not None and client.session.listens:
            client.session.desire(known[1].desired())

    # ------------------------------------------------------------ for the clients

    def enter(self, client: _Client) -> bool:
        """Let a connection in; of those that have not said who they are the oldest makes room, since a device says it at once."""
        strangers = [c for c in self._clients if c.session.state is not State.OPEN]
        if len(strangers) >= MAX_STRANGERS:
            min(strangers, key=lambda c: c.session.dead_at()).hang_up("it has not said who it is, and others wait")
        if len(self._clients) >= MAX_CLIENTS:
            log.warning("MQTT client turned away", extra={"clients": len(self._clients)})
            return False
        self._clients.add(client)
        return True

    def judge(self, knock: Knock) -> Handler | None:
        """Return the handler of the device that *knock* proves to be."""
        password, handler = self._devices.get(knock.username, ("", None))
        right = hmac.compare_digest(password.encode(), knock.password)
        return handler if right and password else None

    def settle_in(self, device: str, client: _Client) -> None:
        """The device's newest connection is the one that counts."""
        older = self._sessions.get(device)
        self._sessions[device] = client
        if older is not None:
            older.hang_up("the device connected again")

    def leave(self, client: _Client) -> bool:
        """Forget a client; says whether it was its device's newest."""
        self._clients.discard(client)
        if self._sessions.get(client.session.device) is client:
            del self._sessions[client.session.device]
            return True
        return False

    def moved(self, size: int) -> None:
        """Count bytes that wait for the disk, and let clients go on when there is room again."""
        was_full, self.unstored_bytes = self.full, self.unstored_bytes + size
        if was_full and not self.full:
            for client in self._clients:
                client.go_on()

    @property
    def full(self) -> bool:
        return self.unstored_bytes > UNSTORED_BYTES

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for client in [c for c in self._clients if c.session.dead_at() < now]:
            client.hang_up("the client was silent for too long")
        self._sweeping = loop.call_later(SWEEP_S, self._sweep)


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, listener: MqttListener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._handler: Handler | None = None
        self._out = bytearray()
        self._paused = False
        self._ended = False
        self.session = Session(now=self._loop.time(), send=self._send)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._listener.enter(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        for event in self.session.receive(data, self._loop.time()):
            match event:
                case Message():
                    self._on_message(event)
                case Knock():
                    self._on_knock(event)
                case Listening():
                    if self._handler is not None:
                        self.session.desire(self._handler.desired())
                case Ended():
                    self._finish(event)
        if self._handler is not None:
            self._handler.heard()
        if not self._paused and (self.session.unstored > UNSTORED_MESSAGES or self._listener.full) and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _on_knock(self, knock: Knock) -> None:
        handler = self._listener.judge(knock)
        if handler is None:
            log.warning("MQTT client refused", extra={"user": ascii(knock.username)[:128], "peer": self._peer()})
            self._loop.call_later(REFUSED_AFTER_S, self._refuse)
            return
        self._handler = handler
        self._listener.settle_in(knock.username, self)
        self.session.admit(knock.username)
        handler.arrived()

    def _refuse(self) -> None:
        if not self._ended:
            self._finish(self.session.refuse(4, "wrong user or password"))

    def _on_message(self, message: Message) -> None:
        size = len(message.payload) + 128
        self._listener.moved(size)

        def done(error: Exception | None) -> None:
            self._listener.moved(-size)
            if error is not None:
                self.hang_up(f"a message could not be stored: {error}")
                return
            self.session.stored(message.token)
            self.go_on()

        assert self._handler is not None
        try:
            self._handler.message(message.topic, message.payload, again=message.again, done=done)
        except Exception as error:
            log.exception("MQTT message not handled", extra={"device": self.session.device})
            done(error)

    def go_on(self) -> None:
        """Read again when there is room."""
        if self._paused and self._transport is not None and self.session.unstored < UNSTORED_MESSAGES // 2 and not self._listener.full:
            self._paused = False
            self._transport.resume_reading()

    def _send(self, data: bytes) -> None:
        """Gather what is to be sent in this step into one write."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += data

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(bytes(self._out))
        self._out.clear()

    def pause_writing(self) -> None:
        """The client does not read its acknowledgements: give it up, or they would pile up here."""
        self.hang_up("the client does not read")

    def hang_up(self, why: str) -> None:
        if not self._ended:
            self._finish(self.session.end(why))

    def _finish(self, event: Ended) -> None:
        if self._ended:
            return
        self._ended = True
        newest = self._listener.leave(self)
        self._flush()
        if self._transport is not None:
            self._transport.close()
            self._loop.call_later(GOODBYE_S, self._transport.abort)
        if self._handler is None:
            log.debug("MQTT client left", extra={"peer": self._peer(), "why": event.why})
            return
        if event.will is not None:
            self._handler.message(event.will[0], event.will[1], again=False, done=lambda _: None)
        if newest:
            self._handler.left(event.why)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self._finish(self.session.end(f"the connection was lost{f': {exc}' if exc else ''}"))

    def _peer(self) -> str:
        return str(self._transport.get_extra_info("peername")) if self._transport else ""


def _tls(certificate: str, key: str) -> ssl.SSLContext | None:
    if not certificate:
        return None
    try:
        return listener_context(Path(certificate), Path(key or certificate))
    except OSError as error:
        raise ListenError(f"MQTT over TLS cannot use certificate {certificate} with key {key or certificate}: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
