"""Long work that stays on the loop, in slices: whoever walks over many objects lets others have their turn now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from time import perf_counter

from skerry.apiserver.registry.beside import Beside

SLICE_S = 0.02
"""How long others wait, at most, if one step is not longer."""
CHUNK_BYTES = 256 << 10


class Pace:
    """How long the present slice has lasted."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = perf_counter() + SLICE_S

    @property
    def is_due(self) -> bool:
        """Say whether it is others' turn."""
        return perf_counter() > self._until

    async def rest(self) -> None:
        """Let others have their turn, and begin a slice."""
        await asyncio.sleep(0)
        self._until = perf_counter() + SLICE_S


async def sliced(pieces: Iterable[bytes], size: int = CHUNK_BYTES) -> AsyncGenerator[bytes, None]:
    """Yield *pieces* joined to about *size* bytes, those of a slice at the latest; they are made as they are handed over."""
    found: list[bytes] = []
    length, pace = 0, Pace()
    for piece in pieces:
        if piece:
            found.append(piece)
            length += len(piece)
        due = pace.is_due
        if length >= size or due:
            if found:
                yield b"".join(found)
                found, length = [], 0
            if due:
                await pace.rest()
    if found:
        yield b"".join(found)


async def made_beside(beside: Beside, pieces: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield *pieces*, each made in the other thread: for forms of which one piece may take long. None of them is empty."""
    following = iter(pieces).__next__
    while piece := await beside.run(_next, following):
        yield piece


def _next(following: Callable[[], bytes]) -> bytes:
    try:
        return following()
    except StopIteration:  # which no future takes
        return b""


class Finite:
    """A body that ends by itself and is made as it is sent, as against a stream that is open for as long as its client likes."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        await self._chunks.aclose()
