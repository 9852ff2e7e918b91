"""OpenAPI v3: an index, and one document a group and version."""

from __future__ import annotations

from collections.abc import Iterator

from skerry.apiserver.aggregation.aggregator import Aggregator
from skerry.apiserver.http.answers import TEXT_HEADERS, page_not_found
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.openapi_documents import Documents, Served
from skerry.apiserver.http.query import parse
from skerry.apiserver.registry.encoding import dumps

_FOR_EVER = "public, immutable"


class OpenApiRoutes:
    """Answers /openapi/v3 and what lies below it."""

    def __init__(self, documents: Documents, others: Aggregator) -> None:
        self._documents, self._others = documents, others

    async def index(self, request: Request) -> Response:
        """/openapi/v3"""
        hashes = await self._documents.hashes(self._documents.served())
        paths = {place: {"serverRelativeURL": f"/openapi/v3/{place}?hash={hash_}"} for place, hash_ in hashes.items()}
        for group, versions in self._others.remotes().items():
            for version in (v for v, known in versions.items() if known.available):
                place = f"apis/{group}/{version}"
                paths.setdefault(place, {"serverRelativeURL": f"/openapi/v3/{place}"})
        return Response(200, TEXT_HEADERS, dumps({"paths": paths}))  # JSON under this type: so Kubernetes answers it

    async def document(self, request: Request) -> Response:
        """/openapi/v3/apis/GROUP/VERSION: under its hash it never changes, under another one it has moved."""
        place = request.path.removeprefix("/openapi/v3/")
        served = self._documents.served()
        hash_ = (await self._documents.hashes(served)).get(place)
        if hash_ is None:
            group, _, version = place.removeprefix("apis/").partition("/")
            if self._others.serves(group, version):
                return await self._others.forward(group, version, request)
            return page_not_found()
        wanted = parse(request.query).get("hash", "")
        if wanted and wanted != hash_:
            return Response(301, {"Location": f"/openapi/v3/{place}?hash={hash_}"})
        headers = {"Content-Type": "application/json", "Cache-Control": _FOR_EVER if wanted else "no-cache, private"}
        return await self._documents.answer(request, place, hash_, headers, lambda: _pieces(served, place))


def _pieces(served: Served, place: str) -> Iterator[bytes]:
    yield from served.drawn().pieces(place)
