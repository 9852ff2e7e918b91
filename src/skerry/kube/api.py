"""The one way to talk to a Kubernetes API: over HTTP, over the node's link, or straight into the embedded server.

Errors are `skerry.model.errors.ApiError`; a lost connection is `ConnectionError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from skerry.model.objects import Object
from skerry.model.resources import Resource

PatchType = Literal["json", "merge", "strategic"]
Propagation = Literal["Background", "Foreground", "Orphan"]


class Origin(msgspec.Struct, frozen=True):
    """Which cluster answered, and in which life: a restored backup starts a new epoch. "" when the server does not say.

    On the wire: the response headers `Skerry-Cluster` (UID of namespace kube-system) and `Skerry-Epoch`.
    """

    cluster: str = ""
    epoch: str = ""


class ObjectList(msgspec.Struct, frozen=True):
    """A LIST: `revision` is where a watch goes on."""

    items: Sequence[Object]
    revision: str
    origin: Origin = msgspec.field(default_factory=Origin)


class WatchEvent(msgspec.Struct, frozen=True):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK; an ERROR is raised as ApiError instead."""

    type: str
    object: Object
    origin: Origin = msgspec.field(default_factory=Origin)


class Served(msgspec.Struct, frozen=True):
    """A resource that the server has, and the verbs that it allows on it (`list`, `delete`, ...)."""

    resource: Resource
    verbs: frozenset[str]


class Api(Protocol):
    """What controllers, the node and the command line need of an API server."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Object: ...

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> ObjectList:
        """List one namespace, or all with ""; *labels* and *fields* are selectors as on the command line."""
        ...

    def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", revision: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happened after *revision*; ends when the server ends it; ApiError 410 means list again."""
        ...

    async def create(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """POST to the collection; with *subresource* (binding, eviction) to that of the object which `metadata` names."""
        ...

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """PUT: the object's resourceVersion, when set, must still be the stored one (409 Conflict)."""
        ...

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        *,
        form: PatchType = "merge",
        subresource: str = "",
    ) -> Object: ...

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_s: int | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        """Delete, or begin to (finalizers, grace); *uid* is a precondition (409 Conflict)."""
        ...


class Discovery(Protocol):
    """What the garbage collector and the namespace controller need besides: which resources there are, CRDs included."""

    async def discover(self) -> Sequence[Served]: ...


class ClusterApi(Api, Discovery, Protocol):
    """An Api that can also tell what it serves."""


class TransportResponse(Protocol):
    """An answer whose body has not been read yet. `headers` are lower-case."""

    status: int
    headers: Mapping[str, str]

    async def read(self, *, limit_bytes: int) -> bytes:
        """Return the whole body; raises ConnectionError when it is cut or longer than the limit."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        ...

    async def close(self) -> None: ...


class Transport(Protocol):
    """Carries one HTTP exchange: aiohttp for a kubeconfig, the link for a node. Raises ConnectionError."""

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> TransportResponse: ...
