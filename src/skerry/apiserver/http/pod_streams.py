"""Logs of Pods, commands in them and connections to them: the API's end of streams that nodes serve.

A stream is asked for only after the Pod, its node and its container are known, so that a mistake is an answer in
Kubernetes' words and not a connection that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from skerry.apiserver.http import port_forward
from skerry.apiserver.http.answers import TEXT_HEADERS
from skerry.apiserver.http.message import Request, Response, Upgrade, WebSocket
from skerry.apiserver.http.query import flag, number, pairs
from skerry.apiserver.http.resources import Call, Resources
from skerry.apiserver.registry.below import admit_below
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.streams import CLOSE_CHANNEL, Frames, Held, NodeStream, NodeStreams, frame
from skerry.model.errors import ApiError, bad_request
from skerry.model.objects import Object, dig
from skerry.model.times import parse_time

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
MAX_COMMAND = 1000
_NUMBERS = ("tailLines", "limitBytes", "sinceSeconds")
_ERROR_CHANNEL = 3


class PodStreams:
    """The handlers of pods/log, pods/exec, pods/attach and pods/portforward."""

    def __init__(self, registry: Registry, streams: NodeStreams) -> None:
        self._registry, self._streams = registry, streams

    def add_to(self, resources: Resources) -> None:
        resources.add("pods", "log", self.log)
        resources.add("pods", "exec", self.exec)
        resources.add("pods", "attach", self.attach)
        resources.add("pods", "portforward", self.port_forward)

    async def log(self, call: Call) -> Response:
        """GET pods/NAME/log: what a container printed."""
        pod = self._pod(call)
        params = {"container": container_of(pod, call.query.get("container", "")), **_log_options(call)}
        node = dig(pod, "spec", "nodeName", default="")
        if not node:
            return Response(204)
        stream = await self._streams.open(node, "logs", {**_identity(pod), **params})
        return Response(200, TEXT_HEADERS, Held(_relay(stream), stream))

    async def exec(self, call: Call) -> Response:
        """GET or POST pods/NAME/exec: run a command, its streams as channels of a WebSocket."""
        pod = self._pod(call)
        given = pairs(call.request.query)
        command = [v for k, v in given if k == "command"]
        if not command:
            raise bad_request("you must specify at least one command for the container")
        if len(command) > MAX_COMMAND:
            raise bad_request(f"the command has {len(command)} words, the limit is {MAX_COMMAND}")
        _require_living(pod, "exec into a container in")
        container = container_of(pod, call.query.get("container", ""))
        node = _node_of(pod)
        _require_websocket(call.request)
        flags = {name: flag(call.query, name) for name in ("stdin", "stdout", "stderr", "tty")}
        await self._admit(call, container=container, command=command, **flags)
        params = {**_identity(pod), "container": container, "command": command, **flags}
        stream = await self._streams.open(node, "exec", params)
        return Response(101, upgrade=Upgrade(PROTOCOLS, lambda ws: _bridge(ws, stream), stream.reset))

    async def attach(self, call: Call) -> Response:
        """GET or POST pods/NAME/attach: what a container prints from now on, as exec's channels. A container reads no input here."""
        pod = self._pod(call)
        _require_living(pod, "attach to a container in")
        container = container_of(pod, call.query.get("container", ""))
        if flag(call.query, "stdin"):
            raise bad_request(f"container {container} takes no input: attach without -i, or run a command with kubectl exec -i")
        node = _node_of(pod)
        _require_websocket(call.request)
        await self._admit(call, container=container, stdout=True, stderr=True)
        params = {**_identity(pod), "container": container, "follow": True, "tailLines": 0}
        stream = await self._streams.open(node, "logs", params)
        return Response(101, upgrade=Upgrade(PROTOCOLS, lambda ws: _show(ws, stream), stream.reset))

    async def port_forward(self, call: Call) -> Response:
        """GET or POST pods/NAME/portforward: connections to the Pod's ports."""
        pod = self._pod(call)
        _require_living(pod, "forward ports of")
        node = _node_of(pod)
        _require_websocket(call.request)
        ports = [int(p) for k, v in pairs(call.request.query) if k == "ports" for p in v.split(",") if p.isascii() and p.isdigit()]
        if len(ports) > port_forward.MAX_PORTS or not all(0 < p < 1 << 16 for p in ports):
            raise bad_request(f"ports: at most {port_forward.MAX_PORTS}, each from 1 to 65535")

        await self._admit(call, ports=ports)

        async def opened(port: int) -> NodeStream:
            return await self._streams.open(node, "forward", {**_identity(pod), "port": port})

        async def serve(ws: WebSocket) -> None:
            if ws.protocol == port_forward.TUNNEL:
                await port_forward.tunnel(ws, opened)
            else:
                await port_forward.channels(ws, ports, opened)

        offered = call.request.headers.get("sec-websocket-protocol", "")
        if port_forward.TUNNEL not in offered and not ports:
            raise bad_request('query parameter "ports" is required')
        return Response(101, upgrade=Upgrade(port_forward.PROTOCOLS, serve, lambda: None))

    async def _admit(self, call: Call, **options: Any) -> None:
        """Ask those outside who want to judge what is run in Pods (operation CONNECT)."""
        target, write = call.target, WriteOptions(call.request.user, warnings=call.warnings)
        await admit_below(
            self._registry, call.kind, target.namespace, target.name, options, write, subresource=target.subresource, operation="CONNECT"
        )

    def _pod(self, call: Call) -> Object:
        found: Object = decode(self._registry.find(call.kind, call.target.namespace, call.target.name).value)
        return found


def _identity(pod: Object) -> dict[str, Any]:
    return {k: pod["metadata"].get(k, "") for k in ("namespace", "name", "uid")}


def _require_living(pod: Object, doing: str) -> None:
    phase = dig(pod, "status", "phase")
    if phase in ("Succeeded", "Failed"):
        raise bad_request(f"cannot {doing} a completed pod; current phase is {phase}")


def _node_of(pod: Object) -> str:
    node = dig(pod, "spec", "nodeName", default="")
    if not node:
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return str(node)


def container_of(pod: Object, wanted: str) -> str:
    """Return the container that is meant: the only one, the annotated one, or the named one; ApiError 400 names them all. Pure."""
    name = pod["metadata"]["name"]
    spec = pod.get("spec") or {}
    regular = [c["name"] for c in spec.get("containers") or ()]
    init = [c["name"] for c in spec.get("initContainers") or ()]
    wanted = wanted or (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    if wanted:
        if wanted not in (*regular, *init, *(c["name"] for c in spec.get("ephemeralContainers") or ())):
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return str(wanted)
    if len(regular) == 1:
        return str(regular[0])
    more = f" or one of the init containers: [{' '.join(init)}]" if init else ""
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(regular)}]{more}")


def _log_options(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {k: flag(call.query, k) for k in ("follow", "previous", "timestamps")}
    for key in _NUMBERS:
        value = number(call.query, key)
        if value is not None:
            if value < 0 or (key != "tailLines" and value == 0):
                raise bad_request(f"{key} is {value}: it must be greater than {'or equal to 0' if key == 'tailLines' else '0'}")
            found[key] = value
    since = call.query.get("sinceTime")
    if since:
        if "sinceSeconds" in found:
            raise bad_request("at most one of sinceTime or sinceSeconds may be specified")
        try:
            parse_time(since)
        except ValueError:
            raise bad_request(f"sinceTime is {since[:64]!r}: it must be a time such as 2026-01-05T10:00:00Z") from None
        found["sinceTime"] = since
    return found


async def _relay(stream: NodeStream) -> AsyncGenerator[bytes, None]:
    try:
        await stream.finish()
        while (data := await stream.receive()) is not None:
            yield data
    except ConnectionError:
        return
    finally:
        stream.reset()


def _require_websocket(request: Request) -> None:
    upgrade = request.headers.get("upgrade", "").lower()
    if upgrade == "websocket":
        return
    if "spdy" in upgrade:
        why = "SPDY is not supported, only WebSocket (kubectl 1.31 or later); if a WebSocket was refused before, its answer says why"
        raise bad_request(why)
    raise bad_request("Upgrade request required")


async def _bridge(ws: WebSocket, stream: NodeStream) -> None:
    """Carry channels both ways until the node has said how it ended, or the client is gone."""
    upward = asyncio.create_task(_to_node(ws, stream))
    try:
        await _to_client(ws, stream)
    finally:
        upward.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await upward
        stream.reset()
        await ws.close()


async def _show(ws: WebSocket, stream: NodeStream) -> None:
    """Send a log as standard output until the container has ended or the client is gone."""
    hearing = asyncio.create_task(_until_gone(ws, stream))
    try:
        await stream.finish()
        while (data := await stream.receive()) is not None:
            await ws.send(b"\x01" + data)
        await ws.send(bytes((_ERROR_CHANNEL,)) + dumps({"metadata": {}, "status": "Success"}))
    except ConnectionError:
        with contextlib.suppress(ConnectionError):
            await ws.send(_broken("the connection to the node broke"))
    finally:
        hearing.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await hearing
        stream.reset()
        await ws.close()


async def _until_gone(ws: WebSocket, stream: NodeStream) -> None:
    while await ws.receive() is not None:
        pass
    stream.reset()


async def _to_node(ws: WebSocket, stream: NodeStream) -> None:
    try:
        while (message := await ws.receive()) is not None:
            if message:
                await stream.send(frame(message[0], message[1:]))
        stream.reset()  # the client is gone: the command's input and output are nobody's
    except ConnectionError:
        return


async def _to_client(ws: WebSocket, stream: NodeStream) -> None:
    frames, ended = Frames(), False
    try:
        while not ended and (data := await stream.receive()) is not None:
            for channel, payload in frames.feed(data):
                if channel == CLOSE_CHANNEL:
                    continue
                await ws.send(bytes((channel,)) + payload)
                ended = ended or channel == _ERROR_CHANNEL
        if not ended:
            await ws.send(_broken("the node ended the stream without saying how the command ended"))
    except ValueError as error:
        await ws.send(_broken(f"the node sent {error}"))
    except ConnectionError:
        with contextlib.suppress(ConnectionError):
            await ws.send(_broken("the connection to the node broke"))


def _broken(why: str) -> bytes:
    status = ApiError(500, "InternalError", why).to_status()
    return bytes((_ERROR_CHANNEL,)) + dumps(status)
