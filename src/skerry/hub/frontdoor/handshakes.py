"""Accepts connections and ends their TLS handshakes, which strangers may begin and leave: a bounded number at a time.

What stays true: when too many handshakes go on, the oldest is given up for the newest; an honest one takes milliseconds, so
whoever only connects and waits crowds out others of his kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

MAX_HANDSHAKES = 1024
"""Each keeps 40 kB until it is done."""
HANDSHAKE_TIMEOUT_S = 10.0
SHUTDOWN_TIMEOUT_S = 2.0
BACKLOG = 4096
"""Connections that wait to be accepted: a whole fleet that dials at once. The kernel takes at most `net.core.somaxconn`."""
AT_ONCE = 64
"""Accepted in one turn: with one a turn, whoever comes behind a fleet waits for as many turns as it has nodes."""
_NO_FILES_S = 0.2


class Handshakes:
    """The listening sockets; each connection whose handshake is done gets a protocol of its own."""

    def __init__(self, context: ssl.SSLContext, protocol: Callable[[], asyncio.BaseProtocol], *, limit: int = MAX_HANDSHAKES) -> None:
        self._context, self._protocol, self._limit = context, protocol, limit
        self._short = False
        """Whether the last one could not be accepted: said when it begins and when it ends."""
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._shaking: dict[asyncio.Task[None], None] = {}  # oldest first
        self.sockets: list[socket.socket] = []

    async def open(self, host: str, port: int) -> None:
        """Listen on every address of *host*; OSError when that cannot be."""
        for family, address in await _addresses(host, port):
            listening = socket.socket(family, socket.SOCK_STREAM)
            self.sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.setblocking(False)
            try:
                listening.bind(address)
                listening.listen(BACKLOG)
            except OSError as error:
                self.close()
                raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
            self._listen(listening)

    def close(self) -> None:
        """Listen no more, and give up the handshakes that are not done."""
        for task in self._shaking:
            task.cancel()
        for pause in self._pauses.values():
            pause.cancel()
        for listening in self.sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self.sockets.clear()

    def _listen(self, listening: socket.socket) -> None:
        self._pauses.pop(listening, None)
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Take those who wait, so many at once."""
        for _ in range(AT_ONCE):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no file descriptor is left, most likely
                if not self._short:
                    log.error("no connection can be accepted", extra={"error": str(error)})
                self._short = True
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                self._pauses[listening] = loop.call_later(_NO_FILES_S, self._listen, listening)
                return
            if self._short:
                log.info("connections are accepted again")
                self._short = False
            connection.setblocking(False)
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        while len(self._shaking) >= self._limit:
            oldest = next(iter(self._shaking))
            del self._shaking[oldest]
            oldest.cancel()
        task = asyncio.get_running_loop().create_task(self._shake(connection), name="TLS handshake")
        self._shaking[task] = None
        task.add_done_callback(lambda done: self._shaking.pop(done, None))

    async def _shake(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S,
            )
        except (OSError, TimeoutError):  # also ssl.SSLError: what strangers send is theirs
            with contextlib.suppress(OSError):
                connection.close()


async def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Return where to listen; an address needs no name server."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))
    return [(socket.AF_INET if literal.version == 4 else socket.AF_INET6, (host, port))]
