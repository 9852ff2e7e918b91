"""The routes of the hub's event log, as values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.events.log import HubLog, HubLogLimits, LogExpiredError
from skerry.events.log.batch import encode
from skerry.events.routes import Answer, EventRoutes, parse_query
from skerry.model.errors import ApiError

STREAM = "0123456789abcdef" * 2


def a_batch(first: int, last: int, *, source: str = "/s") -> bytes:
    raw = msgspec.json.encode({"specversion": "1.0", "id": "1", "source": source, "type": "t"})
    return encode(first - 1, [(i, raw) for i in range(first, last + 1)], reason="")


def lines(answer: Answer) -> list[dict[str, Any]]:
    assert isinstance(answer.body, bytes)
    return [msgspec.json.decode(line) for line in answer.body.splitlines() if line]


@pytest.fixture
def routes(hublog: HubLog) -> EventRoutes:
    return EventRoutes(hublog, quiet_s=0.01)


async def test_an_upload_is_acknowledged_and_then_read(routes: EventRoutes) -> None:
    assert (await routes.mark("n", STREAM)).body == b'{"acknowledged":0,"digest":""}'
    answer = await routes.upload("n", STREAM, a_batch(1, 2))

    assert (answer.status, answer.body) == (200, b'{"acknowledged":2}')
    found = lines(await routes.read(""))
    assert [(e["sequence"], e["node"], e["seq"], e["event"]["source"]) for e in found] == [(1, "n", 1, "/s"), (2, "n", 2, "/s")]


async def test_a_hole_is_answered_with_where_to_go_on(routes: EventRoutes) -> None:
    answer = await routes.upload("n", STREAM, a_batch(3, 4))

    assert (answer.status, answer.body) == (409, b'{"acknowledged":0}')


@pytest.mark.parametrize(("stream", "body"), [("x", a_batch(1, 1)), ("", a_batch(1, 1)), (STREAM, b"{}")])
async def test_a_bad_upload_is_refused(routes: EventRoutes, stream: str, body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        await routes.upload("n", stream, body)

    assert refused.value.code == 400


async def test_a_log_that_moves_on_while_a_tail_is_searched_says_so(
    routes: EventRoutes, hublog: HubLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await routes.upload("n", STREAM, a_batch(1, 3))

    async def moved_on(after: int | None = None, *, limit: int = 0) -> list[Any]:
        raise LogExpiredError(after or 0, 3)

    monkeypatch.setattr(hublog, "page", moved_on)
    with pytest.raises(ApiError) as refused:
        await routes.read("tail=2&node=n")

    assert refused.value.code == 410


async def test_reading_selects_by_node_source_and_position(routes: EventRoutes) -> None:
    await routes.upload("n", STREAM, a_batch(1, 3, source="/a"))
    await routes.upload("m", STREAM, a_batch(1, 3, source="/b"))

    async def read(query: str) -> list[int]:
        return [e["sequence"] for e in lines(await routes.read(query))]

    assert await read("node=m") == [4, 5, 6]
    assert await read("source=/a") == [1, 2, 3]
    assert await read("after=2&limit=2") == [3, 4]
    assert await read("tail=2") == [5, 6]
    assert await read("tail=100") == [1, 2, 3, 4, 5, 6]
    assert await read("tail=2&source=/a") == [2, 3]
    assert await read("tail=1&node=n") == [3]
    assert await read("tail=100&node=m") == [4, 5, 6]
    assert await read("tail=3&source=/none") == []
    assert await read("node=m&limit=1") == [4]
    assert await read("after=6") == []


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "after=٣", "limit=1001", "watch=maybe", "since=1", "after=1&after=2", "after=1&tail=2", "&&", "x"]
)
def test_a_senseless_query_is_refused(query: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_query(query)

    assert refused.value.code == 400


async def test_a_watch_gives_what_is_there_what_comes_and_signs_of_life(routes: EventRoutes) -> None:
    await routes.upload("n", STREAM, a_batch(1, 2))
    body = (await routes.read("watch=true&node=n")).body
    assert isinstance(body, AsyncIterator)

    first = await anext(body)
    quiet = await anext(body)
    await routes.upload("m", STREAM, a_batch(1, 1))
    await routes.upload("n", STREAM, a_batch(3, 3))
    seen = b""
    async with asyncio.timeout(60):
        while not seen.strip():
            seen = await anext(body)

    assert [msgspec.json.decode(x)["seq"] for x in first.splitlines()] == [1, 2]
    assert quiet == b"\n"
    assert msgspec.json.decode(seen)["sequence"] == 4


async def test_a_reader_that_fell_behind_is_told(tmp_path: Path) -> None:
    log = await HubLog.open(tmp_path / "h.sqlite", limits=HubLogLimits(max_events=5))
    routes = EventRoutes(log)
    await routes.upload("n", STREAM, a_batch(1, 2))
    body = (await routes.read("watch=true")).body
    assert isinstance(body, AsyncIterator)
    await anext(body)

    await routes.upload("n", STREAM, a_batch(3, 20))

    assert msgspec.json.decode(await anext(body))["error"]["code"] == 410
    with pytest.raises(ApiError) as refused:
        await routes.read("after=2")
    assert refused.value.code == 410
    assert "after=15" in refused.value.message
    await log.close()
