"""Mounts the console in the hub: its routes, the live values that it asks nodes for, and its one-use codes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from skerry import __version__
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.routes import Access, Route, RouteTable
from skerry.console import Console, Sources
from skerry.controllers.informers import Informers
from skerry.events.log import HubLog
from skerry.hub.frontdoor import Sessions
from skerry.hub.login_codes import LoginCodes
from skerry.model.objects import Object
from skerry.model.resources import DEVICEPROFILES, DEVICES, NODES, PODS, SITES
from skerry.model.unreadable import NOT_JSON

MAX_TWIN_BYTES = 1024 * 1024


class NodeTwins:
    """Live values of one device, asked of its node (`console.Twins`)."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def watch(self, node: str, namespace: str, name: str) -> AsyncIterator[Object]:
        """Yield the DeviceTwin now and at each change; ApiError or ConnectionError when the node is away."""
        stream = await self._sessions.open(node, "twin", {"namespace": namespace, "name": name, "watch": True})
        rest = b""
        try:
            while (data := await stream.receive()) is not None:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield _twin(node, line)
                if len(rest) > MAX_TWIN_BYTES:
                    raise ConnectionError(f"node {node} sent more than {MAX_TWIN_BYTES} bytes for one device")
        finally:
            stream.reset()


def _twin(node: str, line: bytes) -> Object:
    try:
        return msgspec.json.decode(line, type=dict[str, object])
    except NOT_JSON as error:
        raise ConnectionError(f"node {node} sent live values that make no sense") from error


def make_console(informers: Informers, events: HubLog, sessions: Sessions, codes: LoginCodes) -> Console:
    """Return the console over what the hub has."""
    loop = asyncio.get_running_loop()
    sources = Sources(
        nodes=informers.of(NODES),
        pods=informers.of(PODS),
        sites=informers.of(SITES),
        devices=informers.of(DEVICES),
        profiles=informers.of(DEVICEPROFILES),
        events=events,
        twins=NodeTwins(sessions),
    )

    def redeem(code: str) -> str | None:
        user = codes.redeem(code, loop.time())
        return user.name if user is not None else None

    return Console(sources, redeem=redeem, clock=loop.time, version=__version__)


def mount(console: Console, routes: RouteTable) -> None:
    """Add the console's routes but `/`, which is the API's; the console checks its own cookie on every one."""

    async def handle(request: Request) -> Response:
        answer = await console.handle(request)
        return Response(answer.status, answer.headers, answer.body)

    for methods, pattern in Console.ROUTES:
        if pattern != "/":
            routes.add(Route(methods, pattern, Access.OWN, handle, "the console"))
