"""One open page: what it is yet to be told, as server-sent events. Bounded: a page that does not keep up starts anew."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

PING_S = 10.0
"""The page takes silence of 25 s for a lost hub."""

MOST_WAITING = 1000
"""Messages kept for a page; one that is further behind is told to load everything anew, and the rest is dropped."""


class Browser:
    """The hub's end of one page's stream."""

    def __init__(self) -> None:
        self.id = secrets.token_urlsafe(12)
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def tell(self, kind: str, data: Any) -> None:
        """Queue one message; never waits."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.clear()
            self._waiting.append(message("reset", {}))
        self._waiting.append(message(kind, data))
        self._wake.set()

    def nudge(self) -> None:
        """Look again at once whether the session still holds."""
        self._wake.set()

    def close(self) -> None:
        """End the stream after what is queued."""
        self._closed = True
        self._wake.set()

    async def messages(self, is_good: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yield what to send, with a ping in silence, while *is_good* says that the session holds."""
        yield message("hello", {"stream": self.id})
        while is_good():
            while self._waiting:
                batch = b"".join(self._waiting)
                self._waiting.clear()
                yield batch
            if self._closed:
                return
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), PING_S)
            except TimeoutError:
                yield message("ping", {})
        yield message("signed-out", {})


def message(kind: str, data: Any) -> bytes:
    """Return one server-sent event; JSON has no line breaks of its own."""
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
