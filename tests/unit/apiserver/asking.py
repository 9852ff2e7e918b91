"""Requests straight into the dispatcher, as any user."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import msgspec

from skerry.apiserver.http.message import Request, Response, User
from skerry.apiserver.server import ApiServer

ADMIN = User("admin", ("system:masters", "system:authenticated"))
MERGE = "application/merge-patch+json"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def node_user(name: str) -> User:
    return User(f"system:node:{name}", ("system:nodes", "system:authenticated"), node=name)


class Asker:
    """`await ask("GET", path)` gives (status, decoded body); `raw` gives the Response."""

    def __init__(self, server: ApiServer, user: User = ADMIN) -> None:
        self._server, self._user = server, user

    def as_user(self, user: User) -> Asker:
        return Asker(self._server, user)

    async def raw(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        path, _, query = path.partition("?")
        sent = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        found = {k.replace("_", "-"): v for k, v in headers.items()}
        return await self._server.dispatcher.handle(Request(method, path, query, found, sent, self._user))

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        response = await self.raw(method, path, body, **headers)
        assert isinstance(response.body, bytes), "a stream: use `lines`"
        try:
            return response.status, msgspec.json.decode(response.body)
        except msgspec.DecodeError:
            return response.status, response.body

    async def watch(self, path: str, **headers: str) -> AsyncGenerator[dict[str, Any], None]:
        """Open a watch and return its events, one at a time."""
        response = await self.raw("GET", path, **headers)
        assert response.status == 200, response.body
        return _events(cast("AsyncIterator[bytes]", response.body))


async def _events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    try:
        async for chunk in chunks:
            for line in chunk.splitlines():
                yield msgspec.json.decode(line)
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def configmap(name: str, *, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def pod(name: str, *, node: str = "", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    found = {"containers": [{"name": "c", "image": "host.skerry.invalid/x"}], **spec}
    if node:
        found["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": found}
