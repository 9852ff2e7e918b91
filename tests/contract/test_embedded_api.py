"""The embedded server keeps the Api contract: straight into the registry, and as HTTP requests to its dispatcher."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from skerry.apiserver.http.message import Request, Response, User, pairs
from skerry.apiserver.local import LocalApi
from skerry.apiserver.server import ApiServer
from skerry.kube import ClusterApi, HttpApi
from skerry.model.resources import NAMESPACES
from tests.contract.api import ApiContract

ADMIN = User("admin", ("system:masters", "system:authenticated"))
SPACE = "team-a"


class DirectResponse:
    """A dispatcher's answer, read as a client would."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = {k.lower(): v for k, v in pairs(response.headers)}
        self._body = response.body

    async def read(self, *, limit_bytes: int) -> bytes:
        return b"".join([c async for c in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, bytes):
            yield self._body
            return
        async for chunk in self._body:
            yield chunk

    async def close(self) -> None:
        close = getattr(self._body, "aclose", None)
        if close is not None:
            await close()


class DirectTransport:
    """Requests handed to the dispatcher, as the node's link does it."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> DirectResponse:
        bare, _, query = path.partition("?")
        response = await self._server.dispatcher.handle(Request(method, bare, query, headers or {}, body, ADMIN))
        assert isinstance(response, Response)
        return DirectResponse(response)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    found = await ApiServer.open(tmp_path / "hub.sqlite")
    await LocalApi(found.registry).create(NAMESPACES, {"metadata": {"name": SPACE}})
    yield found
    await found.close()


@pytest.fixture
def space() -> str:
    return SPACE


class TestLocalApi(ApiContract):
    @pytest.fixture
    def api(self, server: ApiServer) -> ClusterApi:
        return LocalApi(server.registry)


class TestHttpApi(ApiContract):
    @pytest.fixture
    def api(self, server: ApiServer) -> ClusterApi:
        return HttpApi(DirectTransport(server))
