"""Endpoints, the older view of the Pods behind a Service: one object with its name; and what slices mirror a hand-made one. Pure.

Source: k8s.io/kubernetes/pkg/controller/endpoint, pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skerry.controllers.network.backends import Backend, Ports, family_of
from skerry.controllers.network.slices_plan import HEADLESS, MANAGED_BY, MIRROR, SERVICE_NAME, Endpoint, Wanted
from skerry.model.objects import Object, annotations_of, dig, labels_of, metadata

SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000


def endpoints_of(service: Object, backends: Sequence[Backend], present: Object | None) -> Object | None:
    """Return the Endpoints that *service* should have, or None when *present* is just so."""
    always = bool(dig(service, "spec", "publishNotReadyAddresses"))
    shown = [b for b in backends if always or not b.terminating]
    over = len(shown) > MAX_ADDRESSES
    shown = sorted(shown, key=lambda b: not b.ready)[:MAX_ADDRESSES]
    labels = {k: v for k, v in labels_of(service).items() if k != HEADLESS}
    if dig(service, "spec", "clusterIP") == "None":
        labels[HEADLESS] = ""
    before = metadata(present) if present else {"name": metadata(service)["name"], "namespace": metadata(service)["namespace"]}
    notes = {k: v for k, v in (before.get("annotations") or {}).items() if k != OVER_CAPACITY} | (
        {OVER_CAPACITY: "truncated"} if over else {}
    )
    subsets = _subsets(shown, bare=not dig(service, "spec", "ports"))
    if present is not None and (labels_of(present), annotations_of(present), present.get("subsets") or []) == (labels, notes, subsets):
        return None
    meta = {**before, "labels": labels, "annotations": notes}
    found: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {k: v for k, v in meta.items() if v}}
    return found | ({"subsets": subsets} if subsets else {})


def _subsets(backends: Sequence[Backend], *, bare: bool) -> list[dict[str, Any]]:
    by_ports: dict[Ports, list[Backend]] = {}
    for backend in backends:
        if backend.ports or bare:
            by_ports.setdefault(backend.ports, []).append(backend)
    return [_subset(ports, found) for ports, found in sorted(by_ports.items())]


def _subset(ports: Ports, backends: Sequence[Backend]) -> dict[str, Any]:
    ready = [_address(b) for b in backends if b.ready]
    others = [_address(b) for b in backends if not b.ready]
    numbers = [
        {k: v for k, v in (("name", n), ("port", number), ("protocol", protocol), ("appProtocol", app)) if v}
        for n, number, protocol, app in sorted(ports)
    ]
    found = {"addresses": _sorted(ready), "notReadyAddresses": _sorted(others), "ports": numbers}
    return {k: v for k, v in found.items() if v}


def _sorted(addresses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(addresses, key=lambda a: (a["ip"], a["targetRef"]["uid"]))


def _address(backend: Backend) -> dict[str, Any]:
    found = {"ip": backend.address, "hostname": backend.hostname, "nodeName": backend.node, "targetRef": backend.target}
    return {k: v for k, v in found.items() if v}


def is_mirrored(endpoints: Object, service: Object | None) -> bool:
    """Say whether slices mirror these Endpoints: made by hand for a Service without a selector."""
    if service is None or dig(service, "spec", "selector") or labels_of(endpoints).get(SKIP_MIRROR) == "true":
        return False
    return _LEADER not in annotations_of(endpoints)


def mirror_labels(endpoints: Object) -> dict[str, str]:
    own = {k: v for k, v in labels_of(endpoints).items() if k not in (SERVICE_NAME, MANAGED_BY)}
    return own | {MANAGED_BY: MIRROR, SERVICE_NAME: metadata(endpoints)["name"]}


def mirrored(endpoints: Object) -> list[Wanted]:
    """Return the endpoints that slices say what hand-made Endpoints say, by family; none when they are empty."""
    found: dict[str, dict[Ports, list[Endpoint]]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = tuple(
            (p.get("name") or "", int(p["port"]), p.get("protocol") or "TCP", p.get("appProtocol") or "") for p in subset.get("ports") or ()
        )
        for ready, key in ((True, "addresses"), (False, "notReadyAddresses")):
            for address in subset.get(key) or ():
                family = family_of(address["ip"])
                if family:
                    found.setdefault(family, {}).setdefault(ports, []).append(_mirror(address, ready=ready))
    return [Wanted(family, by_ports) for family, by_ports in sorted(found.items())]


def _mirror(address: Mapping[str, Any], *, ready: bool) -> Endpoint:
    found: Endpoint = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    return found | {k: address[k] for k in ("hostname", "nodeName", "targetRef") if address.get(k)}
