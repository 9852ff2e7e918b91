"""The messages of the control stream (hub to node), one JSON object a line, and the paths on the link that are ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from skerry.link.core import PeerError
from skerry.model.unreadable import NOT_JSON

CONTROL_PATH = "/skerry/link/control"
STREAMS_PATH = "/skerry/link/streams/"
EVENTS_PATH = "/skerry/link/events"
STATUS_HEADER = "skerry-status"
"""On the node's answer to an `Open`: 200, or the code of the Status object that follows as the body."""
OUTBOX_HEADER = "skerry-stream"
NOT_ENROLLED = "the key has no approved enrollment"
DENIED = "the key was denied"
EXPIRED = "the certificate has expired"
"""With these words the hub closes a link that it does not want."""
PING_EVERY_S = 10.0
MAX_LINE = 256 * 1024
"""Bytes of one message; an exec with long arguments must fit."""


class Open(msgspec.Struct, tag="open", tag_field="type", frozen=True):
    """The hub asks the node to open `/skerry/link/streams/<stream>` and to serve it as *kind*."""

    stream: str
    kind: str
    params: dict[str, Any] = {}


class Ping(msgspec.Struct, tag="ping", tag_field="type", frozen=True):
    """The hub's program is alive, not only its connection."""


Message = Open | Ping
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the line for *message*."""
    return msgspec.json.encode(message) + b"\n"


class Reader:
    """Puts lines together from chunks of any size; raises PeerError for a line that is too long or makes no sense."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        self._rest += data
        while (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            yield _read(line)
        if len(self._rest) > MAX_LINE:
            raise PeerError(f"a control message is longer than {MAX_LINE} bytes")


def _read(line: bytes) -> Message:
    if len(line) > MAX_LINE:
        raise PeerError(f"a control message is longer than {MAX_LINE} bytes")
    try:
        return _decoder.decode(line)
    except NOT_JSON as error:
        raise PeerError(f"not a control message: {error}") from error
