"""/openapi/v2: everything in one document, as JSON or as gnostic's protobuf; only old tools want it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.openapi_documents import Documents, Served
from skerry.apiserver.schema import gnostic, openapi_v2

JSON = "application/json"


class OpenApiV2:
    """Answers /openapi/v2."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def answer(self, request: Request) -> Response:
        """/openapi/v2"""
        media = gnostic.MEDIA if any(m in request.headers.get("accept", "") for m in gnostic.ASKED) else JSON
        served = self._documents.served()
        hashes = await self._documents.hashes(served)
        hash_ = hashlib.sha512("\n".join((media, *hashes.values())).encode()).hexdigest().upper()[:64]
        headers = {"Content-Type": media, "Cache-Control": "no-cache, private"}
        return await self._documents.answer(request, media, hash_, headers, lambda: _pieces(served, media))


def _pieces(served: Served, media: str) -> Iterator[bytes]:
    write = gnostic.pieces if media == gnostic.MEDIA else openapi_v2.pieces
    yield from write(openapi_v2.HEAD, openapi_v2.parts_of(served.drawn().parts()))
