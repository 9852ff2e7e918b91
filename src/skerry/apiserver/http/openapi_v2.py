"""/openapi/v2: everything in one document, as JSON or as gnostic's protobuf. Made beside the loop when somebody asks, and forgotten
soon after: it is megabytes, and only old tools want it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.openapi import CRDS
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.schema import ServedResource
from skerry.apiserver.schema.gnostic import ASKED, MEDIA, encode
from skerry.apiserver.schema.openapi import OpenApi
from skerry.apiserver.schema.openapi_v2 import document
from skerry.apiserver.store import Record

KEPT_S = 120.0
JSON = "application/json"


class OpenApiV2:
    """Answers /openapi/v2."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[tuple[int, str], bytes] = {}
        self._lock = asyncio.Lock()
        self._forget: asyncio.TimerHandle | None = None

    async def answer(self, request: Request) -> Response:
        """/openapi/v2"""
        media = MEDIA if any(m in request.headers.get("accept", "") for m in ASKED) else JSON
        body = await self._body(media)
        etag = f'"{hashlib.sha256(body).hexdigest().upper()}"'
        headers = {"ETag": etag, "Vary": "Accept", "Cache-Control": "no-cache, private"}
        if request.headers.get("if-none-match") == etag:
            return Response(304, headers)
        return Response(200, {"Content-Type": media, **headers}, body)

    async def _body(self, media: str) -> bytes:
        async with self._lock:
            key = (self._registry.kinds.changes, media)
            body = self._made.get(key)
            if body is None:
                records = self._registry.store.list(CRDS).records
                body = await asyncio.to_thread(_made, [k.served for k in self._registry.kinds], records, media)
                self._made = {k: v for k, v in self._made.items() if k[0] == key[0]} | {key: body}
            if self._forget is not None:
                self._forget.cancel()
            self._forget = asyncio.get_running_loop().call_later(KEPT_S, self._made.clear)
            return body

    def close(self) -> None:
        if self._forget is not None:
            self._forget.cancel()


def _made(resources: Sequence[ServedResource], crds: Sequence[Record], media: str) -> bytes:
    whole = document(OpenApi(resources, [decode(r.value) for r in crds]).documents())
    return encode(whole) if media == MEDIA else dumps(whole)
