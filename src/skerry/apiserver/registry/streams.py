"""How the API asks a node for a stream: logs, exec, live values. The front door provides it; here is what is asked of it.

Every kind has `namespace` and `name`. `logs`: uid, container, follow, previous, timestamps, and where they are asked for
tailLines, limitBytes, sinceSeconds (numbers) and sinceTime (RFC 3339); the node sends the bytes as they are. `twin`: watch; the
node sends a DeviceTwin a line. `exec`: uid, container, command (a list), stdin, stdout, stderr, tty. `forward`: uid, port; the bytes
of one TCP connection, both ways.

`exec` carries frames both ways: channel and length (`>BI`), then the payload. Channels are Kubernetes' own: 0 stdin, 1
stdout, 2 stderr, 3 Status, 4 resize, 255 closes the channel that its payload names.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, Protocol

from skerry.model.errors import unavailable

FRAME = struct.Struct(">BI")
MAX_FRAME_BYTES = 1 << 20
CLOSE_CHANNEL = 255


class NodeStream(Protocol):
    """One stream of bytes to and from a node."""

    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes | None:
        """Return what came next, None at the end; raises ConnectionError when the stream is cut."""
        ...

    async def finish(self) -> None:
        """Say that nothing more will be sent."""
        ...

    def reset(self) -> None: ...


class NodeStreams(Protocol):
    """Asks nodes for streams."""

    async def open(self, node: str, kind: str, params: Mapping[str, Any]) -> NodeStream:
        """Ask *node*; raises ApiError: the node's refusal, or 503 when it is not connected."""
        ...


class SwitchedStreams:
    """What the API holds: until somebody says who can reach the nodes, every node is away."""

    def __init__(self) -> None:
        self._streams: NodeStreams | None = None

    def use(self, streams: NodeStreams) -> None:
        """Ask *streams* from now on."""
        self._streams = streams

    async def open(self, node: str, kind: str, params: Mapping[str, Any]) -> NodeStream:
        if self._streams is None:
            raise unavailable(f"node {node} is not connected to the hub", retry_after_s=5)
        return await self._streams.open(node, kind, params)


class Held:
    """A body that comes from a stream, which is given up with it, also when nobody ever began to read: the client had gone."""

    def __init__(self, body: AsyncGenerator[bytes, None], stream: NodeStream) -> None:
        self._body, self._stream = body, stream

    def __aiter__(self) -> Held:
        return self

    async def __anext__(self) -> bytes:
        return await self._body.__anext__()

    async def aclose(self) -> None:
        await self._body.aclose()
        self._stream.reset()


class Frames:
    """Takes frames out of a stream of bytes; a frame that is too long is a ValueError."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the frames that *data* completes."""
        self._buffer += data
        while len(self._buffer) >= FRAME.size:
            channel, length = FRAME.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes, the limit is {MAX_FRAME_BYTES}")
            end = FRAME.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[FRAME.size : end])
            del self._buffer[:end]
            yield channel, payload


def frame(channel: int, payload: bytes) -> bytes:
    """Return one frame."""
    return FRAME.pack(channel, len(payload)) + payload
