"""Listers: whole lists and pages, of the present and of the past."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import msgspec

from tests.consistency.clients import Client, all_scopes, now, selectors
from tests.consistency.history import Expired, Listing, Page
from tests.consistency.subjects import ListBody, path
from tests.consistency.wire import Answer


class Lister(Client):
    """Lists, whole and in pages, of now and of then."""

    async def run(self) -> None:
        scopes = all_scopes()
        while not self.trial.over.is_set():
            listing = Listing(self.rng.choice(scopes), [])
            await self._pages(listing, self._query(listing))
            if listing.pages or listing.expired:
                self.trial.history.listings.append(listing)
            await asyncio.sleep(self.rng.uniform(0, 0.02))

    def _query(self, listing: Listing) -> dict[str, str]:
        """Choose what to ask for, and note it in *listing*."""
        query, newest, pick = selectors(listing.scope), self.trial.newest, self.rng.random()
        if pick < 0.2 and newest:
            listing.exact = max(self.trial.history.base, newest - int(self.rng.expovariate(1 / 40)))
            query |= {"resourceVersion": str(listing.exact), "resourceVersionMatch": "Exact"}
        elif pick < 0.3 and newest:
            listing.not_older = newest
            query["resourceVersion"] = str(newest)
        if self.rng.random() < 0.5:
            query["limit"] = str(self.rng.choice((1, 3, 5)))
        return query

    async def _pages(self, listing: Listing, query: dict[str, str]) -> None:
        resource, asked = listing.scope.resource, listing.exact
        while True:
            await self.connection()
            began = now()
            answer = await self.ask("GET", f"{path(resource, listing.scope.namespace)}?{urlencode(query)}")
            if answer is None:
                return
            if answer.status == 410:
                listing.expired = Expired(listing.scope, asked, began, now())
                return
            if answer.status != 200 or not self.trial.take():
                if answer.status != 200:
                    self.trial.surprise(f"LIST of {listing.scope} was answered {answer.status}: {answer.body[:300]!r}")
                return
            token = self._page(listing, answer, began)
            if not token:
                return
            asked = listing.pages[0].revision
            query = {**{k: v for k, v in query.items() if not k.startswith("resourceVersion")}, "continue": token}
            await asyncio.sleep(self.rng.choice((0, 0.005, 0.05)))

    def _page(self, listing: Listing, answer: Answer, began: float) -> str:
        body = msgspec.json.decode(answer.body, type=ListBody)
        versions = [self.trial.reader.version(listing.scope.resource, bytes(raw)) for raw in body.items]
        revision, meta = int(body.metadata.resource_version), body.metadata
        listing.pages.append(Page(began, now(), revision, versions, meta.remaining, last=not meta.token))
        self.trial.saw(revision)
        return meta.token
