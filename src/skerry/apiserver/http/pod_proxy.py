"""`pods/NAME/proxy/...` and `services/NAME/proxy/...`: one HTTP request to a Pod's port, through the connection its node dialled.

What stays true: nothing of the client's credentials goes to the Pod (cookies, tokens, impersonation), nothing that the Pod says is
taken for the hub's own (cookies are dropped, pages have no origin here), a redirect is handed on and never followed, an upgrade is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple
from urllib.parse import quote

import h11

from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.resources import Call, Resources
from skerry.apiserver.registry.below import admit_below
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.streams import Held, NodeStream, NodeStreams
from skerry.model.errors import ApiError, bad_request, not_found
from skerry.model.objects import Object, dig, labels_of
from skerry.model.resources import ENDPOINTSLICES, PODS, SERVICES

HEAD_TIMEOUT_S = 60.0
_NOT_TOLD = frozenset(
    (
        "authorization", "connection", "content-length", "cookie", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "accept-encoding",
    )
)  # fmt: skip
_NOT_HANDED_ON = frozenset(
    (
        b"connection", b"content-length", b"keep-alive", b"set-cookie", b"trailer", b"transfer-encoding", b"upgrade",
        b"alt-svc", b"clear-site-data", b"strict-transport-security", b"www-authenticate",
    )
)  # fmt: skip
"""The last four a browser takes for the hub's: a Pod could end the console's session with one, or ask for a password with another."""
_SANDBOX = "sandbox allow-forms allow-popups allow-scripts"
"""A page of a Pod that a browser shows must not act as whoever looks at it."""


class Place(NamedTuple):
    """Who is meant: `[scheme:]name[:port]` of the path."""

    name: str
    port: str


def place_of(text: str) -> Place:
    """Read the name in the path; ApiError 400."""
    parts = text.split(":")
    if len(parts) == 3:
        if parts[0] not in ("", "http"):
            raise bad_request(f"scheme {parts[0]!r}: a Pod is only asked with http; use kubectl port-forward for TLS")
        parts = parts[1:]
    if len(parts) > 2 or not parts[0]:
        raise bad_request(f"invalid request {text!r}: it must be name, name:port or http:name:port")
    return Place(parts[0], parts[1] if len(parts) == 2 else "")


def port_of_pod(pod: Object, wanted: str) -> int:
    """Return the port that *wanted* names (a number, a name, or "" for the first that the Pod declares); ApiError 400. Pure."""
    declared: list[Any] = [p for c in dig(pod, "spec", "containers", default=[]) for p in c.get("ports") or ()]
    if wanted.isascii() and wanted.isdigit() and 0 < int(wanted) < 1 << 16:
        return int(wanted)
    found = [p["containerPort"] for p in declared if not wanted or p.get("name") == wanted]
    if not found:
        name = dig(pod, "metadata", "name")
        what = f"declares no port named {wanted!r}" if wanted else "declares no port: name one, as in NAME:8080"
        raise bad_request(f"pod {name} {what}")
    return int(found[0])


class PodProxy:
    """The handlers of pods/proxy and services/proxy."""

    def __init__(self, registry: Registry, streams: NodeStreams) -> None:
        self._registry, self._streams = registry, streams

    def add_to(self, resources: Resources) -> None:
        resources.add("pods", "proxy", self.pod)
        resources.add("services", "proxy", self.service)

    async def pod(self, call: Call) -> Response:
        """Any method on pods/NAME/proxy/...: ask the Pod."""
        place = place_of(call.target.name)
        pod = self._registry.lookup(PODS, call.target.namespace, place.name)
        if pod is None:
            raise not_found("pods", "", place.name)
        return await self._ask(call, pod, port_of_pod(pod, place.port))

    async def service(self, call: Call) -> Response:
        """Any method on services/NAME/proxy/...: ask one of the Pods behind the Service."""
        place = place_of(call.target.name)
        service = self._registry.lookup(SERVICES, call.target.namespace, place.name)
        if service is None:
            raise not_found("services", "", place.name)
        pod, port = self._behind(service, place)
        return await self._ask(call, pod, port)

    def _behind(self, service: Object, place: Place) -> tuple[Object, int]:
        """Return a ready Pod of the Service and its port; ApiError 503 when there is none."""
        namespace, name = service["metadata"]["namespace"], place.name
        wanted = _service_port(service, place.port)
        for record in self._registry.store.list(ENDPOINTSLICES.key, namespace).records:
            slice_: Object = decode(record.value)
            if labels_of(slice_).get("kubernetes.io/service-name") != name:
                continue
            port: Any = next((p["port"] for p in slice_.get("ports") or () if (p.get("name") or "") == wanted), None)
            for endpoint in slice_.get("endpoints") or () if port else ():
                target = endpoint.get("targetRef") or {}
                ready = dig(endpoint, "conditions", "ready", default=True)
                pod = self._registry.lookup(PODS, namespace, target.get("name") or "") if ready and target.get("kind") == "Pod" else None
                if pod is not None:
                    return pod, int(port)
        raise ApiError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')

    async def _ask(self, call: Call, pod: Object, port: int) -> Response:
        request = call.request
        if request.headers.get("upgrade"):
            raise bad_request("upgrades are not proxied: use kubectl port-forward")
        target, write = call.target, WriteOptions(request.user, warnings=call.warnings)
        asked = {"path": target.rest} if target.rest else {}
        await admit_below(self._registry, call.kind, target.namespace, target.name, asked, write, subresource="proxy", operation="CONNECT")
        node, meta = dig(pod, "spec", "nodeName", default=""), pod["metadata"]
        if not node:
            raise bad_request(f"pod {meta['name']} does not have a host assigned")
        params = {k: meta.get(k, "") for k in ("namespace", "name", "uid")}
        stream = await self._streams.open(node, "forward", {**params, "port": port})
        try:
            return await _exchange(stream, request, call.target.rest, f"{meta['name']}:{port}")
        except BaseException:
            stream.reset()
            raise


def _service_port(service: Object, wanted: str) -> str:
    """Return the name of the Service's port that *wanted* names; ApiError 503 as Kubernetes has it."""
    ports: list[Any] = dig(service, "spec", "ports", default=[])
    for port in ports:
        if wanted in (port.get("name") or "", str(port.get("port"))) or (not wanted and len(ports) == 1):
            return str(port.get("name") or "")
    raise ApiError(503, "ServiceUnavailable", f'no service port "{wanted}" found for service "{dig(service, "metadata", "name")}"')


async def _exchange(stream: NodeStream, request: Request, rest: str, host: str) -> Response:
    """Send the request, return the answer's head with its body to follow; ApiError 502 or 504."""
    peer = h11.Connection(h11.CLIENT)
    target = "/" + quote(rest, safe="/:@!$&'()*+,;=~") + (f"?{request.query}" if request.query else "")
    headers = [("Host", host), ("Connection", "close"), ("Accept-Encoding", "identity")]
    headers += [(k, v) for k, v in request.headers.items() if k.lower() not in _NOT_TOLD and not _names_somebody(k.lower())]
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        headers.append(("Content-Length", str(len(request.body))))
    try:
        await stream.send(peer.send(h11.Request(method=request.method, target=target, headers=headers)) or b"")
        if request.body:
            await stream.send(peer.send(h11.Data(data=request.body)) or b"")
        await stream.send(peer.send(h11.EndOfMessage()) or b"")
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            head = await _head(peer, stream)
    except TimeoutError:
        raise ApiError(504, "Timeout", f"{host} did not answer within {HEAD_TIMEOUT_S:g} s") from None
    except (ConnectionError, h11.ProtocolError) as error:
        raise ApiError(502, "BadGateway", f"{host} did not answer as an HTTP server: {error}") from None
    told = {k.decode("latin-1").title(): v.decode("latin-1") for k, v in head.headers if k not in _NOT_HANDED_ON}
    told["Content-Security-Policy"] = _SANDBOX
    return Response(head.status_code, told, Held(_body(peer, stream), stream))


def _names_somebody(header: str) -> bool:
    return header.startswith(("impersonate-", "x-remote-", "sec-"))


async def _head(peer: h11.Connection, stream: NodeStream) -> h11.Response:
    while True:
        event = await _next(peer, stream)
        if isinstance(event, h11.Response):
            return event
        if not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("it closed the connection")


async def _body(peer: h11.Connection, stream: NodeStream) -> AsyncGenerator[bytes, None]:
    try:
        while isinstance(event := await _next(peer, stream), h11.Data):
            yield bytes(event.data)
    except h11.RemoteProtocolError as error:
        raise ConnectionError(str(error)) from error  # a body that was cut off must not look whole
    finally:
        stream.reset()


async def _next(peer: h11.Connection, stream: NodeStream) -> object:
    while (event := peer.next_event()) is h11.NEED_DATA:
        peer.receive_data(await stream.receive() or b"")
    return event
