"""Keeps the rules of ClusterRoles that gather others' as they must be, as kube-controller-manager does: what is stored is what holds."""

from __future__ import annotations

import asyncio
import logging

from skerry.apiserver.access.rbac import CLUSTER_ROLES, Rbac
from skerry.apiserver.local import LocalApi
from skerry.apiserver.store import Change
from skerry.model.errors import ApiError
from skerry.model.resources import Resource

log = logging.getLogger(__name__)

ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
MAX_ROUNDS = 10
"""Roles that gather roles that gather roles: each round carries a change one step further."""


class Aggregation:
    """`follow` the store's changes after the Rbac has, `run` until cancelled."""

    def __init__(self, rbac: Rbac, api: LocalApi) -> None:
        self._rbac, self._api = rbac, api
        self._wake = asyncio.Event()
        self._wake.set()

    def follow(self, changes: list[Change]) -> None:
        if any(c.record.key.resource == CLUSTER_ROLES for c in changes):
            self._wake.set()

    async def run(self) -> None:
        rounds = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            rounds = rounds + 1 if await self._settle() else 0
            if rounds > MAX_ROUNDS:  # two that gather each other settle; this is only so that nothing ever spins
                rounds = 0
                await asyncio.sleep(1.0)

    async def _settle(self) -> bool:
        """Bring every gathering role up to date; return whether any had to be."""
        changed = False
        for name, wanted in self._rbac.stale_aggregates():
            changed = True
            try:
                await self._api.patch(ROLES, "", name, {"rules": wanted})
            except ApiError as error:
                if error.code not in (404, 409):
                    log.warning("a role's gathered rules were not written", extra={"role": name, "reason": error.message})
        return changed
