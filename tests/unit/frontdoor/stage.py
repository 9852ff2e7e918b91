"""A front door and a node's link to it, over real TLS on loopback, with a dispatcher of the test's own."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import msgspec

from skerry.apiserver.http.message import Request, Response
from skerry.hub.frontdoor import Door, DoorSettings, Roster, Sessions
from skerry.hub.frontdoor.door import PROTOCOLS
from skerry.hub.frontdoor.session import EventSink
from skerry.model.kinds.enrollment import object_name
from skerry.node.connection import HubLink
from skerry.node.identity import NodeSettings, StateFolder
from skerry.trust import Workshop, facts_of_pem
from skerry.trust.authority import issue_node, issue_server, make_ca, make_key, make_request
from skerry.trust.tls import hub_context
from skerry.trust.worker import answer
from skerry.trust.workshop import _checked

Handle = Callable[[Request], Awaitable[Response]]


@lru_cache(maxsize=1)
def the_ca() -> tuple[str, str]:
    return make_ca(datetime.now(UTC))


def an_enrollment(node: str, key_hash: str, decision: str = "Approved", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "Enrollment",
        "metadata": {"name": object_name(node, key_hash)},
        "spec": {"nodeName": node, "keyHash": key_hash, "csr": "PEM", "decision": decision, **spec},
    }


@dataclass
class Stage:
    """A door that listens, and folders of nodes that may come in."""

    door: Door
    port: int
    folder: Path
    requests: list[Request] = field(default_factory=list)

    def a_node(self, name: str = "node-a", *, enrolled: bool = True, ca: tuple[str, str] | None = None) -> StateFolder:
        """Return the state folder of a node that joined."""
        folder = StateFolder(self.folder / name)
        folder.prepare()
        key = make_key()
        folder.key.write_text(key)
        certificate = issue_node(*(ca or the_ca()), make_request(key, name), name, datetime.now(UTC))
        folder.save_certificate(certificate)
        folder.save_ca(the_ca()[1])
        folder.save_settings(NodeSettings(name=name, hub=f"https://localhost:{self.port}"))
        if enrolled:
            self.door.roster.put(an_enrollment(name, facts_of_pem(certificate).key_hash))
        return folder

    @asynccontextmanager
    async def a_link(self, folder: StateFolder) -> AsyncIterator[HubLink]:
        """Run the link of a node; it is not waited for."""
        workshop = Workshop()
        link = HubLink(folder, folder.load(), workshop)
        task = asyncio.ensure_future(link.run())
        try:
            yield link
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await workshop.close()


async def nothing(request: Request) -> Response:
    return Response(404, {"Content-Type": "application/json"}, b"{}")


class NoHttp(asyncio.Protocol):
    """Says hello and closes: these tests are about the link."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(b"hello")
        transport.close()


def a_context(folder: Path, *, names: tuple[str, ...] = ("localhost", "127.0.0.1"), ca: tuple[str, str] | None = None) -> ssl.SSLContext:
    """Return TLS settings of a hub whose certificate has these names."""
    key, certificate = issue_server(*(ca or the_ca()), list(names), datetime.now(UTC))
    (folder / "server.pem").write_text(key + certificate)
    (folder / "ca.crt").write_text(the_ca()[1])
    return hub_context(folder / "ca.crt", folder / "server.pem", PROTOCOLS)


@asynccontextmanager
async def a_stage(
    folder: Path,
    handle: Handle = nothing,
    *,
    events: EventSink | None = None,
    context: ssl.SSLContext | None = None,
    max_connections: int = 100,
    max_strangers: int = 100,
    max_handshakes: int = 100,
    http: Callable[[], asyncio.BaseProtocol] | None = None,
) -> AsyncIterator[Stage]:
    door = Door(
        DoorSettings(host="127.0.0.1", port=0, max_connections=max_connections, max_strangers=max_strangers, max_handshakes=max_handshakes),
        context or a_context(folder),
        Sessions(Roster()),
        http=http or NoHttp,
        handle=handle,
        events=events,
    )
    _, port = await door.start()
    try:
        yield Stage(door, port, folder)
    finally:
        await door.stop()
        await settle()


async def settle() -> None:
    """Let what asyncio still does for closed connections end: handshakes that were under way, sockets closed in a later turn."""
    for turn in range(1000):
        await asyncio.sleep(0.005)
        if turn % 100 == 99:
            gc.collect()  # a connection that was cancelled as it came to be is closed by the collector only (staggered_race)
        if {t for t in asyncio.all_tasks() if t.get_name() != "front door"} == {asyncio.current_task()}:
            return


class InProcessWorkshop(Workshop):
    """The trust worker without its process."""

    async def _ask(self, task: str, **fields: Any) -> Mapping[str, Any]:
        done = answer(msgspec.json.encode({"task": task, "now": datetime.now(UTC).timestamp(), **fields}))
        return _checked(task, done)
