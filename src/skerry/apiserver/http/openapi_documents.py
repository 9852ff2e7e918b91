"""The documents of OpenAPI as they are kept and sent. They may be long: they are made a piece at a time beside the loop, one
document after the other however many ask, and kept compressed. One that is too long to be kept is made as it is sent.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from skerry.apiserver.http.compression import MIN_BYTES, accepts_gzip, zipped
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.registry.crds import CRDS
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.slices import CHUNK_BYTES, Finite, made_beside
from skerry.apiserver.schema import OpenApi, ServedResource
from skerry.apiserver.store import Record

MAX_KEPT_BYTES = 8 << 20
"""Compressed, of all documents together: a hundred MiB of definitions as people write them. A longer document is not kept."""
WHOLE_BYTES = 2 << 20
"""A longer document comes in chunks to whom takes no gzip; without custom kinds all are shorter."""
SENT_AT_ONCE = 4
"""Documents too long to be kept that are made and sent at the same time: each has one definition in memory, of 4 MiB at most."""
_GZIP = 31
_STEP_BYTES = 16 << 10


class Served(NamedTuple):
    """What documents are drawn from, all of one moment."""

    resources: list[ServedResource]
    crds: Sequence[Record]

    def drawn(self) -> OpenApi:
        return OpenApi(self.resources, (r.value for r in self.crds))


Draw = Callable[[], Iterator[bytes]]


class Documents:
    """Makes answers of documents, and keeps those that were asked for last."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._hashes: tuple[object, dict[str, str]] = (None, {})
        self._kept: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._bytes = 0
        self._making, self._sending = asyncio.Lock(), asyncio.Semaphore(SENT_AT_ONCE)

    def served(self) -> Served:
        """Return what is served now."""
        return Served([k.served for k in self._registry.kinds], self._registry.store.list(CRDS).records)

    async def hashes(self, served: Served) -> dict[str, str]:
        """Return the hash of every group's and version's document."""
        now = (self._registry.kinds.changes, [r.revision for r in served.crds])
        if self._hashes[0] != now:
            self._hashes = (now, await self._registry.beside.run(_hashes, served))
        return self._hashes[1]

    async def answer(self, request: Request, name: str, hash_: str, headers: Mapping[str, str], draw: Draw) -> Response:
        """Return the document *name*, which is what *draw* draws and has that hash; 304 when the client has it already."""
        headers = {**headers, "ETag": f'"{hash_}"', "Vary": "Accept"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(304, headers)
        packed = self._known(name, hash_)
        if packed is None:
            async with self._making:
                packed = self._known(name, hash_)
                if packed is None:
                    packed = await self._packed(draw)
                    self._keep(name, hash_, packed)
        if not packed:
            return Response(200, headers, Finite(self._sent(draw)))
        if accepts_gzip(request.headers.get("accept-encoding", "")) and not _is_within(MIN_BYTES, packed):
            return Response(200, zipped(headers), packed)
        if _is_within(WHOLE_BYTES, packed):
            return Response(200, headers, zlib.decompress(packed, _GZIP))
        return Response(200, headers, Finite(_unpacked(packed)))

    def _known(self, name: str, hash_: str) -> bytes | None:
        found = self._kept.get(name)
        if found is None or found[0] != hash_:
            return None
        self._kept.move_to_end(name)
        return found[1]

    async def _packed(self, draw: Draw) -> bytes:
        """Return a document compressed; b"" when it would be too long to be kept."""
        chunks, length = [], 0
        async for chunk in made_beside(self._registry.beside, _compressed(cut(draw()))):
            chunks.append(chunk)
            length += len(chunk)
            if length > MAX_KEPT_BYTES:
                return b""
        return b"".join(chunks)

    def _keep(self, name: str, hash_: str, packed: bytes) -> None:
        self._bytes += len(packed) - len(self._kept.pop(name, ("", b""))[1])
        self._kept[name] = (hash_, packed)
        while self._bytes > MAX_KEPT_BYTES:
            _, (_, gone) = self._kept.popitem(last=False)
            self._bytes -= len(gone)

    async def _sent(self, draw: Draw) -> AsyncGenerator[bytes, None]:
        async with self._sending:
            async for chunk in made_beside(self._registry.beside, cut(draw())):
                yield chunk


def _hashes(served: Served) -> dict[str, str]:
    return served.drawn().hashes()


def cut(pieces: Iterable[bytes], size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield *pieces* joined and cut to chunks of *size* bytes or up to half as much more; the last one may be short."""
    chunk = bytearray()
    for piece in pieces:
        for at in range(0, len(piece), size // 2):
            chunk += piece[at : at + size // 2]
            if len(chunk) >= size:
                yield bytes(chunk)
                chunk.clear()
        del piece  # it may be megabytes, and the next one is made now
    if chunk:
        yield bytes(chunk)


def _compressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=_GZIP)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def _is_within(limit: int, packed: bytes) -> bool:
    """Say whether a document has at most *limit* bytes: a gzip stream ends with how many, modulo 4 GiB, which a short one cannot hold."""
    return len(packed) <= limit and int.from_bytes(packed[-4:], "little") <= limit


async def _unpacked(packed: bytes) -> AsyncGenerator[bytes, None]:
    unpacker = zlib.decompressobj(_GZIP)
    for at in range(0, len(packed), _STEP_BYTES):
        rest = packed[at : at + _STEP_BYTES]
        while chunk := unpacker.decompress(rest, CHUNK_BYTES):
            rest = unpacker.unconsumed_tail
            yield chunk
