"""DeviceTwins: live values, read from the node that has the device. Nothing of them is stored here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial

from skerry.apiserver.http.answers import no_such_method
from skerry.apiserver.http.message import Response
from skerry.apiserver.http.render import Renderer
from skerry.apiserver.http.resources import Call, Resources
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import list_options
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.streams import Held, NodeStream, NodeStreams
from skerry.apiserver.registry.watch import Form, error_line
from skerry.apiserver.schema import Catalogue, ServedResource
from skerry.model.errors import ApiError, bad_request, internal, not_found, unavailable
from skerry.model.objects import Object, dig
from skerry.model.resources import DEVICES, DEVICETWINS

MAX_TWIN_BYTES = 1 << 20
_COLUMNS = (
    {"name": "Node", "type": "string", "jsonPath": ".status.nodeName"},
    {"name": "Last-Seen", "type": "date", "jsonPath": ".status.lastSeen"},
)
_SCHEMA = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def twin_kind(catalogue: Catalogue) -> Kind:
    """Return the kind as discovery and tables show it."""
    r = DEVICETWINS
    version = {"name": r.version, "schema": {"openAPIV3Schema": _SCHEMA}, "additionalPrinterColumns": list(_COLUMNS)}
    crd: Object = {"spec": {"group": r.group, "names": {"kind": r.kind}, "versions": [version]}}
    served = ServedResource(
        group=r.group,
        version=r.version,
        plural=r.plural,
        singular="devicetwin",
        kind=r.kind,
        namespaced=True,
        verbs=("get", "watch"),
        short_names=("twin",),
        custom=True,
        list_kind=f"{r.kind}List",
    )
    return Kind(served, partial(catalogue.compile_crd_version, crd, r.version), version=version)


class Twins:
    """The handler of devicetwins."""

    def __init__(self, registry: Registry, streams: NodeStreams, renderer: Renderer) -> None:
        self._registry, self._streams, self._renderer = registry, streams, renderer

    def add_to(self, resources: Resources) -> None:
        resources.add(DEVICETWINS.key, "", self.serve)

    async def serve(self, call: Call) -> Response:
        """GET one twin, or watch one."""
        if call.verb == "get":
            stream = await self._open(call, call.target.name, watch=False)
            return self._renderer.object(call, await _one(stream))
        if call.verb == "watch":
            options = list_options(call.query, watch=True)
            name = options.fields.exact("metadata.name")
            if not name or len(options.fields.terms) > 1 or options.labels:
                raise bad_request("devicetwins can be watched one at a time: use fieldSelector=metadata.name=NAME and no other selector")
            form = self._renderer.watch_form(call)
            stream = await self._open(call, name, watch=True)
            return Response(200, self._renderer.watch_headers(call), Held(_events(stream, form), stream))
        raise no_such_method()

    async def _open(self, call: Call, name: str, *, watch: bool) -> NodeStream:
        namespace = call.target.namespace
        device = self._registry.lookup(DEVICES, namespace, name)
        if device is None:
            raise not_found(DEVICETWINS.plural, DEVICETWINS.group, name)
        node = dig(device, "status", "nodeName", default="")
        if not node:
            raise unavailable(f"device {name} is not placed on a node yet: see kubectl describe device {name}", retry_after_s=5)
        stream = await self._streams.open(node, "twin", {"namespace": namespace, "name": name, "watch": watch})
        await stream.finish()
        return stream


async def _one(stream: NodeStream) -> bytes:
    try:
        async for twin in _twins(stream):
            return dumps(twin)
    finally:
        stream.reset()
    raise internal("the node ended the stream without sending the twin")


async def _events(stream: NodeStream, form: Form) -> AsyncGenerator[bytes, None]:
    type_ = "ADDED"
    first = form.first
    try:
        async for twin in _twins(stream):
            value = dumps(twin)
            yield form.line(type_, value) if first is None else Form("", first).line(type_, value)
            type_, first = "MODIFIED", None
    except ApiError as error:
        yield error_line(error)
    finally:
        stream.reset()


async def _twins(stream: NodeStream) -> AsyncIterator[Object]:
    """Yield the twins of a stream; a node is a peer: what it sends is bounded, and checked to be an object."""
    buffer = b""
    try:
        while (data := await stream.receive()) is not None:
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            if len(buffer) > MAX_TWIN_BYTES:
                raise internal(f"the node sent a twin of more than {MAX_TWIN_BYTES} bytes")
            for line in lines:
                yield _read(line)
    except ConnectionError:
        raise unavailable("the connection to the node broke", retry_after_s=5) from None


def _read(line: bytes) -> Object:
    try:
        twin = decode(line)
    except ValueError:
        raise internal("the node sent a twin that is not JSON") from None
    if not isinstance(twin, dict) or not isinstance(twin.get("metadata"), dict):
        raise internal("the node sent something that is no DeviceTwin")
    return twin
