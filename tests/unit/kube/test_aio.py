"""The aiohttp transport against a real aiohttp server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from skerry.kube import HttpApi, closing
from skerry.kube.aio import AioTransport
from skerry.kube.kubeconfig import Cluster
from skerry.model.resources import PODS

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Serving:
    """A server whose one handler a test sets."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self.handler is not None
        return await self.handler(request)


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    found = Serving()
    runner = web.ServerRunner(web.Server(found.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


async def test_a_request_carries_the_token_and_the_query_untouched(serving: Serving) -> None:
    seen: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.extend([request.headers["authorization"], request.raw_path])
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []}, headers={"Skerry-Epoch": "e1"})

    serving.handler = handler

    async with AioTransport(Cluster(serving.url, token="t0k")) as transport:
        found = await HttpApi(transport).list(PODS, "s", labels="a in (b,c)")

    assert seen == ["Bearer t0k", "/api/v1/namespaces/s/pods?labelSelector=a+in+%28b%2Cc%29&limit=500"]
    assert (found.revision, found.origin.epoch) == ("1", "e1")


async def test_a_watch_that_the_server_drops_is_a_lost_connection(serving: Serving) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"type":"ADDED","object":{"metadata":{"name":"p"}}}\n')
        await asyncio.sleep(0)
        assert request.transport is not None
        request.transport.abort()
        return response

    serving.handler = handler
    names: list[str] = []

    async with AioTransport(Cluster(serving.url)) as transport, closing(HttpApi(transport).watch(PODS)) as events:
        with pytest.raises(ConnectionError, match="cut"):
            names.extend([e.object["metadata"]["name"] async for e in events])


async def test_a_redirect_is_not_followed(serving: Serving) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    serving.handler = handler

    async with AioTransport(Cluster(serving.url)) as transport:
        with pytest.raises(ConnectionError, match="302"):
            await HttpApi(transport).get(PODS, "s", "p")


async def test_an_absent_server_is_a_lost_connection() -> None:
    async with AioTransport(Cluster("http://127.0.0.1:9")) as transport:
        with pytest.raises(ConnectionError, match="cannot be reached"):
            await HttpApi(transport).get(PODS, "s", "p")
