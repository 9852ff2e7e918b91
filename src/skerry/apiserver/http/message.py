"""A request and its answer, free of any framework: what the HTTP shell, the node's link and tests hand to the dispatcher."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. `node` is set only by the front door, for a node that proved its key."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    node: str = ""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is decoded once and normalised, before authorisation; `query` is raw; header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    user: User


@dataclass(frozen=True, slots=True)
class Response:
    """`body` is bytes, or a stream that is flushed at each item; header names as they go on the wire."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""
