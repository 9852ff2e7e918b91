"""Writes what is used into the status of quotas, a moment after it changed."""

from __future__ import annotations

import asyncio
import logging

from skerry.apiserver.http.message import User
from skerry.apiserver.quota.ledger import QUOTAS, Ledger
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.update import Change, apply
from skerry.apiserver.store import Change as Committed
from skerry.durable import StoreError
from skerry.model.errors import ApiError
from skerry.model.objects import Object, dig

log = logging.getLogger(__name__)

TOGETHER_S = 0.05
"""Changes within this time are written as one."""
AGAIN_S = 1.0


class QuotaStatus:
    """Follows the ledger; `run` until cancelled."""

    def __init__(self, registry: Registry, ledger: Ledger, user: User) -> None:
        self._registry, self._ledger, self._user = registry, ledger, user
        self._wake = asyncio.Event()
        registry.store.subscribe(self._on_commit)

    def _on_commit(self, changes: list[Committed]) -> None:
        if self._ledger.changed:
            self._wake.set()

    async def run(self) -> None:
        self._wake.set()
        while True:
            await self._wake.wait()
            await asyncio.sleep(TOGETHER_S)
            self._wake.clear()
            while self._ledger.changed:
                namespace, name = self._ledger.changed.pop()
                try:
                    await self._write(namespace, name)
                except (ApiError, StoreError) as error:
                    if not isinstance(error, ApiError) or error.code != 404:
                        log.info("status of a quota not written", extra={"quota": f"{namespace}/{name}", "error": str(error)})
                        self._ledger.changed.add((namespace, name))
                        self._wake.set()
                        await asyncio.sleep(AGAIN_S)
                        break

    async def _write(self, namespace: str, name: str) -> None:
        kind = self._registry.kinds.storage(QUOTAS)
        assert kind is not None, "resourcequotas are built in"

        def counted(quota: Object) -> Object:
            used = self._ledger.used(namespace, name)
            status = {"hard": dig(quota, "spec", "hard", default={}), "used": used or {}}
            return quota if quota.get("status") == status else {**quota, "status": status}

        await apply(self._registry, Change(kind, namespace, name, counted, "status"), WriteOptions(self._user, internal=True))
