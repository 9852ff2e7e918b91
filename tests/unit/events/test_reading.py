"""Reading the hub's log as a client: pages, following through lost connections, and lines that people can trust."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

import msgspec
import pytest

from skerry.events import reading
from skerry.events.log import HubLog
from skerry.events.log.batch import encode
from skerry.events.routes import Answer, EventRoutes
from skerry.model.errors import ApiError


class Response:
    def __init__(self, answer: Answer, *, chunks: int) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self._body = answer.body
        self._left = chunks

    async def read(self, *, limit_bytes: int) -> bytes:
        assert isinstance(self._body, bytes)
        return self._body

    async def chunks(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, bytes):
            yield self._body
            return
        async with contextlib.aclosing(self._body) as body:  # type: ignore[type-var]
            async for chunk in body:
                yield chunk
                self._left -= 1
                if not self._left:
                    raise ConnectionError("cut")

    async def close(self) -> None:
        return None


class Local:
    """The routes as a transport, which cuts a stream after some chunks."""

    def __init__(self, log: HubLog, *, chunks: int = 1) -> None:
        self.routes = EventRoutes(log, quiet_s=0.01)
        self.chunks = chunks
        self.paths: list[str] = []

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        self.paths.append(path)
        try:
            return Response(await self.routes.read(urlsplit(path).query), chunks=self.chunks)
        except ApiError as error:
            return Response(Answer(error.code, msgspec.json.encode(error.to_status())), chunks=1)


async def fill(log: HubLog, first: int, last: int) -> None:
    raw = msgspec.json.encode({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"a": 1}})
    await log.store("n", "s", encode(first - 1, [(i, raw) for i in range(first, last + 1)], reason=""))


async def test_all_pages_are_read(hublog: HubLog) -> None:
    for first in range(1, 2501, 500):
        await fill(hublog, first, first + 499)

    found = [e.seq async for e in reading.pages(Local(hublog), after=0)]

    assert found == list(range(1, 2501))


async def test_a_tail_is_the_last_ones(hublog: HubLog) -> None:
    await fill(hublog, 1, 900)

    assert [e.seq async for e in reading.pages(Local(hublog), tail=700)] == list(range(201, 901))
    assert [e.seq async for e in reading.pages(Local(hublog), tail=0)] == []


async def test_a_tail_of_one_node_is_found_pages_back(hublog: HubLog) -> None:
    await fill(hublog, 1, 5)
    raw = msgspec.json.encode({"specversion": "1.0", "id": "1", "source": "/t", "type": "t", "data": {"a": 1}})
    for first in range(1, 2501, 500):
        await hublog.store("other", "s", encode(first - 1, [(i, raw) for i in range(first, first + 500)], reason=""))

    assert [e.seq async for e in reading.pages(Local(hublog), tail=3, node="n")] == [3, 4, 5]


async def test_a_follower_misses_and_repeats_nothing_though_its_connection_breaks(hublog: HubLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_RETRY_S", 0.0)
    local, seen = Local(hublog), []
    await fill(hublog, 1, 5)

    async def collect() -> None:
        async for entry in reading.follow(local, after=0):
            seen.append(entry.seq)
            if entry.seq == 40:
                return

    task = asyncio.create_task(collect())
    for first in range(6, 41, 5):
        await fill(hublog, first, first + 4)
        await asyncio.sleep(0.002)
    await asyncio.wait_for(task, 60)

    assert seen == list(range(1, 41))
    assert len(local.paths) > 1


async def test_a_refusal_is_told(hublog: HubLog) -> None:
    with pytest.raises(ApiError) as refused:
        _ = [e async for e in reading.pages(Local(hublog), tail=5000)]

    assert refused.value.code == 400


def test_a_line_cannot_steer_a_terminal() -> None:
    event = {"type": "t\x1b[2J", "source": "/s\x9b31m", "time": "now", "data": {"a": "\x7f\u202e"}}

    line = reading.describe(reading.ReadEntry(7, "n", 3, event))

    assert line.isprintable()
    assert line.startswith("7 n now t\\u001b[2J /s\\u009b31m - ")
