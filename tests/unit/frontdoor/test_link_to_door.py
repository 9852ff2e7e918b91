"""A node's link through the front door: API calls, watches, event batches, streams both ways, denial."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.http.message import Request, Response
from skerry.events.routes import Answer
from skerry.link import LinkClosedError
from skerry.model.errors import ApiError
from skerry.node.connection import AnsweringStream, HubOfflineError
from skerry.trust import facts_of_pem
from tests.unit.frontdoor.stage import a_stage, an_enrollment


async def who(request: Request) -> Response:
    """Answer with what arrived."""
    user = request.user
    told = {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "body": request.body.decode(),
        "user": user.name,
        "groups": user.groups,
        "node": user.node,
        "impersonate": request.headers.get("impersonate-user", ""),
    }
    return Response(200, {"Content-Type": "application/json", "Skerry-Epoch": "7"}, json.dumps(told).encode())


async def test_an_api_call_arrives_as_the_node_whose_key_it_is(tmp_path: Path) -> None:
    async with a_stage(tmp_path, who) as stage, stage.a_link(stage.a_node("node-a")) as link:
        await asyncio.wait_for(link.wait_connected(), 60)

        answer = await link.request("PATCH", "/api/v1/nodes/node-a/status?x=1", headers={"Content-Type": "a/b"}, body=b"{}")
        told = json.loads(await answer.read(limit_bytes=10_000))

    assert (answer.status, answer.headers["skerry-epoch"]) == (200, "7")
    assert told["user"] == "system:node:node-a"
    assert told["groups"] == ["system:nodes", "system:authenticated"]
    assert (told["node"], told["method"], told["path"], told["query"], told["body"]) == (
        "node-a",
        "PATCH",
        "/api/v1/nodes/node-a/status",
        "x=1",
        "{}",
    )


async def test_a_large_body_and_a_large_answer_pass(tmp_path: Path) -> None:
    async def echo(request: Request) -> Response:
        return Response(200, {}, request.body)

    body = bytes(range(256)) * 8000
    async with a_stage(tmp_path, echo) as stage, stage.a_link(stage.a_node()) as link:
        await asyncio.wait_for(link.wait_connected(), 60)

        answer = await link.request("POST", "/api/v1/x", body=body)

        assert await answer.read(limit_bytes=len(body)) == body


async def test_a_body_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    async with a_stage(tmp_path, who) as stage, stage.a_link(stage.a_node()) as link:
        await asyncio.wait_for(link.wait_connected(), 60)

        with pytest.raises(ConnectionError):
            await link.request("POST", "/api/v1/x", body=b"x" * (3 * 2**20 + 200_000))

        assert (await link.request("GET", "/api/v1/x")).status == 200  # the link itself goes on


@pytest.mark.parametrize("path", ["/api/v1/../secret", "/api//v1", "/api/v1/%2e%2e/x", "/x%2fy", "/x%00"])
async def test_a_path_that_could_be_read_two_ways_is_refused(tmp_path: Path, path: str) -> None:
    async with a_stage(tmp_path, who) as stage, stage.a_link(stage.a_node()) as link:
        await asyncio.wait_for(link.wait_connected(), 60)

        assert (await link.request("GET", path)).status == 400


async def test_a_watch_is_flushed_item_by_item_and_ends_at_the_hub_when_the_node_closes_it(tmp_path: Path) -> None:
    ended = asyncio.Event()
    more = asyncio.Event()

    async def watch(request: Request) -> Response:
        async def items() -> AsyncIterator[bytes]:
            try:
                yield b"one\n"
                await more.wait()
                yield b"two\n"
                await asyncio.sleep(60)
            finally:
                ended.set()

        return Response(200, {}, items())

    async with a_stage(tmp_path, watch) as stage, stage.a_link(stage.a_node()) as link:
        await asyncio.wait_for(link.wait_connected(), 60)
        answer = await link.request("GET", "/api/v1/pods?watch=true")
        chunks = answer.chunks()

        assert await anext(chunks) == b"one\n"
        more.set()
        assert await anext(chunks) == b"two\n"
        await answer.close()
        await asyncio.wait_for(ended.wait(), 60)


async def test_an_event_batch_goes_to_the_sink_as_of_this_node(tmp_path: Path) -> None:
    seen: list[tuple[str, str, bytes]] = []

    class Sink:
        async def mark(self, node: str, stream: str) -> Answer:
            return Answer(200, b'{"acknowledged":3}')

        async def upload(self, node: str, stream: str, body: bytes) -> Answer:
            seen.append((node, stream, body))
            return Answer(200, b'{"acknowledged":9}')

    async with a_stage(tmp_path, events=Sink()) as stage, stage.a_link(stage.a_node("node-a")) as link:
        await asyncio.wait_for(link.wait_connected(), 60)

        answer = await link.request("POST", "/skerry/link/events", headers={"skerry-stream": "abc"}, body=b"lines\n")
        mark = await link.request("GET", "/skerry/link/events", headers={"skerry-stream": "abc"})

        assert await answer.read(limit_bytes=100) == b'{"acknowledged":9}'
        assert await mark.read(limit_bytes=100) == b'{"acknowledged":3}'
    assert seen == [("node-a", "abc", b"lines\n")]


async def test_the_hub_asks_for_a_stream_and_bytes_go_both_ways(tmp_path: Path) -> None:
    async def upper(params: dict[str, Any], stream: AnsweringStream) -> None:
        await stream.send(params["greeting"].encode())
        while (data := await stream.receive()) is not None:
            await stream.send(data.upper())

    async with a_stage(tmp_path) as stage, stage.a_link(stage.a_node("node-a")) as link:
        link.handle("exec", upper)
        await asyncio.wait_for(link.wait_connected(), 60)

        stream = await stage.door.sessions.open("node-a", "exec", {"greeting": "hello "})
        await stream.send(b"world")
        await stream.finish()

        assert await stream.read(limit_bytes=100) == b"hello WORLD"


async def test_a_node_says_no_in_its_own_words(tmp_path: Path) -> None:
    async def refuse(params: dict[str, Any], stream: AnsweringStream) -> None:
        raise ApiError(404, "NotFound", "container \x1b[31mapp\x1b[0m is not running")

    async with a_stage(tmp_path) as stage, stage.a_link(stage.a_node("node-a")) as link:
        link.handle("logs", refuse)
        await asyncio.wait_for(link.wait_connected(), 60)

        with pytest.raises(ApiError, match="is not running") as caught:
            await stage.door.sessions.open("node-a", "logs", {})
        with pytest.raises(ApiError) as unknown:
            await stage.door.sessions.open("node-a", "reboot", {})

    assert (caught.value.code, caught.value.reason) == (404, "NotFound")
    assert "\x1b" not in caught.value.message
    assert unknown.value.code == 501


async def test_a_node_that_is_not_connected_is_503(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        with pytest.raises(ApiError, match="node-z is not connected") as caught:
            await stage.door.sessions.open("node-z", "logs", {})

    assert caught.value.code == 503


async def test_a_node_that_goes_while_it_is_asked_is_503(tmp_path: Path) -> None:
    async def never(params: dict[str, Any], stream: AnsweringStream) -> None:
        await asyncio.sleep(60)

    async with a_stage(tmp_path) as stage:
        async with stage.a_link(stage.a_node("node-a")) as link:
            link.handle("logs", never)
            await asyncio.wait_for(link.wait_connected(), 60)
            asked = asyncio.ensure_future(stage.door.sessions.open("node-a", "logs", {}))
            await asyncio.sleep(0.05)

        with pytest.raises(ApiError, match="disconnected") as caught:
            await asyncio.wait_for(asked, 60)
    assert caught.value.code == 503


async def test_a_stream_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage, stage.a_link(stage.a_node()) as link:
        await asyncio.wait_for(link.wait_connected(), 60)

        answer = await link.request("POST", "/skerry/link/streams/guessed", headers={"skerry-status": "200"})

        assert answer.status == 404


async def test_other_paths_of_the_link_are_not_passed_on(tmp_path: Path) -> None:
    async with a_stage(tmp_path, who) as stage, stage.a_link(stage.a_node()) as link:
        await asyncio.wait_for(link.wait_connected(), 60)

        assert (await link.request("GET", "/skerry/link/other")).status == 404


async def test_a_denied_key_loses_its_open_link_and_every_watch_on_it(tmp_path: Path) -> None:
    async def watch(request: Request) -> Response:
        async def items() -> AsyncIterator[bytes]:
            yield b"one\n"
            await asyncio.sleep(60)

        return Response(200, {}, items())

    async with a_stage(tmp_path, watch) as stage:
        folder = stage.a_node("node-a")
        key_hash = facts_of_pem(folder.certificate.read_text()).key_hash
        async with stage.a_link(folder) as link:
            await asyncio.wait_for(link.wait_connected(), 60)
            answer = await link.request("GET", "/api/v1/pods?watch=true")
            chunks = answer.chunks()
            await anext(chunks)

            stage.door.roster.put(an_enrollment("node-a", key_hash, "Denied"))
            stage.door.enforce()

            with pytest.raises(LinkClosedError, match="denied"):
                await asyncio.wait_for(anext(chunks), 60)
            assert not link.connected
            with pytest.raises(HubOfflineError):
                await link.request("GET", "/api/v1/pods")
            assert stage.door.sessions.connected == []


async def test_denial_follows_the_key_to_another_name(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        folder = stage.a_node("node-a")
        key_hash = facts_of_pem(folder.certificate.read_text()).key_hash
        stage.door.roster.put(an_enrollment("node-b", key_hash, "Denied"))

        async with stage.a_link(folder) as link:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(link.wait_connected(), 0.3)


async def test_a_newer_link_of_a_node_takes_the_older_ones_place(tmp_path: Path) -> None:
    async def name(params: dict[str, Any], stream: AnsweringStream) -> None:
        await stream.send(b"newer")

    async with a_stage(tmp_path) as stage:
        folder = stage.a_node("node-a")
        async with stage.a_link(folder) as older:
            await asyncio.wait_for(older.wait_connected(), 60)
            async with stage.a_link(folder) as newer:
                newer.handle("logs", name)
                await asyncio.wait_for(newer.wait_connected(), 60)

                stream = await stage.door.sessions.open("node-a", "logs", {})

                assert await stream.read(limit_bytes=10) == b"newer"
                assert stage.door.sessions.connected == ["node-a"]


@pytest.mark.slow
async def test_the_link_comes_back_after_the_hub_did(tmp_path: Path) -> None:
    async with a_stage(tmp_path, who) as stage, stage.a_link(stage.a_node()) as link:
        await asyncio.wait_for(link.wait_connected(), 60)
        stage.door.sessions.close()
        while link.connected:
            await asyncio.sleep(0.01)

        await asyncio.wait_for(link.wait_connected(), 60)

        assert (await link.request("GET", "/x")).status == 200
