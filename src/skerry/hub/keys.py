"""The hub's own requests about the keys that seal Secrets: list them, rotate them.

A rotation runs in the background, one at a time, and goes on at the next start when it was cut short.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import msgspec

from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.routes import Access, Route
from skerry.apiserver.store import Rotation
from skerry.model.times import rfc3339

log = logging.getLogger(__name__)

PATH = "/skerry/keys"


class KeyDesk:
    """Lists and rotates the keys of the hub's store."""

    def __init__(self, rotation: Rotation, now: Callable[[], datetime]) -> None:
        self._rotation = rotation
        self._now = now
        self._task: asyncio.Task[None] | None = None
        self._failure = ""

    def routes(self) -> list[Route]:
        return [
            Route(("GET",), PATH, Access.PATH, self._list, "the keys that seal Secrets"),
            Route(("POST",), PATH, Access.PATH, self._rotate, "a new key for Secrets"),
        ]

    def resume(self) -> None:
        """Go on with a rotation that was cut short."""
        if self._rotation.unfinished:
            self._begin(self._rotation.resume())

    async def close(self) -> None:
        """Stop where it is: the next start goes on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _list(self, request: Request) -> Response:
        """`GET /skerry/keys`: every key and how many rows it sealed."""
        keys = [{"id": k.id, "made": k.made, "primary": k.primary, "rows": k.rows} for k in await self._rotation.keys()]
        told = {"keys": keys, "rotating": self._task is not None, "failure": self._failure}
        return Response(200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, msgspec.json.encode(told))

    async def _rotate(self, request: Request) -> Response:
        """`POST /skerry/keys`: begin a rotation, or join the one that is under way; the answer says what is there now."""
        if self._task is None:
            self._begin(self._rotation.resume() if self._rotation.unfinished else self._rotation.rotate(rfc3339(self._now())))
            await asyncio.sleep(0)
        return await self._list(request)

    def _begin(self, work: Coroutine[Any, Any, int]) -> None:
        self._failure = ""
        self._task = asyncio.get_running_loop().create_task(self._run(work), name="key rotation")

    async def _run(self, work: Coroutine[Any, Any, int]) -> None:
        try:
            await work
        except Exception as error:
            self._failure = str(error)
            log.exception("key rotation stopped, it goes on with the next one or at the next start")
        finally:
            self._task = None
