"""Keeps APIServices true: one for every group that is served here, and for those of others whether they answer, and with what.

Requests are handed on by what is known from the store, at once; whether a server answers is looked after every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import msgspec

from skerry.apiserver.aggregation.forwarding import Forwarding
from skerry.apiserver.aggregation.front_proxy import NAME, FrontProxy
from skerry.apiserver.aggregation.plan import APISERVICES, LOCAL, Remote, condition, discovered, missing, remote_of, superfluous
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.local import LocalApi
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.store import Change
from skerry.model.errors import ApiError, unavailable
from skerry.model.objects import Object
from skerry.model.resources import Resource
from skerry.model.times import rfc3339

log = logging.getLogger(__name__)

SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False)
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
LOOK_S = 30.0
LOOK_AGAIN_S = 5.0
"""How soon a server that does not answer is looked after again."""
MAX_REMOTES = 100


class Known(msgspec.Struct):
    """What is known of one remote group version."""

    remote: Remote
    available: bool = False
    stale: bool = True
    resources: list[dict[str, Any]] = msgspec.field(default_factory=list)
    why: tuple[str, str, str] = ("Unknown", "NotLookedAt", "nobody has looked yet")


class Aggregator:
    """The APIServices of one server; `run` keeps them true."""

    def __init__(self, registry: Registry, folder: Path | None) -> None:
        self._registry = registry
        self._api = LocalApi(registry)
        self._proxy = FrontProxy(folder)
        self._forwarding = Forwarding(registry.store, self._proxy)
        self._remotes: dict[tuple[str, str], Known] = {}
        self._wake = asyncio.Event()
        self._kinds_at = -1
        self._published = False
        self.changes = 0

    def load(self) -> None:
        """Learn what is registered; before anything is answered."""
        for record in self._registry.store.list(APISERVICES).records:
            self._note(decode(record.value))

    def follow(self, changes: list[Change]) -> None:
        """Take note of APIServices, and of kinds that come and go."""
        for change in changes:
            if change.record.key.resource == APISERVICES:
                obj = decode(change.record.value)
                if change.type == "DELETED":
                    self._forget(obj)
                else:
                    self._note(obj)
                self._wake.set()
        if self._kinds_at != self._registry.kinds.changes:
            self._wake.set()

    def _note(self, obj: Object) -> None:
        remote = remote_of(obj)
        if remote is None:
            self._forget(obj)
            return
        known = self._remotes.get((remote.group, remote.version))
        if known is not None and known.remote == remote:
            return
        if known is None and len(self._remotes) >= MAX_REMOTES:
            log.warning("too many remote APIServices", extra={"apiservice": remote.name, "limit": MAX_REMOTES})
            return
        self._forwarding.forget()
        self._remotes[remote.group, remote.version] = Known(remote)
        self.changes += 1

    def _forget(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        if self._remotes.pop((spec.get("group") or "", spec.get("version") or ""), None) is not None:
            self.changes += 1

    def serves(self, group: str, version: str) -> bool:
        """Say whether another server has *group* in *version*."""
        return bool(self._remotes) and (group, version) in self._remotes

    def remotes(self) -> dict[str, dict[str, Known]]:
        """Return group -> version -> what is known, the version of the highest priority first."""
        found: dict[str, dict[str, Known]] = {}
        for known in sorted(self._remotes.values(), key=lambda k: (-k.remote.priority, k.remote.group, -k.remote.version_priority)):
            found.setdefault(known.remote.group, {})[known.remote.version] = known
        return found

    async def forward(self, group: str, version: str, request: Request) -> Response:
        """Hand a request on; ApiError 503 when nobody answers there."""
        known = self._remotes[group, version]
        if known.why[0] == "False":
            raise unavailable("service unavailable")
        try:
            return await self._forwarding.forward(known.remote, request)
        except ApiError as error:
            if error.code == 503:
                self._wake.set()
            raise

    async def run(self) -> None:
        """Bring APIServices to where they should be, for ever."""
        while True:
            due_s = await self._round()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), due_s)
            self._wake.clear()

    async def _round(self) -> float | None:
        """Do what is due; returns in how many seconds something is due again, None for never."""
        try:
            await self._keep_local()
            for known in list(self._remotes.values()):
                await self._look(known)
        except ApiError:
            log.exception("APIServices could not be kept")
            return LOOK_AGAIN_S
        if not self._remotes:
            return None
        return LOOK_S if all(k.available for k in self._remotes.values()) else LOOK_AGAIN_S

    async def _keep_local(self) -> None:
        kinds = self._registry.kinds
        if self._kinds_at == kinds.changes:
            return
        at = kinds.changes
        served = {group: list(versions) for group, versions in kinds.groups().items()}
        custom = {k.resource.group for k in kinds if k.custom}
        there = [decode(r.value) for r in self._registry.store.list(APISERVICES).records]
        now = rfc3339(self._registry.now())
        for obj in missing(served, custom, (o["metadata"]["name"] for o in there)):
            made = await self._api.create(SERVICES, obj)
            await self._say(made["metadata"]["name"], LOCAL, now)
        for name in superfluous(served, there):
            await self._api.delete(SERVICES, "", name)
        self._kinds_at = at

    async def _look(self, known: Known) -> None:
        """See whether a server answers, and with which resources."""
        await self._publish()
        remote = known.remote
        before = (known.available, known.stale, known.resources)
        try:
            body = await self._forwarding.document(remote, remote.path)
            resources = discovered(decode(body)["resources"]) if body is not None else None
        except ApiError as error:
            resources, why = None, ("False", "FailedDiscoveryCheck", f"failing or missing response: {error.message}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            resources, why = None, ("False", "FailedDiscoveryCheck", f"bad discovery document: {error}"[:300])
        else:
            why = ("False", "FailedDiscoveryCheck", f"{remote.path} does not answer 200")
        if resources is not None:
            known.resources, why = resources, ("True", "Passed", "all checks passed")
        known.available = resources is not None
        known.stale = resources is None
        if known.why != why:
            known.why = why
            await self._say(remote.name, why, rfc3339(self._registry.now()))
        if before != (known.available, known.stale, known.resources):
            self.changes += 1

    async def _say(self, name: str, why: tuple[str, str, str], at: str) -> None:
        status = {"status": {"conditions": [condition(*why, at)]}}
        with contextlib.suppress(ApiError):  # it may be gone, and then it has nothing to say
            await self._api.patch(SERVICES, "", name, status, form="merge", subresource="status")

    async def _publish(self) -> None:
        """Say in a ConfigMap how others recognise what we hand on; once a process."""
        if self._published:
            return
        data = {
            "requestheader-client-ca-file": await self._proxy.ca(),
            "requestheader-allowed-names": f'["{NAME}"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }
        meta = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        try:
            await self._api.create(CONFIGMAPS, obj)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            await self._api.patch(CONFIGMAPS, meta["namespace"], meta["name"], {"data": data}, form="merge")
        self._published = True

    async def close(self) -> None:
        await self._forwarding.close()
        self._proxy.close()
