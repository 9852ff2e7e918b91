"""Frames of the `exec` stream: `>BI` (channel, length) and the payload, both ways.

The channels are Kubernetes' (remotecommand v5). A length is a claim: beyond `MAX_PAYLOAD` it is refused unread.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from skerry.link.core import PeerError

STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
CHANNELS = frozenset((STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE))
MAX_PAYLOAD = 1024 * 1024
"""Bytes of one frame that we take."""
SPLIT = 64 * 1024
"""Bytes of one frame that we send: a longer payload is split, so that other channels get their turn."""

_HEAD = struct.Struct(">BI")


class Frame(NamedTuple):
    """One piece of one channel; on CLOSE the payload's first byte names the channel that ends."""

    channel: int
    payload: bytes


def encode(channel: int, payload: bytes) -> bytes:
    """Return the frames for *payload*, split as needed; an empty payload is one empty frame."""
    if channel not in CHANNELS:
        raise ValueError(f"{channel} is not a channel")
    parts = [payload[at : at + SPLIT] for at in range(0, len(payload), SPLIT)] or [b""]
    return b"".join(_HEAD.pack(channel, len(part)) + part for part in parts)


class Reader:
    """Puts frames together from chunks of any size; raises PeerError for an unknown channel or a length beyond the limit."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        self._rest += data
        while len(self._rest) >= _HEAD.size:
            channel, length = _HEAD.unpack_from(self._rest)
            if channel not in CHANNELS or length > MAX_PAYLOAD:
                raise PeerError(f"a frame of {length} bytes on channel {channel}; at most {MAX_PAYLOAD} bytes on a known channel")
            end = _HEAD.size + length
            if len(self._rest) < end:
                return
            frame = Frame(channel, bytes(self._rest[_HEAD.size : end]))
            del self._rest[:end]
            yield frame
