"""`kubectl port-forward` at the node: one TCP connection to a port of a Pod.

Pods share the node's address, and others listen there too. A port is a Pod's when the Pod declares it, or when a process
of the Pod's own user listens on it; nothing else is reached, or a right to a Pod would be one to the whole node.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from skerry.model.errors import ApiError, bad_request, not_found
from skerry.model.objects import Object, dig, uid_of
from skerry.model.reasons import why
from skerry.node.streams import Stream, give_up_with

CONNECT_S = 5.0
CHUNK_BYTES = 32 * 1024
_LISTENING = "0A"
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))

FindPod = Callable[[str, str], Object | None]
Owner = Callable[[str], Awaitable[tuple[int, int]]]


class Forwarding:
    """Serves `forward`. *owner* tells a Pod's user, *own* is the node's: a user that is shared tells nothing."""

    def __init__(self, pod: FindPod, owner: Owner, *, own_uid: int, address: Callable[[], str]) -> None:
        self._pod, self._owner, self._own_uid, self._address = pod, owner, own_uid, address

    async def forward(self, params: dict[str, Any], stream: Stream) -> None:
        """Connect, then carry bytes both ways until one end closes."""
        pod, port = self._find(params)
        await self._require_own(pod, port)
        reader, writer = await connect(port, addresses(pod, self._address()), name=str(params.get("name")))
        try:
            await stream.accept()
            give_up_with(stream)
            await _carry(reader, writer, stream)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _find(self, params: dict[str, Any]) -> tuple[Object, int]:
        namespace, name, port = str(params.get("namespace") or ""), str(params.get("name") or ""), params.get("port")
        pod = self._pod(namespace, name)
        if pod is None or (params.get("uid") and uid_of(pod) != params["uid"]):
            raise not_found("pods", "", name)
        if not isinstance(port, int) or not 0 < port < 1 << 16:
            raise bad_request(f"port is {port!r}: it must be from 1 to 65535")
        return pod, port

    async def _require_own(self, pod: Object, port: int) -> None:
        declared = declared_ports(pod)
        if port in declared:
            return
        uid, _ = await self._owner(uid_of(pod))
        if uid != self._own_uid and uid in listeners(port, _TABLES):
            return
        named = ", ".join(map(str, sorted(declared))) or "none"
        raise bad_request(
            f"port {port} is not one of Pod {dig(pod, 'metadata', 'name')}: it declares {named}, and none of its processes listens there"
        )


def declared_ports(pod: Object) -> set[int]:
    """Return the TCP ports that the containers of *pod* declare."""
    containers: Iterable[Any] = (*dig(pod, "spec", "containers", default=[]), *dig(pod, "spec", "initContainers", default=[]))
    return {int(p["containerPort"]) for c in containers for p in c.get("ports") or () if p.get("protocol", "TCP") == "TCP"}


def listeners(port: int, tables: Iterable[Path]) -> set[int]:
    """Return the users whose sockets listen on *port*, from the kernel's tables."""
    return {uid for table in tables for found, uid in _listening(table) if found == port}


def _listening(table: Path) -> Iterator[tuple[int, int]]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split()
        if len(words) > 7 and words[3] == _LISTENING:
            yield int(words[1].rpartition(":")[2], 16), int(words[7])


def addresses(pod: Object, address: str) -> list[str]:
    """Return where the Pod may listen: at its own address, at the node's, on loopback."""
    found = [str(dig(pod, "status", "podIP", default="")), address, "127.0.0.1", "::1"]
    return list(dict.fromkeys(a for a in found if a))


async def connect(port: int, hosts: Iterable[str], *, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first of *hosts* that takes it; ApiError when none does."""
    reason = "nobody listens"
    for host in hosts:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_connection(host, port, limit=CHUNK_BYTES)
        except TimeoutError:
            reason = f"no answer within {CONNECT_S:g} s"
        except OSError as error:
            reason = why(error)
    raise ApiError(500, "InternalError", f"cannot connect to port {port} of pod {name}: {reason}")


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: Stream) -> None:
    inward = asyncio.create_task(_inward(writer, stream))
    try:
        while data := await reader.read(CHUNK_BYTES):
            await stream.send(data)
    except OSError:
        return
    finally:
        inward.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await inward


async def _inward(writer: asyncio.StreamWriter, stream: Stream) -> None:
    while (data := await stream.receive()) is not None:
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
