"""A request and its answer, free of any framework: what the HTTP shell, the node's link and tests hand to the dispatcher."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol

import msgspec


class User(msgspec.Struct, frozen=True):
    """Who asks. `node` is set only by the front door, for a node that proved its key."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    node: str = ""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Request(msgspec.Struct, frozen=True):
    """`path` is decoded once and normalised, before authorisation; `query` is raw; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    user: User
    peer: str = ""
    """The client's address, where there is one."""


class WebSocket(Protocol):
    """One open WebSocket; `protocol` is the sub-protocol that was agreed on."""

    @property
    def protocol(self) -> str: ...

    async def receive(self) -> bytes | None:
        """Return the next message's bytes, or None once the peer is gone."""
        ...

    async def send(self, data: bytes) -> None:
        """Send one binary message; raises ConnectionError when the peer is gone."""
        ...

    async def close(self, code: int = 1000) -> None: ...


class Upgrade(msgspec.Struct, frozen=True):
    """Instead of a body: become a WebSocket with the first of *protocols* that the client offers.

    Either `serve` is called, or `abandon` when no WebSocket comes of it.
    """

    protocols: tuple[str, ...]
    serve: Callable[[WebSocket], Awaitable[None]]
    abandon: Callable[[], None]


Headers = Mapping[str, str | tuple[str, ...]]


def pairs(headers: Headers) -> list[tuple[str, str]]:
    """Return headers as lines: one that has several values makes several."""
    return [(name, one) for name, value in headers.items() for one in ((value,) if isinstance(value, str) else value)]


class Response(msgspec.Struct, frozen=True):
    """`body` is bytes, or a stream that is flushed at each item; header names as they go on the wire, a line for each value."""

    status: int
    headers: Headers = msgspec.field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""
    upgrade: Upgrade | None = None
