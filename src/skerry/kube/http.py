"""The Api over HTTP: JSON requests on any Transport, one answer or one stream of lines each.

Nothing is unbounded: a body, a list page and a watch line have limits. An answer that is not Kubernetes' (a captive
portal's page, a proxy's error) counts as a lost connection, never as data.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from skerry.kube.api import ObjectList, Origin, PatchType, Propagation, Served, Transport, TransportResponse, WatchEvent
from skerry.kube.discovery import DISCOVERY_TYPE, parse_discovery
from skerry.kube.lines import split_lines
from skerry.model.errors import ApiError
from skerry.model.objects import Object, name_of
from skerry.model.resources import Resource
from skerry.model.unreadable import NOT_JSON

PAGE = 500
"""Objects a LIST asks for at once: what client-go uses; it bounds the memory of one answer."""

BODY_LIMIT_BYTES = 32 * 2**20
"""An answer may not be longer: 500 objects near the server's size limit would be, and are refused loudly."""

EVENT_LIMIT_BYTES = 4 * 2**20
"""One watch event: the server takes bodies up to 3 MiB."""

_JSON = "application/json"
_PATCH_TYPES: Mapping[str, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


class HttpApi:
    """Implements `ClusterApi` over a Transport; stateless, so one serves any number of tasks."""

    def __init__(self, transport: Transport, *, body_limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        self._transport = transport
        self._body_limit_bytes = body_limit_bytes

    async def discover(self) -> Sequence[Served]:
        found: list[Served] = []
        for path in ("/api", "/apis"):
            answer, _ = await self._ask("GET", path, accept=DISCOVERY_TYPE)
            found += parse_discovery(answer)
        return found

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        answer, _ = await self._ask("GET", resource.path(namespace, name))
        return answer

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> ObjectList:
        items: list[Object] = []
        more: dict[str, str] = {"limit": str(PAGE)}
        while True:
            path = _with_query(resource.path(namespace), labelSelector=labels, fieldSelector=fields, **more)
            page, origin = await self._ask("GET", path)
            items += [_complete(resource, item) for item in page.get("items") or ()]
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return ObjectList(items, str(meta.get("resourceVersion") or ""), origin)
            more = {"limit": str(PAGE), "continue": meta["continue"]}

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", revision: str = ""
    ) -> AsyncIterator[WatchEvent]:
        query = {"labelSelector": labels, "fieldSelector": fields, "resourceVersion": revision}
        path = _with_query(resource.path(namespace), watch="true", allowWatchBookmarks="true", **query)
        response = await self._transport.request("GET", path, headers={"accept": _JSON})
        try:
            await self._raise_for_status(response)
            origin = _origin(response)
            async for line in split_lines(response.chunks(), limit_bytes=EVENT_LIMIT_BYTES):
                yield _event(line, origin)
        finally:
            await response.close()

    async def create(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        namespace, name = name_of(obj)
        path = resource.path(namespace, name, subresource) if subresource else resource.path(namespace)
        answer, _ = await self._ask("POST", path, body=obj)
        return answer

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        namespace, name = name_of(obj)
        answer, _ = await self._ask("PUT", resource.path(namespace, name, subresource), body=obj)
        return answer

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        *,
        form: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        path = resource.path(namespace, name, subresource)
        answer, _ = await self._ask("PATCH", path, body=patch, content_type=_PATCH_TYPES[form])
        return answer

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
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        if propagation is not None:
            options["propagationPolicy"] = propagation
        await self._ask("DELETE", resource.path(namespace, name), body=options)

    async def _ask(
        self, method: str, path: str, *, body: Any = None, content_type: str = _JSON, accept: str = _JSON
    ) -> tuple[Object, Origin]:
        headers = {"accept": accept}
        if body is not None:
            headers["content-type"] = content_type
        encoded = b"" if body is None else msgspec.json.encode(body)
        response = await self._transport.request(method, path, headers=headers, body=encoded)
        try:
            await self._raise_for_status(response)
            return _decode(await response.read(limit_bytes=self._body_limit_bytes), f"{method} {path}"), _origin(response)
        finally:
            await response.close()

    async def _raise_for_status(self, response: TransportResponse) -> None:
        if 200 <= response.status < 300:
            return
        raise _error(response.status, await response.read(limit_bytes=self._body_limit_bytes))


def _with_query(path: str, **query: str) -> str:
    text = urlencode({k: v for k, v in query.items() if v})
    return f"{path}?{text}" if text else path


def _origin(response: TransportResponse) -> Origin:
    return Origin(response.headers.get("skerry-cluster", ""), response.headers.get("skerry-epoch", ""))


def _complete(resource: Resource, item: Object) -> Object:
    """Return the list item as an object of its own: items of built-in kinds come without their type."""
    if "kind" in item:
        return item
    return {"apiVersion": resource.api_version, "kind": resource.kind, **item}


def _decode(data: bytes, what: str) -> Object:
    try:
        found = msgspec.json.decode(data)
    except NOT_JSON as error:
        raise ConnectionError(f"{what} was answered with {len(data)} bytes that are not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConnectionError(f"{what} was answered with JSON that is not an object")
    return found


def _error(code: int, body: bytes) -> Exception:
    """Return the ApiError of a Status, or a ConnectionError when something else than an API server answered."""
    with contextlib.suppress(*NOT_JSON, ValueError):
        status = msgspec.json.decode(body)
        if isinstance(status, dict) and status.get("kind") == "Status":
            return ApiError.from_status({"code": code, **status})
    if code == 404:  # a group that is not served is answered in plain text
        return ApiError(404, "NotFound", "the server could not find the requested resource")
    return ConnectionError(f"HTTP status {code} without a Kubernetes Status: this is not the API, or it is not ready")


def _event(line: bytes, origin: Origin) -> WatchEvent:
    event = _decode(line, "a watch")
    kind, obj = event.get("type"), event.get("object")
    if not isinstance(kind, str) or not isinstance(obj, dict):
        raise ConnectionError("a watch sent a line that is not an event")
    if kind == "ERROR":
        raise ApiError.from_status(obj)
    return WatchEvent(kind, obj, origin)
