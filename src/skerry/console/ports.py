"""What the console needs of others, and what it is asked and answers, as shapes: it imports nobody but the model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from skerry.model.objects import Object


class Request(Protocol):
    """`path` is decoded and normalised, `query` is raw, header names are lower-case."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Response(msgspec.Struct, frozen=True):
    """`body` is bytes, or a stream that is flushed at each item."""

    status: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


class ObjectCollection(Protocol):
    """A collection that is kept up to date; a kube.Informer is one. Objects are shared: nobody modifies them."""

    def objects(self) -> Collection[Object]: ...

    def subscribe(self, subscriber: Callable[[Any], None], /) -> None:
        """Call *subscriber* at every change; what it is called with is not looked at."""
        ...


class LoggedEvent(Protocol):
    """One stored event: the hub's sequence, the node it came from, its structured JSON."""

    @property
    def sequence(self) -> int: ...
    @property
    def node(self) -> str: ...
    @property
    def raw(self) -> bytes: ...


class EventLog(Protocol):
    """The hub's event log; an events.HubLog is one."""

    @property
    def newest(self) -> int: ...

    async def oldest(self) -> int: ...

    async def page(self, after: int | None = None, *, limit: int = ...) -> Sequence[LoggedEvent]: ...

    async def wait_newer(self, than: int) -> None: ...


class Twins(Protocol):
    """Live values, asked of the node that has the device."""

    def watch(self, node: str, namespace: str, name: str) -> AsyncIterator[Object]:
        """Yield the DeviceTwin now and whenever it changes; raises ConnectionError or a model ApiError when it cannot."""
        ...


class Sources(msgspec.Struct, frozen=True):
    """Where everything that is shown comes from."""

    nodes: ObjectCollection
    pods: ObjectCollection
    sites: ObjectCollection
    devices: ObjectCollection
    profiles: ObjectCollection
    events: EventLog
    twins: Twins
