"""One TLS listener for everything: after the handshake the link or HTTP/1.1 takes the connection over.

What stays true: TLS 1.3 only; a certificate that is shown must be of our CA and must not have run out; a node's key is let in only
as the roster says, on the link and over HTTP/1.1 alike; when the roster changes, open connections are closed at once. A certificate
whose time has not begun is taken: we made it, so it is our own clock that is behind, and that must not cost us the nodes.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakKeyDictionary

import msgspec

from skerry.apiserver.http.message import User
from skerry.apiserver.http.shell import user_of_certificate
from skerry.hub.frontdoor.handshakes import MAX_HANDSHAKES, Handshakes
from skerry.hub.frontdoor.requests import Handle
from skerry.hub.frontdoor.roster import Roster
from skerry.hub.frontdoor.session import EventSink, NodeSession, node_user
from skerry.hub.frontdoor.sessions import Sessions
from skerry.hub.frontdoor.strangers import Strangers, network_of
from skerry.link import ALPN, LinkConnection
from skerry.link.control import DENIED, EXPIRED, NOT_ENROLLED
from skerry.trust import TrustError, facts_of
from skerry.trust.tls import end_of

log = logging.getLogger(__name__)

NODES_GROUP = "system:nodes"
PROTOCOLS = (ALPN, "http/1.1")
MAX_STRANGERS = 1024
"""Connections without a client's certificate (browsers, tokens, nodes that ask to join): whoever has one always finds room."""


class DoorSettings(msgspec.Struct, frozen=True):
    """Where to listen, and how many may come in."""

    host: str = "127.0.0.1"
    port: int = 6443
    max_connections: int = 4096
    max_strangers: int = MAX_STRANGERS
    max_handshakes: int = MAX_HANDSHAKES


class Door:
    """The listener. `http` makes the protocol of an HTTP/1.1 connection; `handle` answers the API calls of nodes."""

    def __init__(
        self,
        settings: DoorSettings,
        context: ssl.SSLContext,
        sessions: Sessions,
        *,
        http: Callable[[], asyncio.BaseProtocol],
        handle: Handle,
        events: EventSink | None = None,
    ) -> None:
        self.settings = settings
        self.roster = sessions.roster
        self.sessions = sessions
        self._http = http
        self._handle = handle
        self._events = events
        self._handshakes = Handshakes(context, lambda: _Chooser(self), limit=settings.max_handshakes)
        self._strangers: Strangers[_Stranger] = Strangers(settings.max_strangers)
        self._refused = 0
        self._guarded: set[_Guarded] = set()
        self._open = 0

    async def start(self) -> tuple[str, int]:
        """Listen; returns the address and port that we have (the port may have been 0)."""
        await self._handshakes.open(self.settings.host, self.settings.port)
        host, port = self._handshakes.sockets[0].getsockname()[:2]
        return str(host), int(port)

    def listeners(self) -> list[str]:
        """Return `address:port` of every socket that listens."""
        return [f"{s.getsockname()[0]}:{s.getsockname()[1]}" for s in self._handshakes.sockets]

    async def stop(self) -> None:
        """Listen no more and say goodbye to every node."""
        self._handshakes.close()
        self.sessions.close()
        await asyncio.sleep(0)

    def enforce(self) -> None:
        """Close what the roster no longer allows; call it after every change of the roster."""
        self.sessions.enforce()
        for guarded in list(self._guarded):
            if self.roster.node_of(guarded.key_hash) is None:
                guarded.close()

    # What a new connection calls.

    def take(self, transport: asyncio.Transport) -> asyncio.BaseProtocol | None:
        """Choose the protocol of a connection whose handshake is done; None closes it."""
        if self._open >= self.settings.max_connections:
            return None
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == ALPN:
            return _Refusing(EXPIRED) if _has_expired(tls) else self._link(_key_hash(tls))
        if tls is None or not tls.getpeercert(binary_form=True):
            return self._stranger(network_of(str((transport.get_extra_info("peername") or ("",))[0])))
        key_hash = _node_key(tls)
        if key_hash is None:
            return _Counted(self, self._http())
        guarded = _Guarded(self, self._http(), key_hash)
        self._guarded.add(guarded)
        return guarded

    def _link(self, key_hash: str) -> LinkConnection:
        node = self.roster.node_of(key_hash)
        if node is None:
            return _Refusing(DENIED if self.roster.denied(key_hash) else NOT_ENROLLED)
        session = NodeSession(node, key_hash, handle=self._handle, events=self._events, ready=self.sessions.listen)

        def ended(reason: str) -> None:
            self.release()
            self.sessions.remove(session, reason)
            session.on_closed(reason)

        self._open += 1
        session.link = LinkConnection(client=False, on_stream=session.on_stream, on_closed=ended)
        self.sessions.add(session)
        return session.link

    def _stranger(self, network: str) -> _Stranger | None:
        """Let somebody without a certificate in, if need be in the place of another."""
        victim = self._strangers.victim(network)
        if victim is not None:
            victim.close()
        elif self._strangers.full:
            return None
        stranger = _Stranger(self, self._http())
        self._strangers.add(stranger, network)
        return stranger

    def heard(self, stranger: _Stranger) -> None:
        self._strangers.heard(stranger)

    def part_with(self, stranger: _Stranger) -> None:
        self._strangers.remove(stranger)

    def turn_away(self) -> None:
        """Say that somebody was turned away, of many one: who comes in vain must not fill the log."""
        self._refused += 1
        if self._refused.bit_count() == 1:
            facts = {"limit": self.settings.max_connections, "strangers": self.settings.max_strangers, "so_far": self._refused}
            log.warning("connection refused: too many", extra=facts)

    def count(self) -> None:
        self._open += 1

    def release(self) -> None:
        self._open -= 1

    def let_go(self, guarded: _Guarded) -> None:
        self._guarded.discard(guarded)


class _Chooser(asyncio.Protocol):
    """Stands for a connection until its handshake is done."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        protocol = self._door.take(stream)
        if protocol is None:
            self._door.turn_away()
            stream.abort()
            return
        stream.set_protocol(protocol)
        protocol.connection_made(stream)


class _Refusing(LinkConnection):
    """A link that is closed at once, with the reason, so that the node knows what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(client=False)
        self._reason = reason

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.close(self._reason)


class _Counted(asyncio.Protocol):
    """Passes everything on to the HTTP/1.1 protocol, and counts the connection."""

    def __init__(self, door: Door, inner: asyncio.BaseProtocol) -> None:
        self._door = door
        self._inner = cast("asyncio.Protocol", inner)
        self.transport: asyncio.Transport | None = None
        self.data_received = self._inner.data_received  # type: ignore[method-assign]  # one call less for every packet
        self.eof_received = self._inner.eof_received  # type: ignore[method-assign]
        self.pause_writing = self._inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = self._inner.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._door.count()
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._door.release()
        self._inner.connection_lost(error)


class _Stranger(_Counted):
    """An HTTP/1.1 connection without a client's certificate."""

    def __init__(self, door: Door, inner: asyncio.BaseProtocol) -> None:
        super().__init__(door, inner)
        self.data_received = self._first  # type: ignore[method-assign]

    def _first(self, data: bytes) -> None:
        self._door.heard(self)
        self.data_received = self._inner.data_received  # type: ignore[method-assign]
        self._inner.data_received(data)

    def close(self) -> None:
        """Make room at once; the rest follows with `connection_lost`."""
        self._door.part_with(self)
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._door.part_with(self)
        super().connection_lost(error)


class _Guarded(_Counted):
    """An HTTP/1.1 connection that shows a node's certificate: closed as soon as its key is denied."""

    def __init__(self, door: Door, inner: asyncio.BaseProtocol, key_hash: str) -> None:
        super().__init__(door, inner)
        self.key_hash = key_hash

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._door.let_go(self)
        super().connection_lost(error)


def user_by_certificate(roster: Roster, ssl_object: Any) -> User | None:
    """Return who shows this certificate over HTTP/1.1: a node by its key, anybody else by the subject."""
    user = user_of_certificate(ssl_object)
    if user is not None and _has_expired(ssl_object):
        return None
    if user is None or NODES_GROUP not in user.groups:
        return user
    node = roster.node_of(_key_hash(ssl_object))
    return node_user(node) if node is not None else None


_ends: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
"""When the certificates of open connections run out, in seconds since 1970: they are asked for with every request."""


def _has_expired(tls: Any) -> bool:
    """Whether the peer shows a certificate that has run out by our clock."""
    ends = _ends.get(tls) if tls is not None else None
    if ends is None:
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        if der is None:
            return False
        ends = _ends[tls] = end_of(der).timestamp()
    return ends < time.time()


def _key_hash(tls: Any) -> str:
    """Return the hash of the peer's key, "" without a certificate (which no Enrollment has)."""
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    try:
        return facts_of(der).key_hash if der else ""
    except TrustError:
        return ""


def _node_key(tls: Any) -> str | None:
    """Return the key's hash when the peer shows a node's certificate over HTTP/1.1."""
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    if not der:
        return None
    try:
        facts = facts_of(der)
    except TrustError:
        return None
    return facts.key_hash if NODES_GROUP in facts.organizations else None
