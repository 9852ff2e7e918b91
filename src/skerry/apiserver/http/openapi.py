"""OpenAPI v3: an index, and one document a group and version, made anew when the kinds changed."""

from __future__ import annotations

import asyncio

from skerry.apiserver.aggregation.aggregator import Aggregator
from skerry.apiserver.http.answers import TEXT_HEADERS, page_not_found
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.query import parse
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.schema.openapi import OpenApi

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_FOR_EVER = "public, immutable"


class OpenApiRoutes:
    """Answers /openapi/v3 and what lies below it."""

    def __init__(self, registry: Registry, others: Aggregator) -> None:
        self._registry, self._others = registry, others
        self._made: tuple[int, OpenApi] | None = None
        self._building = asyncio.Lock()

    async def index(self, request: Request) -> Response:
        """/openapi/v3"""
        async with self._building:
            index = await asyncio.to_thread((await self._documents()).index)
        for group, versions in self._others.remotes().items():
            for version in (v for v, known in versions.items() if known.available):
                place = f"apis/{group}/{version}"
                index["paths"].setdefault(place, {"serverRelativeURL": f"/openapi/v3/{place}"})
        return Response(200, TEXT_HEADERS, dumps(index))  # JSON under this type: so Kubernetes answers it

    async def document(self, request: Request) -> Response:
        """/openapi/v3/apis/GROUP/VERSION: under its hash it never changes, under another one it has moved."""
        place = request.path.removeprefix("/openapi/v3/")
        async with self._building:  # half a hundred milliseconds for the core group: beside the loop, and once
            found = await asyncio.to_thread((await self._documents()).document, place)
        if found is None:
            group, _, version = place.removeprefix("apis/").partition("/")
            if self._others.serves(group, version):
                return await self._others.forward(group, version, request)
            return page_not_found()
        wanted = parse(request.query).get("hash", "")
        if wanted and wanted != found.hash:
            return Response(301, {"Location": f"/openapi/v3/{place}?hash={found.hash}"})
        headers = {"Content-Type": "application/json", "ETag": f'"{found.hash}"', "Vary": "Accept"}
        headers["Cache-Control"] = _FOR_EVER if wanted else "no-cache, private"
        if request.headers.get("if-none-match") == f'"{found.hash}"':
            return Response(304, headers)
        return Response(200, headers, found.body)

    async def _documents(self) -> OpenApi:
        changes = self._registry.kinds.changes
        if self._made is None or self._made[0] != changes:
            records, served = self._registry.store.list(CRDS).records, [k.served for k in self._registry.kinds]
            self._made = (changes, await asyncio.to_thread(lambda: OpenApi(served, [decode(r.value) for r in records])))
        return self._made[1]
