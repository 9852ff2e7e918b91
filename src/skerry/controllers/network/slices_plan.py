"""EndpointSlices: which are wanted, and the fewest writes from those that are there. Pure.

A slice holds at most 100 endpoints of one family with the same ports. Endpoints stay in the slice that has them; those that are new
fill up slices with room before another is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from skerry.controllers.network.backends import Backend, Ports
from skerry.model.objects import Object, labels_of, metadata, owner_reference

MAX_ENDPOINTS = 100
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER, MIRROR = "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
Endpoint = dict[str, Any]


class Create(msgspec.Struct, frozen=True):
    slice: Object


class Replace(msgspec.Struct, frozen=True):
    slice: Object


class Delete(msgspec.Struct, frozen=True):
    slice: Object


Step = Create | Replace | Delete


class Wanted(msgspec.Struct, frozen=True):
    """The endpoints of one family, by their ports."""

    family: str
    by_ports: Mapping[Ports, Sequence[Endpoint]]


def endpoint(backend: Backend) -> Endpoint:
    """Return a backend as an endpoint of a slice."""
    conditions = {"ready": backend.ready, "serving": backend.serving, "terminating": backend.terminating}
    found: Endpoint = {"addresses": [backend.address], "conditions": conditions, "targetRef": backend.target}
    optional = {"nodeName": backend.node, "zone": backend.zone, "hostname": backend.hostname}
    return found | {k: v for k, v in optional.items() if v}


def wanted(family: str, backends: Sequence[Backend]) -> Wanted:
    by_ports: dict[Ports, list[Endpoint]] = {}
    for backend in backends:
        by_ports.setdefault(backend.ports, []).append(endpoint(backend))
    # A Service without Pods has an empty slice, so that whoever waits for it sees that it was looked at.
    return Wanted(family, by_ports or {(): []})


def service_labels(service: Object) -> dict[str, str]:
    """Return the labels of a Service's slices: its own and those by which they are found."""
    own = {k: v for k, v in labels_of(service).items() if k not in (SERVICE_NAME, MANAGED_BY, HEADLESS)}
    headless = {HEADLESS: ""} if (service.get("spec") or {}).get("clusterIP") == "None" else {}
    return own | headless | {MANAGED_BY: MANAGER, SERVICE_NAME: metadata(service)["name"]}


def plan(owner: Object, labels: Mapping[str, str], families: Sequence[Wanted], present: Sequence[Object]) -> list[Step]:
    """Return the steps from *present* (slices of this owner) to what is wanted; planning again afterwards returns none."""
    steps: list[Step] = []
    left = [s for s in present if not metadata(s).get("deletionTimestamp")]
    for family in families:
        for ports, endpoints in family.by_ports.items():
            mine = [s for s in left if s.get("addressType") == family.family and _ports(s) == ports]
            left = [s for s in left if s not in mine]
            steps += _fill(owner, labels, family.family, ports, endpoints, mine)
    return [*steps, *(Delete(s) for s in left)]


def _fill(
    owner: Object, labels: Mapping[str, str], family: str, ports: Ports, endpoints: Sequence[Endpoint], slices: Sequence[Object]
) -> list[Step]:
    waiting = {_key(e): e for e in endpoints}
    kept: list[list[Endpoint]] = []
    for present in slices:
        here = [waiting.pop(_key(e)) for e in present.get("endpoints") or () if _key(e) in waiting]
        kept.append(here)
    fresh = list(waiting.values())
    for here in sorted(kept, key=len, reverse=True):
        room = MAX_ENDPOINTS - len(here)
        here += fresh[:room]
        fresh = fresh[room:]
    steps: list[Step] = []
    alive = sum(bool(here) for here in kept) + bool(fresh)
    for i, (present, here) in enumerate(zip(slices, kept, strict=True)):
        if not here and (alive or i):
            steps.append(Delete(present))
        elif here != (present.get("endpoints") or []) or labels_of(present) != labels:
            steps.append(Replace({**present, "metadata": {**metadata(present), "labels": dict(labels)}, "endpoints": here}))
    chunks = [fresh[i : i + MAX_ENDPOINTS] for i in range(0, len(fresh), MAX_ENDPOINTS)]
    if not chunks and not slices:
        chunks = [[]]
    return [*steps, *(Create(_new(owner, labels, family, ports, chunk)) for chunk in chunks)]


def _key(found: Endpoint) -> tuple[Any, ...]:
    target = found.get("targetRef") or {}
    return (target.get("uid"), *found.get("addresses", ()))


def _ports(found: Object) -> Ports:
    return tuple(
        (p.get("name") or "", p.get("port") or 0, p.get("protocol") or "TCP", p.get("appProtocol") or "") for p in found.get("ports") or ()
    )


def _new(owner: Object, labels: Mapping[str, str], family: str, ports: Ports, endpoints: Sequence[Endpoint]) -> Object:
    meta = metadata(owner)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{meta['name'][:57]}-",
            "namespace": meta["namespace"],
            "labels": dict(labels),
            "ownerReferences": [owner_reference(owner)],
        },
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": [_port(*p) for p in ports],
    }


def _port(name: str, number: int, protocol: str, application: str) -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": protocol} | ({"appProtocol": application} if application else {})
