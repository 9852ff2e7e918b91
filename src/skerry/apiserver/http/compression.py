"""Large answers in gzip, where the client takes it. What was compressed last is kept: informers list the same state again and again."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping

from msgspec.structs import replace

from skerry.apiserver.http.message import Headers, Response
from skerry.apiserver.registry.slices import Finite

MIN_BYTES = 128 << 10
THREAD_BYTES = 256 << 10
"""Longer answers are compressed beside the loop."""
MAX_KEPT_BYTES = 4 << 20
_HEAD = 512

Key = tuple[str, str, int, bytes]


class Compressor:
    """Compresses answers; keeps the compressed form of those that a revision names."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0

    async def compressed(self, target: str, headers: Mapping[str, str], response: Response) -> Response:
        """Return *response* compressed when that is wanted and worth it."""
        body = response.body
        if isinstance(body, Finite) and accepts_gzip(headers.get("accept-encoding", "")):
            return replace(response, headers=zipped(response.headers), body=Finite(_packed(body)))
        if not isinstance(body, bytes) or len(body) < MIN_BYTES or not accepts_gzip(headers.get("accept-encoding", "")):
            return response
        if "Content-Encoding" in response.headers:
            return response
        accept = headers.get("accept", "")
        # Tables hold ages, which change without a revision.
        key: Key | None = None if "as=Table" in accept else (target, accept, len(body), body[:_HEAD])
        packed = self._kept.get(key) if key is not None else None
        if packed is None:
            packed = await asyncio.to_thread(_pack, body) if len(body) > THREAD_BYTES else _pack(body)
            if key is not None and response.status == 200 and b'"resourceVersion"' in body[:_HEAD]:
                self._keep(key, packed)
        return replace(response, headers=zipped(response.headers), body=packed)

    def _keep(self, key: Key, packed: bytes) -> None:
        if len(packed) > MAX_KEPT_BYTES or key in self._kept:
            return
        self._kept[key] = packed
        self._bytes += len(packed)
        while self._bytes > MAX_KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= len(gone)


def zipped(headers: Headers) -> Headers:
    """Return the headers of an answer in gzip: it varies by that, too."""
    vary = f"{headers['Vary']}, Accept-Encoding" if "Vary" in headers else "Accept-Encoding"
    return {**headers, "Content-Encoding": "gzip", "Vary": vary}


def accepts_gzip(header: str) -> bool:
    """Say whether an Accept-Encoding header takes gzip (not with a weight of zero)."""
    for entry in header.split(","):
        name, _, weight = entry.strip().partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


async def _packed(body: Finite) -> AsyncGenerator[bytes, None]:
    """Compress a body that is made as it is sent, a chunk at a time."""
    packer = zlib.compressobj(1, wbits=31)
    try:
        async for chunk in body:
            for at in range(0, len(chunk), THREAD_BYTES):
                if packed := packer.compress(chunk[at : at + THREAD_BYTES]):
                    yield packed
                if at:
                    await asyncio.sleep(0)
        yield packer.flush()
    finally:
        await body.aclose()


def _pack(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)
