"""Logs of Pods and commands in them: the API's end of streams that nodes serve.

A stream is asked for only after the Pod, its node and its container are known, so that a mistake is an answer in
Kubernetes' words and not a connection that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from skerry.apiserver.http.answers import TEXT_HEADERS
from skerry.apiserver.http.message import Request, Response, Upgrade, WebSocket
from skerry.apiserver.http.query import flag, number, pairs
from skerry.apiserver.http.resources import Call, Resources
from skerry.apiserver.registry.encoding import decode, dumps
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
    """The handlers of pods/log and pods/exec."""

    def __init__(self, registry: Registry, streams: NodeStreams) -> None:
        self._registry, self._streams = registry, streams

    def add_to(self, resources: Resources) -> None:
        resources.add("pods", "log", self.log)
        resources.add("pods", "exec", self.exec)

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
        if dig(pod, "status", "phase") in ("Succeeded", "Failed"):
            raise bad_request(f"cannot exec into a container in a completed pod; current phase is {pod['status']['phase']}")
        container = container_of(pod, call.query.get("container", ""))
        node = dig(pod, "spec", "nodeName", default="")
        if not node:
            raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        _require_websocket(call.request)
        flags = {name: flag(call.query, name) for name in ("stdin", "stdout", "stderr", "tty")}
        params = {**_identity(pod), "container": container, "command": command, **flags}
        stream = await self._streams.open(node, "exec", params)
        return Response(101, upgrade=Upgrade(PROTOCOLS, lambda ws: _bridge(ws, stream), stream.reset))

    def _pod(self, call: Call) -> Object:
        found: Object = decode(self._registry.find(call.kind, call.target.namespace, call.target.name).value)
        return found


def _identity(pod: Object) -> dict[str, Any]:
    return {k: pod["metadata"].get(k, "") for k in ("namespace", "name", "uid")}


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
