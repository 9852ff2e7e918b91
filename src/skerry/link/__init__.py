"""The one connection between a node and its hub: HTTP/2 under an ALPN name of our own.

`LinkCore` is the protocol without sockets; `LinkConnection` and `LinkStream` carry it on asyncio, at both ends. What
travels on it: API calls, `control` messages, batches of events, and streams whose frames are in `channels`.
"""

from __future__ import annotations

from skerry.link import channels, control
from skerry.link.connection import CLOSED_UNHEARD, LinkConnection
from skerry.link.core import LinkCore, PeerError
from skerry.link.limits import ALPN, DEFAULT_LIMITS, NODE_LIMITS, Limits
from skerry.link.stream import LinkClosedError, LinkStream

__all__ = [
    "ALPN",
    "CLOSED_UNHEARD",
    "DEFAULT_LIMITS",
    "NODE_LIMITS",
    "Limits",
    "LinkClosedError",
    "LinkConnection",
    "LinkCore",
    "LinkStream",
    "PeerError",
    "channels",
    "control",
]
