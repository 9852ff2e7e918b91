"""What a page asks for besides the board: live values of the devices that it shows, and the newest events.

One stream to a node serves all pages that show the same device; it ends with the last of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from skerry.console.ports import EventLog, Twins
from skerry.console.stream import Browser
from skerry.console.views import View, twin_view
from skerry.model.errors import ApiError
from skerry.model.objects import Name

log = logging.getLogger(__name__)

MOST_TWINS = 200
"""Devices followed at once, all pages together."""

MOST_PER_PAGE = 50
RETRY_S = 5.0

BACKLOG = 200
"""Events that a page begins with."""

PACE_S = 0.3
MOST_EVENTS = 100
"""Events told to a page at once; of more only the newest are, and the rest is counted as skipped."""


class TwinFeeds:
    """Follows the devices that pages show."""

    def __init__(self, twins: Twins, node_of: Callable[[Name], str]) -> None:
        self._twins, self._node_of = twins, node_of
        self._wanted: dict[Browser, frozenset[Name]] = {}
        self._tasks: dict[Name, asyncio.Task[None]] = {}
        self._newest: dict[Name, View] = {}

    def show(self, browser: Browser, names: frozenset[Name]) -> None:
        """Make *names* the devices that *browser* is told about; an empty set ends it."""
        before = self._wanted.get(browser, frozenset())
        if names:
            self._wanted[browser] = names
        else:
            self._wanted.pop(browser, None)
        for name in names - before:
            if name in self._newest:
                browser.tell("twin", self._newest[name])
        self._adjust()

    def _adjust(self) -> None:
        needed = frozenset().union(*self._wanted.values())
        for name in self._tasks.keys() - needed:
            self._tasks.pop(name).cancel()
            self._newest.pop(name, None)
        for name in sorted(needed - self._tasks.keys()):
            if len(self._tasks) < MOST_TWINS:
                self._tasks[name] = asyncio.create_task(self._follow(name), name=f"twin of {name}")

    async def _follow(self, name: Name) -> None:
        while True:
            try:
                node = self._node_of(name)
                if not node:
                    raise ConnectionError("no node has this device yet")
                async for twin in self._twins.watch(node, *name):
                    self._tell(name, twin_view(twin))
                problem = "the node ended the stream"
            except (ApiError, ConnectionError, TimeoutError) as error:
                problem = str(error)
            except Exception as error:
                log.exception("twin feed broke", extra={"device": str(name)})
                problem = type(error).__name__
            self._tell(name, {"namespace": name.namespace, "name": name.name, "problem": problem})
            await asyncio.sleep(RETRY_S)

    def _tell(self, name: Name, view: View) -> None:
        if self._newest.get(name) == view:
            return
        self._newest[name] = view
        for browser, names in self._wanted.items():
            if name in names:
                browser.tell("twin", view)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._wanted.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class EventFeed:
    """Tells the pages that show events what comes in, newest first to matter: a page that lags is told how many it missed."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._wanted: dict[Browser, int] = {}  # browser -> the last sequence that it was told
        self._asked = asyncio.Event()

    def show(self, browser: Browser, *, on: bool) -> None:
        if not on:
            self._wanted.pop(browser, None)
        elif browser not in self._wanted:
            self._wanted[browser] = -1
            self._asked.set()

    async def run(self) -> None:
        """Tell new events until cancelled."""
        while True:
            if not self._wanted:
                self._asked.clear()
                await self._asked.wait()
            for browser in list(self._wanted):
                await self._tell(browser)
            self._asked.clear()
            await self._news()
            await asyncio.sleep(PACE_S)

    async def _news(self) -> None:
        """Return when there is a newer event, or another page to tell."""
        waits = {asyncio.ensure_future(self._events.wait_newer(self._events.newest)), asyncio.ensure_future(self._asked.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _tell(self, browser: Browser) -> None:
        last, newest = self._wanted.get(browser, -1), self._events.newest
        first = last < 0
        start = max(newest - (BACKLOG if first else MOST_EVENTS), last, await self._events.oldest() - 1, 0)
        found = await self._events.page(start, limit=newest - start) if newest > start else []
        if browser not in self._wanted:
            return
        self._wanted[browser] = found[-1].sequence if found else max(last, newest)
        skipped = 0 if first else start - last
        if found or skipped or first:
            shown = [{"sequence": e.sequence, "node": e.node, "event": msgspec.Raw(e.raw)} for e in found]
            browser.tell("events", {"events": shown, "skipped": skipped})
