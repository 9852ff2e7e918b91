"""What depends on the Site that the hub gave this node: begun again when the Site changes, which is rare.

The Site is a label of our Node; the copy of it on disk is there before any hub is seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from skerry.model.objects import Name, labels_of
from skerry.model.resources import SITE_LABEL
from skerry.node.memory import Mirror

log = logging.getLogger(__name__)

AtSite = Callable[[str], AbstractAsyncContextManager[object]]
"""Begins everything for a Site ("" when the node has none), and ends it again."""
AGAIN_S = 30.0
FIRST_WAIT_S = 3.0
"""A node that runs for the first time learns its Site a moment after it has registered."""


class SiteWatch:
    """Keeps *begin* entered for the Site as it is now."""

    def __init__(self, node: str, own: Mirror, begin: AtSite, registered: Callable[[], Awaitable[object]]) -> None:
        self._node = node
        self._own = own
        self._begin = begin
        self._registered = registered
        self._moved = asyncio.Event()

    @property
    def site(self) -> str:
        """Return the Site as the hub last said; "" when it never did."""
        return labels_of(self._own.items().get(Name("", self._node)) or {}).get(SITE_LABEL, "")

    async def run(self) -> None:
        self._own.subscribe(lambda _: self._moved.set())
        if not self._own.items():
            await self._first_word()
        while True:
            site = self.site
            try:
                async with self._begin(site):
                    while self.site == site:
                        self._moved.clear()
                        await self._moved.wait()
                log.info("the node's site changed", extra={"was": site, "site": self.site})
            except Exception:  # damaged events, say: Pods are none of their business
                log.exception("devices and events could not begin", extra={"site": site, "again_in_s": AGAIN_S})
                await asyncio.sleep(AGAIN_S)

    async def _first_word(self) -> None:
        await self._registered()
        try:
            async with asyncio.timeout(FIRST_WAIT_S):
                while not self.site:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return
