"""Says where the API is: Endpoints and EndpointSlice of the Service `kubernetes`, written when the hub knows its addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from skerry.apiserver.bootstrap import ensure
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.services.first import NAME, NAMESPACE
from skerry.model.objects import Object

SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
SERVICE_NAME = "kubernetes.io/service-name"


async def advertise(registry: Registry, names: Sequence[str], port: int) -> None:
    """Write the addresses among *names* that others can reach; names and loopback addresses are left out, and nothing is no news."""
    found = addresses_of(names)
    if found:
        for obj in (_endpoints(found, port), _slice(found, port)):
            await ensure(registry, obj, update=("subsets", "endpoints", "ports"), always=True)


def addresses_of(names: Sequence[str]) -> list[str]:
    """Return the addresses of the Service's family (IPv4) among *names*. Pure."""
    found = []
    for name in names:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            continue
        if address.version == 4 and not (address.is_loopback or address.is_unspecified or address.is_link_local):
            found.append(str(address))
    return list(dict.fromkeys(found))


def _meta(labels: dict[str, str]) -> dict[str, Any]:
    return {"name": NAME, "namespace": NAMESPACE, "labels": labels}


def _endpoints(addresses: Sequence[str], port: int) -> Object:
    subset = {"addresses": [{"ip": a} for a in addresses], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": _meta({SKIP_MIRROR: "true"}), "subsets": [subset]}


def _slice(addresses: Sequence[str], port: int) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _meta({SERVICE_NAME: NAME}),
        "addressType": "IPv4",
        "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
