"""A webhook over TLS, as somebody else would run one: it remembers what it was asked and answers as the test says."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trustme
from aiohttp import web

Answerer = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | web.Response]]
NAMES = ("127.0.0.1", "localhost", "hook.default.svc")


class Served:
    """`asked` are the requests so far; `answer` gives the response to one (without uid)."""

    def __init__(self, ca: trustme.CA) -> None:
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.answer: Answerer = allow
        self.port = 0
        self.bundle = base64.b64encode(ca.cert_pem.bytes()).decode()

    def url(self, path: str = "/hook") -> dict[str, Any]:
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.bundle}

    async def handle(self, request: web.Request) -> web.Response:
        sent = json.loads(await request.read())
        self.asked.append(sent["request"])
        self.paths.append(request.path_qs)
        found = await self.answer(sent["request"])
        if isinstance(found, web.Response):
            return found
        return web.json_response({**sent, "request": None, "response": {"uid": sent["request"]["uid"], **found}})


async def allow(request: dict[str, Any]) -> dict[str, Any]:
    return {"allowed": True}


def patching(*operations: dict[str, Any]) -> Answerer:
    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}

    return answer


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    """Run a webhook on a port of its own."""
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*NAMES).configure_cert(context)
    served = Served(ca)
    app = web.Application(client_max_size=8 << 20)

    async def handle(request: web.Request) -> web.Response:
        return await served.handle(request)

    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    addresses = runner.addresses
    served.port = addresses[0][1]
    try:
        yield served
    finally:
        await runner.cleanup()
