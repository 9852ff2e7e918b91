"""How much is taken on at once: requests that are answered, bodies that arrive, streams that stand open.

Every count is kept for the server and for each user: nobody takes all places. What stands still too long is closed, and so is what
a token opened that is worth nothing any more: a watch would otherwise outlive the account, the Pod or the node that it was given for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from skerry.apiserver.http.message import ANONYMOUS, User
from skerry.model.errors import too_many_requests

MAX_IN_FLIGHT = 400
"""Requests that are worked on at once, watches and logs not counted; more are told to come back (429)."""
MAX_IN_FLIGHT_OF_ONE = 200
MAX_STRANGERS = 50
MAX_STREAMS = 10_000
MAX_STREAMS_OF_ONE = 2_000
"""Watches and logs that one user may have open."""
MAX_RECEIVING_BYTES = 64 << 20
"""What all bodies that are not complete yet may take in memory together."""
FREE_BYTES = 64 << 10
"""A body up to here is not counted."""
STALLED_S = 60.0
"""How long a client may read nothing of a stream that has something for it."""
SWEEP_S = 5.0


class InFlight:
    """Requests that are being answered."""

    def __init__(self) -> None:
        self.total = 0
        self.strangers = 0
        self._of: dict[str, int] = {}

    def admit(self, user: User) -> None:
        """Count one more; ApiError 429 when that is too many, of all or of this user."""
        if user is ANONYMOUS:
            if self.strangers >= MAX_STRANGERS:
                raise _too_many(MAX_STRANGERS, "requests without credentials")
            self.strangers += 1
            return
        mine = self._of.get(user.name, 0)
        if self.total >= MAX_IN_FLIGHT or mine >= MAX_IN_FLIGHT_OF_ONE:
            raise _too_many(MAX_IN_FLIGHT, f"requests, {MAX_IN_FLIGHT_OF_ONE} of one user,")
        self.total += 1
        self._of[user.name] = mine + 1

    def release(self, user: User) -> None:
        """Count one less."""
        if user is ANONYMOUS:
            self.strangers -= 1
            return
        self.total -= 1
        left = self._of[user.name] - 1
        if left:
            self._of[user.name] = left
        else:
            del self._of[user.name]


def _too_many(limit: int, what: str) -> Exception:
    return too_many_requests(f"{limit} {what} are being answered, which is the limit: try again", retry_after_s=1)


class Receiving:
    """What has arrived of bodies that are not complete."""

    def __init__(self) -> None:
        self.bytes = 0

    def take(self, size: int) -> None:
        """Count what a body has brought; ApiError 429 when all of them together have brought too much."""
        if self.bytes + size > MAX_RECEIVING_BYTES:
            raise too_many_requests("too many large requests are arriving: try again", retry_after_s=1)
        self.bytes += size

    def give(self, size: int) -> None:
        self.bytes -= size


class OpenStream:
    """One answer without an end; `since` is when the write began that has not ended, 0 between writes."""

    __slots__ = ("since", "token", "transport", "user")

    def __init__(self, user: str, transport: Any, token: str) -> None:
        self.user, self.transport, self.token, self.since = user, transport, token, 0.0


class OpenStreams:
    """The streams that stand open; ended are those whose clients read nothing, or whose token is not *good* any more."""

    def __init__(self, good: Callable[[str], bool] = lambda token: True) -> None:
        self._good = good
        self._open: set[OpenStream] = set()
        self._of: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def open(self, user: str, transport: Any, token: str = "") -> OpenStream:
        """Count a stream that *token* (or else a certificate) opened; ApiError 429 when there are too many, of all or of this user."""
        mine = self._of.get(user, 0)
        if len(self._open) >= MAX_STREAMS or mine >= MAX_STREAMS_OF_ONE:
            limit = f"{MAX_STREAMS} streams, {MAX_STREAMS_OF_ONE} of one user,"
            raise too_many_requests(f"{limit} may be open: close some and try again", retry_after_s=5)
        stream = OpenStream(user, transport, token)
        self._open.add(stream)
        self._of[user] = mine + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        return stream

    def close(self, stream: OpenStream) -> None:
        self._open.discard(stream)
        left = self._of[stream.user] - 1
        if left:
            self._of[stream.user] = left
        else:
            del self._of[stream.user]

    def stop(self) -> None:
        """Sweep no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time() - STALLED_S
        lapsed = {t for t in {stream.token for stream in self._open if stream.token} if not self._good(t)}
        for stream in self._open:
            if stream.transport is not None and (stream.token in lapsed or 0 < stream.since < before):
                stream.transport.abort()
        self._timer = loop.call_later(SWEEP_S, self._sweep) if self._open else None
