"""Whole answers on the wire: one head, one body, and aiohttp's rules for what has none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from skerry.apiserver.http.whole import Whole


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def answer(request: web.BaseRequest) -> Whole:
        status = int(request.path.strip("/").split("/")[0])
        headers = {"X-Bad": "a\r\nb"} if "bad" in request.path else {"Content-Type": "text/plain"}
        return Whole(status, headers, b"x" * int(request.query.get("size", "2")))

    server = web.Server(answer)  # type: ignore[arg-type]
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    await server.shutdown()


async def exchange(port: int, request: str) -> bytes:
    """Return all that is answered until the server closes, which the last request asks for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    async with asyncio.timeout(60):
        told = await reader.read()
    writer.close()
    await writer.wait_closed()
    return told


def get(path: str, *, method: str = "GET", version: str = "1.1", close: bool = True) -> str:
    return f"{method} {path} HTTP/{version}\r\nHost: h\r\n{'Connection: close' if close else 'X-None: 1'}\r\n\r\n"


async def test_an_answer_has_its_head_and_its_body(port: int) -> None:
    head, _, body = (await exchange(port, get("/200"))).partition(b"\r\n\r\n")

    lines = head.decode().split("\r\n")
    assert lines[:4] == ["HTTP/1.1 200 OK", "Content-Type: text/plain", "Content-Length: 2", "Connection: close"]
    assert [line.partition(":")[0] for line in lines[4:]] == ["Date"]
    assert body == b"xx"


async def test_what_may_have_no_body_has_none(port: int) -> None:
    to_head = await exchange(port, get("/200", method="HEAD"))
    unchanged = await exchange(port, get("/304"))

    assert b"Content-Length: 2\r\n" in to_head
    assert to_head.endswith(b"\r\n\r\n")
    assert unchanged.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert b"Content-Length" not in unchanged
    assert unchanged.endswith(b"\r\n\r\n")


async def test_a_connection_is_kept_and_a_long_body_arrives(port: int) -> None:
    told = await exchange(port, get("/200?size=200000", close=False) + get("/201"))

    assert told.count(b"HTTP/1.1 20") == 2
    assert told.count(b"x" * 200_000) == 1
    assert told.endswith(b"\r\n\r\nxx")


async def test_an_old_client_is_told_that_its_connection_ends(port: int) -> None:
    told = await exchange(port, get("/200", version="1.0", close=False))

    assert told.startswith(b"HTTP/1.1 200 OK\r\n")
    assert told.endswith(b"xx")


async def test_a_header_of_two_lines_is_not_sent(port: int) -> None:
    told = await exchange(port, get("/200/bad"))

    assert b"X-Bad" not in told
