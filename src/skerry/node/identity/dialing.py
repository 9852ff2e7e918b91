"""Opens a TCP connection by whichever of a name's addresses answers first (RFC 8305, "happy eyeballs").

What stays true: every socket that loses, or that nobody waits for any more, is closed; when the name cannot be resolved, the
address that worked last is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

from skerry.trust import replace_private

log = logging.getLogger(__name__)

STAGGER_S = 0.25
"""After so many seconds without an answer the next address is tried beside the first."""
MAX_ADDRESSES = 16

Address = tuple[socket.AddressFamily, tuple[str, int]]


async def dial(host: str, port: int, *, remembered: Path | None = None) -> socket.socket:
    """Return a connected socket; raises OSError. *remembered* is a file that keeps the address that worked last."""
    addresses = await _resolve(host, port, remembered)
    found = await _first_of(addresses)  # from here on nothing waits: whoever is cancelled while waiting leaves a socket behind
    if remembered is not None:
        with contextlib.suppress(OSError):  # a peer that has gone already, a full disk: neither must keep us from the hub
            _remember(remembered, host, str(found.getpeername()[0]))
    return found


async def _resolve(host: str, port: int, remembered: Path | None) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(wire_name(host), port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        last = _recall(remembered, host) if remembered is not None else None
        if last is None:
            raise
        log.info("name not resolved, trying the last address", extra={"host": host, "address": last})
        infos = await loop.getaddrinfo(wire_name(last), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return interleaved([(socket.AddressFamily(f), sockaddr) for f, _, _, _, sockaddr in infos])  # type: ignore[misc]


def wire_name(host: str) -> bytes:
    """Return a name or address as it is sent. Python's own way there loads tables for all of Unicode, whatever the name."""
    return host.encode("ascii" if host.isascii() else "idna")


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with the families taking turns, so that a dead family costs one wait and not many."""
    first = addresses[0][0] if addresses else socket.AF_INET
    ours, others = [a for a in addresses if a[0] == first], [a for a in addresses if a[0] != first]
    mixed: list[Address] = []
    while ours or others:
        mixed += ours[:1] + others[:1]
        ours, others = ours[1:], others[1:]
    return mixed[:MAX_ADDRESSES]


async def _first_of(addresses: Sequence[Address]) -> socket.socket:
    tries: list[asyncio.Task[socket.socket]] = []
    winner: socket.socket | None = None
    try:
        for address in addresses:
            tries.append(asyncio.create_task(_connect(address)))
            winner = await _winner(tries, STAGGER_S)
            if winner is not None:
                return winner
        winner = await _winner(tries, None)
        if winner is not None:
            return winner
        raise next((e for t in tries if (e := t.exception()) is not None), OSError("the name has no address"))
    finally:
        for task in tries:
            task.cancel()
            task.add_done_callback(lambda lost: _close(lost, winner))


async def _winner(tries: Sequence[asyncio.Task[socket.socket]], timeout_s: float | None) -> socket.socket | None:
    """Wait until one has connected, all have failed, or the time is over."""
    loop = asyncio.get_running_loop()
    end = None if timeout_s is None else loop.time() + timeout_s
    while True:
        for task in tries:
            if task.done() and not task.cancelled() and task.exception() is None:
                return task.result()
        running = {t for t in tries if not t.done()}
        left = None if end is None else end - loop.time()
        if not running or (left is not None and left <= 0):
            return None
        await asyncio.wait(running, timeout=left, return_when=asyncio.FIRST_COMPLETED)


def _close(lost: asyncio.Task[socket.socket], winner: socket.socket | None) -> None:
    if not lost.cancelled() and lost.exception() is None and lost.result() is not winner:
        lost.result().close()


async def _connect(address: Address) -> socket.socket:
    family, where = address
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made


def _remember(file: Path, host: str, address: str) -> None:
    line = f"{host} {address}\n"
    if not file.exists() or file.read_text() != line:
        replace_private(file, line.encode())


def _recall(file: Path, host: str) -> str | None:
    try:
        with file.open() as text:
            name, _, address = text.read(1024).strip().partition(" ")
        return str(ipaddress.ip_address(address)) if name == host else None
    except (OSError, ValueError):
        return None
