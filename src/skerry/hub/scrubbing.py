"""Scrubs the store by itself now and then, and when asked; tells of damage with an Event, a log line and the answer to the request."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.routes import Access, Route
from skerry.apiserver.store import Report, Scrub
from skerry.controllers.recorder import Recorder
from skerry.durable import StoreError
from skerry.model.errors import ApiError
from skerry.model.objects import Object
from skerry.model.resources import SYSTEM_NAMESPACE

log = logging.getLogger(__name__)

PATH = "/skerry/scrub"
FIRST_AFTER_S = 600.0
EVERY_S = 24 * 3600.0
PAUSE_S = 0.05
"""Rest after each piece of a millisecond or so: a scrub of its own accord takes 2 % of one core, and a minute for 100 MB."""
_ABOUT: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}}


class ScrubDesk:
    """The hub's own scrubs, and those it is asked for."""

    def __init__(self, scrub: Scrub, recorder: Recorder) -> None:
        self._scrub = scrub
        self._recorder = recorder

    def routes(self) -> list[Route]:
        return [
            Route(("GET",), PATH, Access.PATH, self._last, "what the last scrub of the store found"),
            Route(("POST",), PATH, Access.PATH, self._now, "a scrub of the store"),
        ]

    def damage(self) -> int:
        """Return how many faults the last scrub found."""
        last = self._scrub.last
        return 0 if last is None else len(last.findings) + last.more

    async def run(self) -> None:
        """Scrub for ever."""
        await asyncio.sleep(FIRST_AFTER_S)
        while True:
            try:
                await self._tell(await self._scrub.run(pause_s=PAUSE_S))
            except StoreError as error:
                log.warning("scrub not finished", extra={"cause": str(error)})
            await asyncio.sleep(EVERY_S)

    async def _last(self, request: Request) -> Response:
        """`GET /skerry/scrub`: the last report, or null."""
        return _answer(self._scrub.last)

    async def _now(self, request: Request) -> Response:
        """`POST /skerry/scrub`: look at everything, then say what was found."""
        report = await self._scrub.run()
        await self._tell(report)
        return _answer(report)

    async def _tell(self, report: Report) -> None:
        if not report.findings:
            return
        more = f" and {len(report.findings) + report.more - 1} more" if len(report.findings) + report.more > 1 else ""
        try:
            await self._recorder.warning(_ABOUT, "StoreDamaged", f"the hub's store is damaged on the disk: {report.findings[0]}{more}")
        except (ApiError, StoreError) as error:
            log.warning("an Event about the store could not be written", extra={"cause": str(error)})


def _answer(report: Report | None) -> Response:
    return Response(200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, msgspec.json.encode(report))
