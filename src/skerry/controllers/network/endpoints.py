"""Carries out the plans of EndpointSlices and Endpoints, and mirrors Endpoints that somebody made by hand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from skerry.controllers.informers import BY_NAMESPACE, Informers
from skerry.controllers.network.backends import ZONE, Backend, backends, is_managed, selects
from skerry.controllers.network.endpoints_plan import endpoints_of, is_mirrored, mirror_labels, mirrored
from skerry.controllers.network.slices_plan import (
    MANAGED_BY,
    MANAGER,
    MIRROR,
    SERVICE_NAME,
    Create,
    Delete,
    Replace,
    Wanted,
    plan,
    service_labels,
    wanted,
)
from skerry.kube import Api, Change, Controller
from skerry.model.objects import Name, Object, dig, labels_of, metadata, name_of, uid_of
from skerry.model.resources import ENDPOINTS, ENDPOINTSLICES, NODES, PODS, SERVICES

BY_SERVICE = "service"
"""Index of EndpointSlices: by namespace and Service."""

TOGETHER_S = 0.02
"""Changes of Pods within this time are one change of their Service."""
REST = 20.0
"""A Service whose Pods were counted in a millisecond is not counted again for so many: many Pods do not fill the loop."""


def _service(found: Object) -> Iterable[str]:
    return (f"{name_of(found).namespace}/{labels_of(found).get(SERVICE_NAME, '')}",)


class Endpoints:
    """Keeps EndpointSlices and Endpoints of every Service."""

    def __init__(self, api: Api, informers: Informers) -> None:
        self._api = api
        self._services, self._pods, self._nodes = (informers.of(r) for r in (SERVICES, PODS, NODES))
        self._slices, self._endpoints = informers.of(ENDPOINTSLICES), informers.of(ENDPOINTS)
        self._slices.add_index(BY_SERVICE, _service)
        self._zones: dict[str, str] = {}
        self._cost_s: dict[Name, float] = {}
        self._deleted: set[Name] = set()  # Services whose Endpoints are to go with them
        self.controller = Controller[Name]("endpoints", self.reconcile)
        self._services.subscribe(self._on_service)
        self._endpoints.subscribe(lambda change: self.controller.queue.add(change.name))
        self._slices.subscribe(self._on_slice)
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)

    def _on_service(self, change: Change) -> None:
        if change.new is None:
            self._deleted.add(change.name)
            self._cost_s.pop(change.name, None)
        else:
            self._deleted.discard(change.name)
        self.controller.queue.add(change.name)

    def _on_slice(self, change: Change) -> None:
        for found in (change.old, change.new):
            if found is not None and SERVICE_NAME in labels_of(found):
                self.controller.queue.add_after(Name(change.name.namespace, labels_of(found)[SERVICE_NAME]), TOGETHER_S)

    def _on_pod(self, change: Change) -> None:
        if change.old is not None and change.new is not None and _matters(change.old) == _matters(change.new):
            return
        for service in self._services.indexed(BY_NAMESPACE, change.name.namespace):
            if any(selects(service, labels_of(pod)) for pod in (change.old, change.new) if pod is not None):
                self.controller.queue.add_after(name_of(service), max(TOGETHER_S, REST * self._cost_s.get(name_of(service), 0.0)))

    def _on_node(self, change: Change) -> None:
        zone = labels_of(change.new).get(ZONE, "") if change.new is not None else ""
        if zone == self._zones.get(change.name.name, ""):
            return
        self._zones[change.name.name] = zone
        for service in self._services.objects():
            self.controller.queue.add(name_of(service))

    async def reconcile(self, name: Name) -> None:
        service = self._services.get(*name)
        slices = self._slices.indexed(BY_SERVICE, str(name))
        ours = [s for s in slices if labels_of(s).get(MANAGED_BY) == MANAGER]
        if service is None or metadata(service).get("deletionTimestamp"):
            await self._without_service(name, slices)
            return
        if not is_managed(service):
            await self._carry_out(service, {}, [], ours)
            await self._mirror(service, slices)
            return
        began = time.perf_counter()
        pods = self._pods.indexed(BY_NAMESPACE, name.namespace)
        families = dig(service, "spec", "ipFamilies", default=["IPv4"])
        found = {family: backends(service, pods, family, self._zones) for family in families}
        self._cost_s[name] = time.perf_counter() - began
        await self._carry_out(service, service_labels(service), [wanted(f, b) for f, b in found.items()], ours)
        await self._carry_out(service, {}, [], [s for s in slices if labels_of(s).get(MANAGED_BY) == MIRROR])
        await self._write_endpoints(service, found[families[0]])

    async def _without_service(self, name: Name, slices: Sequence[Object]) -> None:
        """Remove what was ours; the garbage collector would too, later."""
        for found in slices:
            if labels_of(found).get(MANAGED_BY) in (MANAGER, MIRROR):
                await self._api.delete(ENDPOINTSLICES, *name_of(found), uid=uid_of(found))
        endpoints = self._endpoints.get(*name)
        if endpoints is not None and (name in self._deleted or _is_found(endpoints)):
            await self._api.delete(ENDPOINTS, *name, uid=uid_of(endpoints))
        self._deleted.discard(name)

    async def _mirror(self, service: Object, slices: Sequence[Object]) -> None:
        endpoints = self._endpoints.get(*name_of(service))
        mirrors = [s for s in slices if labels_of(s).get(MANAGED_BY) == MIRROR]
        if endpoints is not None and is_mirrored(endpoints, service):
            await self._carry_out(endpoints, mirror_labels(endpoints), mirrored(endpoints), mirrors)
        else:
            await self._carry_out(service, {}, [], mirrors)

    async def _carry_out(self, owner: Object, labels: Mapping[str, str], families: Sequence[Wanted], present: Sequence[Object]) -> None:
        for step in plan(owner, labels, families, present):
            match step:
                case Create(found):
                    self._slices.learn(await self._api.create(ENDPOINTSLICES, found))
                case Replace(found):
                    self._slices.learn(await self._api.replace(ENDPOINTSLICES, found))
                case Delete(found):
                    await self._api.delete(ENDPOINTSLICES, *name_of(found), uid=uid_of(found))

    async def _write_endpoints(self, service: Object, found: Sequence[Backend]) -> None:
        present = self._endpoints.get(*name_of(service))
        changed = endpoints_of(service, found, present)
        if changed is None:
            return
        write = self._api.create if present is None else self._api.replace
        self._endpoints.learn(await write(ENDPOINTS, changed))


def _is_found(endpoints: Object) -> bool:
    """Say whether these Endpoints were found and not made by hand: every address is a Pod's."""
    subsets = endpoints.get("subsets") or []
    addresses = [a for s in subsets for key in ("addresses", "notReadyAddresses") for a in s.get(key) or ()]
    return bool(addresses) and all(dig(a, "targetRef", "kind") == "Pod" for a in addresses)


def _matters(pod: Object) -> tuple[object, ...]:
    """Return what of a Pod its Services show."""
    meta, spec, status = metadata(pod), pod.get("spec") or {}, pod.get("status") or {}
    ready = next((c.get("status") for c in status.get("conditions") or () if c.get("type") == "Ready"), "")
    ended = status.get("phase") in ("Succeeded", "Failed")
    return (
        meta.get("labels"),
        bool(meta.get("deletionTimestamp")),
        spec.get("nodeName"),
        status.get("podIPs"),
        status.get("podIP"),
        ready,
        ended,
    )
