"""What node and worker say to each other over a pipe: a length and a JSON document, pure.

What must stay true: a length is a claim, and is refused before anything is allocated for it.
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_FRAME = 1 << 20


class FrameError(ValueError):
    """The other end claims a frame that is too long."""


def frame(payload: bytes) -> bytes:
    """Return *payload* with its length before it."""
    if len(payload) > MAX_FRAME:
        raise FrameError(f"a frame of {len(payload)} bytes, the limit is {MAX_FRAME}")
    return len(payload).to_bytes(4, "big") + payload


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the frames that are complete now; FrameError when one claims too much."""
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if size > MAX_FRAME:
                raise FrameError(f"a frame of {size} bytes, the limit is {MAX_FRAME}")
            if len(self._buffer) < 4 + size:
                return
            payload = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            yield payload
