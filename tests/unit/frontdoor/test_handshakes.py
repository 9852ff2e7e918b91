"""The listening sockets: how soon somebody comes in when a whole fleet dials at once."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from typing import NoReturn

import pytest

from skerry.hub.frontdoor.handshakes import AT_ONCE, Handshakes

FLEET = 300


class _Exhausted:
    """A listening socket whose process has no file left, once."""

    def __init__(self, listening: socket.socket) -> None:
        self._accept = [self._fail, self._fail, listening.accept]
        self.fileno = listening.fileno

    def _fail(self) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def accept(self) -> tuple[socket.socket, object]:
        return (self._accept.pop(0) if len(self._accept) > 1 else self._accept[0])()


async def test_a_fleet_that_dials_at_once_is_accepted_in_few_turns() -> None:
    handshakes = Handshakes(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), asyncio.Protocol)
    await handshakes.open("127.0.0.1", 0)
    address = handshakes.sockets[0].getsockname()
    with contextlib.ExitStack() as stack:
        for _ in range(FLEET):
            stack.enter_context(socket.create_connection(address, timeout=30))

        for _ in range(FLEET // AT_ONCE + 3):
            await asyncio.sleep(0)
        accepted = len(handshakes._shaking)

        handshakes.close()
        await asyncio.sleep(0)
    assert accepted == FLEET


async def test_without_a_file_left_it_waits_and_goes_on_and_says_both_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "skerry.hub.frontdoor.handshakes")
    handshakes = Handshakes(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), asyncio.Protocol)
    await handshakes.open("127.0.0.1", 0)
    listening = _Exhausted(handshakes.sockets[0])

    handshakes._accept(listening)  # type: ignore[arg-type]

    with socket.create_connection(handshakes.sockets[0].getsockname(), timeout=30):
        async with asyncio.timeout(30):
            while not handshakes._shaking:
                await asyncio.sleep(0.01)
    handshakes.close()
    await asyncio.sleep(0)
    assert [record.message for record in caplog.records] == ["no connection can be accepted", "connections are accepted again"]
