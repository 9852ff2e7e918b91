"""Tokens put together for one API server: who a bearer token is, TokenRequests, Secrets with tokens, the published keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from skerry.apiserver.access.store_facts import StoreFacts
from skerry.apiserver.access.tokens.authenticate import Others, Tokens
from skerry.apiserver.access.tokens.filler import SecretFiller
from skerry.apiserver.access.tokens.issue import TokenIssuer
from skerry.apiserver.access.tokens.keys import TokenKeys
from skerry.apiserver.http.resources import Resources
from skerry.apiserver.http.routes import Route
from skerry.apiserver.http.tokens import TokenRequests, openid_routes
from skerry.apiserver.local import LocalApi
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.schema import Catalogue


class TokenService:
    """Without a file of keys there are no ServiceAccount tokens, and asking for one is refused by name."""

    def __init__(
        self, registry: Registry, catalogue: Catalogue, keys: Path | None, others: Others | None, trusts: Callable[[str], bool] | None
    ) -> None:
        self._registry, self._catalogue = registry, catalogue
        self._keys = TokenKeys(keys, time.monotonic) if keys is not None else None
        self._facts = StoreFacts(registry.store)
        self._filler = SecretFiller(registry.store, LocalApi(registry), self._keys) if self._keys else None
        self.issuer = TokenIssuer(self._keys, self._facts.get, registry.now) if self._keys else None
        self.authenticator = Tokens(self._facts, self._keys, now=registry.now, others=others, trusts=trusts)

    def add_to(self, resources: Resources) -> None:
        """Serve `serviceaccounts/token`."""
        if self.issuer is not None:
            TokenRequests(self._registry, self._catalogue, self.issuer, self._facts).add_to(resources)

    def routes(self) -> list[Route]:
        return openid_routes(self._keys) if self._keys is not None else []

    async def run(self) -> None:
        """Fill Secrets until cancelled."""
        if self._filler is not None:
            self._filler.load()
            self._registry.store.subscribe(self._filler.follow)
            await self._filler.run()
