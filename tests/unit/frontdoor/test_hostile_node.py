"""A node that was taken over, at the other end of the link: others do not notice, and the hub's memory stays bounded (T8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.http.message import Request, Response
from skerry.hub.frontdoor.session import MAX_ASKED, MAX_WRITES
from skerry.link import ALPN, LinkClosedError, LinkConnection, LinkStream
from skerry.link.control import CONTROL_PATH, Open, Reader
from skerry.model.errors import ApiError
from skerry.trust.tls import client_context
from tests.unit.frontdoor.stage import Stage, a_stage, the_ca


@asynccontextmanager
async def a_raw_link(stage: Stage, node: str = "node-a") -> AsyncIterator[LinkConnection]:
    """A link of *node* without the node's software."""
    folder = stage.a_node(node)
    context = client_context(the_ca()[1], certificate=folder.certificate, key=folder.key, protocols=[ALPN])
    _, link = await asyncio.get_running_loop().create_connection(
        lambda: LinkConnection(client=True), "127.0.0.1", stage.port, ssl=context, server_hostname="localhost"
    )
    try:
        yield link
    finally:
        link.abort("the test is over")


async def _listen(link: LinkConnection) -> LinkStream:
    control = link.open_stream("GET", CONTROL_PATH)
    assert await control.response() == 200
    return control


async def _asked(control: LinkStream) -> str:
    """Return the id of the first stream that the hub asks for."""
    reader = Reader()
    while (data := await control.receive()) is not None:
        for message in reader.feed(data):
            if isinstance(message, Open):
                return message.stream
    raise AssertionError("the control stream ended")


async def test_a_node_that_reads_nothing_is_asked_for_so_many_streams_and_no_more(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage, a_raw_link(stage) as link:
        await _listen(link)
        asked = [asyncio.ensure_future(stage.door.sessions.open("node-a", "logs", {"n": i})) for i in range(MAX_ASKED)]
        await asyncio.sleep(0.05)

        with pytest.raises(ApiError) as caught:
            await stage.door.sessions.open("node-a", "logs", {})

        assert caught.value.code == 503
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def test_a_node_that_never_answers_costs_its_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_stage(tmp_path) as stage, a_raw_link(stage) as link:
        await _listen(link)
        session = stage.door.sessions._listening["node-a"]

        with pytest.raises(ApiError, match=r"did not open the exec stream within") as caught:
            await session.open("exec", {}, timeout_s=0.1)

        assert caught.value.code == 504
        assert session._asked == {}


async def test_endless_output_that_nobody_reads_waits_at_the_node(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage, a_raw_link(stage) as link:
        control = await _listen(link)
        asked = asyncio.ensure_future(stage.door.sessions.open("node-a", "logs", {}))
        answer = link.open_stream("POST", f"/skerry/link/streams/{await _asked(control)}", headers={"skerry-status": "200"}, ended=False)
        taken = await asked
        sending = asyncio.ensure_future(answer.send(b"x" * 50_000_000))
        await asyncio.sleep(0.2)

        assert not sending.done()
        assert taken.buffered <= 128 * 1024
        taken.reset()
        with pytest.raises(LinkClosedError):
            await sending


async def test_a_stream_is_answered_once_and_by_the_node_that_was_asked(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage, a_raw_link(stage, "node-a") as link, a_raw_link(stage, "node-b") as other:
        control = await _listen(link)
        await _listen(other)
        asked = asyncio.ensure_future(stage.door.sessions.open("node-a", "logs", {}))
        path = f"/skerry/link/streams/{await _asked(control)}"

        foreign = other.open_stream("POST", path, headers={"skerry-status": "200"}, ended=False)
        assert await foreign.response() == 404
        first = link.open_stream("POST", path, headers={"skerry-status": "200"}, ended=False)
        assert await first.response() == 200
        second = link.open_stream("POST", path, headers={"skerry-status": "200"}, ended=False)
        assert await second.response() == 404

        (await asked).reset()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("302", b""),
        ("200 OK", b""),
        ("", b""),
        ("99999", b""),
        ("500", b"<html>"),
        ("403", b'{"message":1}'),
        ("403", b'{"message":"\xb0"}'),
        ("404", b"x" * 200_000),
    ],
)
async def test_a_refusal_that_makes_no_sense_is_502(tmp_path: Path, status: str, body: bytes) -> None:
    async with a_stage(tmp_path) as stage, a_raw_link(stage) as link:
        control = await _listen(link)
        asked = asyncio.ensure_future(stage.door.sessions.open("node-a", "logs", {}))
        stream = link.open_stream("POST", f"/skerry/link/streams/{await _asked(control)}", headers={"skerry-status": status}, ended=False)
        sending = asyncio.ensure_future(stream.send(body, ended=True))

        with pytest.raises(ApiError) as caught:
            await asyncio.wait_for(asked, 60)

        assert caught.value.code == 502
        await asyncio.gather(sending, return_exceptions=True)


async def test_bodies_in_memory_are_bounded_and_other_nodes_are_served_meanwhile(tmp_path: Path) -> None:
    running = 0
    most = 0
    go = asyncio.Event()

    async def slow(request: Request) -> Response:
        nonlocal running, most
        if request.user.node == "node-b":
            return Response(200, {}, b"served")
        running, most = running + 1, max(most, running + 1)
        await go.wait()
        running -= 1
        return Response(200, {}, b"done")

    async with a_stage(tmp_path, slow) as stage, a_raw_link(stage, "node-a") as link, a_raw_link(stage, "node-b") as other:
        streams = [link.open_stream("POST", "/api/v1/x", ended=False) for _ in range(60)]
        sending = [asyncio.ensure_future(s.send(b"x" * 1000, ended=True)) for s in streams]
        async with asyncio.timeout(60):
            while running < MAX_WRITES:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)  # one too many would come now

        answer = other.open_stream("POST", "/api/v1/x", ended=True)
        assert await asyncio.wait_for(answer.read(limit_bytes=100), 60) == b"served"
        assert most == MAX_WRITES
        go.set()
        assert [await s.read(limit_bytes=100) for s in streams] == [b"done"] * 60
        await asyncio.gather(*sending)


async def test_a_second_control_stream_is_refused(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage, a_raw_link(stage) as link:
        await _listen(link)

        assert await link.open_stream("GET", CONTROL_PATH).response() == 409


async def test_headers_cannot_make_a_node_somebody_else(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def who(request: Request) -> Response:
        seen.append(request.user)
        return Response(200, {}, b"")

    claims = {"authorization": "Bearer admin", "x-remote-user": "admin", "x-remote-group": "system:masters"}
    async with a_stage(tmp_path, who) as stage, a_raw_link(stage, "node-a") as link:
        assert await link.open_stream("GET", "/api/v1/secrets", headers=claims).response() == 200

    assert (seen[0].name, seen[0].groups, seen[0].node) == ("system:node:node-a", ("system:nodes", "system:authenticated"), "node-a")
