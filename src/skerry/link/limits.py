"""How much one end of a link lets the other use. Every buffer of the link is bounded by a figure that stands here."""

from __future__ import annotations

import msgspec

ALPN = "skerry-link/1"
"""The name under which the link is chosen in the TLS handshake; everything else on the port is http/1.1."""


class Limits(msgspec.Struct, frozen=True):
    """What one end accepts; it tells the other in its SETTINGS."""

    max_streams: int = 1024
    """Streams open at once: a watch for each Secret of 500 devices must fit."""
    stream_window: int = 128 * 1024
    """Bytes of one stream that nobody has read yet; the sender waits at this."""
    connection_window: int = 4 * 1024 * 1024
    """Bytes of all streams together that nobody has read yet."""
    max_frame: int = 64 * 1024
    """Bytes of one frame: large, because each frame costs the same CPU."""
    max_headers: int = 32 * 1024
    """Bytes of one request's headers, decoded."""
    max_resets: int = 2048
    """Streams that the peer may open and reset beyond those that it lets end well (the rapid reset attack)."""
    max_noise: int = 4096
    """Frames that carry nothing (settings, pings, window updates, empty data) beyond what our answers account for: hours of pings."""
    max_unsent: int = 8 * 1024 * 1024
    """Bytes that wait in the socket's buffer; a peer that reads nothing is cut off beyond them."""
    ping_every_s: float = 10.0
    """Silence after which we ask whether the peer is there; shorter than the idle time of NATs (30 s and up)."""
    silent_s: float = 25.0
    """Silence after which the peer counts as gone: found within 30 s."""


DEFAULT_LIMITS = Limits()
NODE_LIMITS = Limits(max_streams=16, stream_window=256 * 1024, connection_window=1024 * 1024)
"""What a node accepts of its hub: larger windows for lists over slow links, and no streams opened by the hub."""
