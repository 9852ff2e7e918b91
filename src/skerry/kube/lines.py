"""Lines out of a byte stream, each bounded. What stands after the last newline was cut off and is no line."""

from __future__ import annotations

from collections.abc import AsyncIterator


class LineSplitter:
    """Collects chunks and gives back whole lines; raises ConnectionError for a line longer than the limit."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._rest: list[bytes] = []
        self._rest_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that *chunk* completes, without their newline; empty ones are left out."""
        *lines, rest = chunk.split(b"\n")
        found = []
        for line in lines:
            self._keep(line)
            found.append(b"".join(self._rest))
            self._rest, self._rest_bytes = [], 0
        self._keep(rest)
        return [line for line in found if line.strip()]

    @property
    def cut(self) -> bool:
        """Whether a line has begun and not ended."""
        return self._rest_bytes > 0

    def _keep(self, part: bytes) -> None:
        if part:
            self._rest.append(part)
            self._rest_bytes += len(part)
        if self._rest_bytes > self._limit_bytes:
            raise ConnectionError(f"a line is longer than {self._limit_bytes} bytes")


async def split_lines(chunks: AsyncIterator[bytes], *, limit_bytes: int) -> AsyncIterator[bytes]:
    """Yield the lines of *chunks*; raises ConnectionError when the stream ends inside one."""
    splitter = LineSplitter(limit_bytes=limit_bytes)
    async for chunk in chunks:
        for line in splitter.feed(chunk):
            yield line
    if splitter.cut:
        raise ConnectionError("the stream ended inside a line")
