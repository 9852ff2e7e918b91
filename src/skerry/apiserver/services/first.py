"""The Service `kubernetes`, and Services of older versions that were stored without an address: both are seen to at the start."""

from __future__ import annotations

import logging

from skerry.apiserver.http.message import User
from skerry.apiserver.registry.create import create
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.update import Change, apply
from skerry.apiserver.services.addresses import SERVICES, Addresses
from skerry.apiserver.services.pools import address_at
from skerry.apiserver.store import Key
from skerry.model.errors import ApiError
from skerry.model.objects import Object

log = logging.getLogger(__name__)

NAMESPACE, NAME = "default", "kubernetes"
PORT = 443


async def complete_services(registry: Registry, addresses: Addresses, user: User) -> None:
    """Make the Service of the API itself, and give the others what they lack."""
    kind = registry.kinds.storage(SERVICES)
    assert kind is not None, "services are built in"
    if registry.store.get(Key(SERVICES, NAMESPACE, NAME)) is None:
        await create(registry, kind, NAMESPACE, kubernetes_service(addresses), WriteOptions(user, internal=True))
    for record in registry.store.list(SERVICES).records:
        if not lacks_address(decode(record.value)):
            continue
        try:
            change = Change(kind, record.key.namespace, record.key.name, dict)
            await apply(registry, change, WriteOptions(user, internal=True))
        except ApiError as error:
            log.warning("service without an address", extra={"service": str(record.key), "error": error.message})


def lacks_address(service: Object) -> bool:
    spec = service.get("spec") or {}
    return spec.get("type") != "ExternalName" and not spec.get("clusterIPs")


def kubernetes_service(addresses: Addresses) -> Object:
    """Return the Service under which Pods would find the API: the first address of the range, unless somebody has it."""
    first = address_at(addresses.ranges.ipv4, 0)
    spec: Object = {"ports": [{"name": "https", "port": PORT, "protocol": "TCP"}], "sessionAffinity": "None", "type": "ClusterIP"}
    if first not in addresses.addresses:
        spec |= {"clusterIP": first}
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels}, "spec": spec}
