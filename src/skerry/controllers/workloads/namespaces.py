"""Namespaces: what a new one gets, and how one ends: everything in it is deleted, then it is let go.

A namespace is let go only after a complete look at every resource found nothing. A resource that cannot be looked at
keeps it; a Pod on a node that is away keeps it too, until the node has come back and ended it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from skerry.controllers.informers import Informers
from skerry.controllers.workloads.namespace_plan import FINALIZER, Remaining, conditions, is_purged, next_look_s
from skerry.kube import Change, ClusterApi, Controller, Informer
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, dig, metadata, name_of, uid_of
from skerry.model.resources import CONFIGMAPS, NAMESPACES, SERVICEACCOUNTS, Resource

log = logging.getLogger(__name__)

ROOT_CA = "kube-root-ca.crt"
_ROOT_CA_IS = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP "
    "or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)
"""Kubernetes' own sentence, which clients compare."""
_NEEDED = frozenset({"list", "delete"})


class NamespacePurge:
    """Empties namespaces that are being deleted."""

    def __init__(self, api: ClusterApi, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._namespaces = informers.of(NAMESPACES)
        self.controller = Controller[Name]("namespace", self.reconcile)
        self._namespaces.subscribe(self._on_change)

    def _on_change(self, change: Change) -> None:
        if change.new is not None and metadata(change.new).get("deletionTimestamp"):
            self.controller.queue.add(change.name)

    async def reconcile(self, name: Name) -> float | None:
        namespace = self._namespaces.get(*name)
        if namespace is None or not metadata(namespace).get("deletionTimestamp"):
            return None
        if FINALIZER not in dig(namespace, "spec", "finalizers", default=[]):
            return None
        remaining = await self._purge(name.name)
        if is_purged(remaining):
            await self._let_go(namespace)
            return None
        await self._say(namespace, remaining)
        return next_look_s(self.controller.queue.failures(name), remaining)

    async def _purge(self, namespace: str) -> Remaining:
        served = await self._api.discover()
        found = Remaining()
        for resource in (s.resource for s in served if s.resource.namespaced and s.verbs >= _NEEDED):
            try:
                for obj in (await self._api.list(resource, namespace)).items:
                    found = found.and_object(resource.key, metadata(obj).get("finalizers") or ())
                    if not metadata(obj).get("deletionTimestamp"):
                        await self._delete(resource, obj)
            except ApiError as error:
                log.info("namespace not purged", extra={"namespace": namespace, "resource": resource.key, "error": error.message})
                found = found.and_failure(resource.key, error.message)
        return found

    async def _delete(self, resource: Resource, obj: Object) -> None:
        try:
            await self._api.delete(resource, *name_of(obj), uid=uid_of(obj), propagation="Background")
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _let_go(self, namespace: Object) -> None:
        left = [f for f in dig(namespace, "spec", "finalizers", default=[]) if f != FINALIZER]
        try:
            await self._api.replace(NAMESPACES, {**namespace, "spec": {**namespace["spec"], "finalizers": left}}, subresource="finalize")
        except ApiError as error:
            if error.code != 404:
                raise

    async def _say(self, namespace: Object, remaining: Remaining) -> None:
        new = conditions(dig(namespace, "status", "conditions", default=[]), remaining, self._now())
        if new != dig(namespace, "status", "conditions", default=[]):
            patch = {"metadata": {"uid": uid_of(namespace)}, "status": {"conditions": new}}
            await self._api.patch(NAMESPACES, *name_of(namespace), patch, subresource="status")


class NamespaceDefaults:
    """Gives each namespace the ServiceAccount `default` and the ConfigMap with the CA, and gives them back when deleted."""

    def __init__(self, api: ClusterApi, informers: Informers, *, ca_pem: str) -> None:
        self._api, self._ca_pem = api, ca_pem
        self._namespaces = informers.of(NAMESPACES)
        self.accounts = Informer(api, SERVICEACCOUNTS, fields="metadata.name=default")
        self.certificates = Informer(api, CONFIGMAPS, fields=f"metadata.name={ROOT_CA}")
        self.controller = Controller[Name]("namespace-defaults", self.reconcile)
        self._namespaces.subscribe(lambda change: self.controller.queue.add(change.name))
        for informer in (self.accounts, self.certificates):
            informer.subscribe(lambda change: self.controller.queue.add(Name("", change.name.namespace)))
            informer.subscribe_lists(self._look_at_all)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for run in (self.accounts.run, self.certificates.run, self.controller.run):
                group.create_task(run())

    def _look_at_all(self) -> None:
        for name in self._namespaces.view():
            self.controller.queue.add(name)

    async def reconcile(self, name: Name) -> None:
        namespace = self._namespaces.get(*name)
        if namespace is None or metadata(namespace).get("deletionTimestamp"):
            return
        if self.accounts.synced and self.accounts.get(name.name, "default") is None:
            await self._create(SERVICEACCOUNTS, {"metadata": {"namespace": name.name, "name": "default"}})
        found = self.certificates.get(name.name, ROOT_CA)
        data = {"ca.crt": self._ca_pem}
        if self.certificates.synced and self._ca_pem and found is None:
            meta = {"namespace": name.name, "name": ROOT_CA, "annotations": {"kubernetes.io/description": _ROOT_CA_IS}}
            await self._create(CONFIGMAPS, {"metadata": meta, "data": data})
        elif found is not None and self._ca_pem and found.get("data") != data:
            await self._api.patch(CONFIGMAPS, name.name, ROOT_CA, [{"op": "add", "path": "/data", "value": data}], form="json")

    async def _create(self, resource: Resource, obj: Object) -> None:
        try:
            await self._api.create(resource, obj)
        except ApiError as error:
            if error.reason != "AlreadyExists" and "being terminated" not in error.message:
                raise
