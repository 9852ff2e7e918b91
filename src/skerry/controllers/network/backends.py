"""Which Pods stand behind a Service, and on which ports: what EndpointSlices and Endpoints are made of. Pure.

A Pod of a node that is not heard is not ready, as in Kubernetes: whoever reads this at the hub cannot reach it. At the Site that
is cut off nobody hears of it, and what the node was last told goes on being true there.
Source: k8s.io/kubernetes/pkg/controller/endpointslice, pkg/controller/endpoint, staging/src/k8s.io/endpointslice/util.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import msgspec

from skerry.controllers.workloads.pods import is_finished, is_ready
from skerry.model.objects import Object, dig, labels_of, metadata, name_of, uid_of

Ports = tuple[tuple[str, int, str, str], ...]
"""name, number, protocol, appProtocol of each port."""
ZONE = "topology.kubernetes.io/zone"


class Backend(msgspec.Struct, frozen=True):
    """One Pod behind a Service, at one address."""

    pod: Object
    address: str
    ports: Ports
    serving: bool
    terminating: bool
    ready: bool
    hostname: str = ""
    node: str = ""
    zone: str = ""

    @property
    def target(self) -> dict[str, str]:
        namespace, name = name_of(self.pod)
        return {"kind": "Pod", "namespace": namespace, "name": name, "uid": uid_of(self.pod)}


def selects(service: Object, labels: Mapping[str, str]) -> bool:
    """Say whether the Service selects a Pod with these labels; one without a selector selects none."""
    selector = dig(service, "spec", "selector", default={})
    return bool(selector) and all(labels.get(k) == v for k, v in selector.items())


def is_managed(service: Object) -> bool:
    """Say whether the Pods behind the Service are ours to find."""
    return bool(dig(service, "spec", "selector")) and dig(service, "spec", "type") != "ExternalName"


def backends(service: Object, pods: Iterable[Object], family: str, zones: Mapping[str, str]) -> list[Backend]:
    """Return the backends of *service* among *pods* at addresses of *family* (IPv4, IPv6), sorted by Pod."""
    found = []
    same = _same_everywhere(service)
    for pod in pods:
        if selects(service, labels_of(pod)) and not is_finished(pod):
            address = address_of(pod, family)
            if address:
                found.append(_backend(service, pod, address, zones, ports_of(service, pod) if same is None else same))
    return sorted(found, key=lambda b: name_of(b.pod))


def _same_everywhere(service: Object) -> Ports | None:
    """Return the ports where no Pod has to be asked for them, None where one names a Pod's port."""
    if any(isinstance(p.get("targetPort"), str) for p in dig(service, "spec", "ports", default=[])):
        return None
    return ports_of(service, {})


def address_of(pod: Object, family: str) -> str:
    """Return the Pod's address of that family, "" when it has none."""
    given = [i.get("ip") for i in dig(pod, "status", "podIPs", default=[])] or [dig(pod, "status", "podIP")]
    return next((a for a in given if a and family_of(a) == family), "")


@lru_cache(maxsize=4096)
def family_of(address: str) -> str:
    try:
        return "IPv6" if ip_address(address).version == 6 else "IPv4"
    except ValueError:
        return ""


def _backend(service: Object, pod: Object, address: str, zones: Mapping[str, str], ports: Ports) -> Backend:
    spec = pod.get("spec") or {}
    serving, terminating = is_ready(pod), bool(metadata(pod).get("deletionTimestamp"))
    always = bool(dig(service, "spec", "publishNotReadyAddresses"))
    named = spec.get("hostname") and spec.get("subdomain") == metadata(service).get("name")
    node = spec.get("nodeName") or ""
    return Backend(
        pod,
        address,
        ports,
        serving=serving,
        terminating=terminating,
        ready=always or (serving and not terminating),
        hostname=spec["hostname"] if named else "",
        node=node,
        zone=zones.get(node, ""),
    )


def ports_of(service: Object, pod: Object) -> Ports:
    """Return the Service's ports as they are at the Pod; a name that the Pod does not know is left out."""
    found = []
    for port in dig(service, "spec", "ports", default=[]):
        protocol = port.get("protocol") or "TCP"
        number = _number(port.get("targetPort", port.get("port")), protocol, pod)
        if number:
            found.append((port.get("name") or "", number, protocol, port.get("appProtocol") or ""))
    return tuple(found)


def _number(target: Any, protocol: str, pod: Object) -> int:
    if isinstance(target, int):
        return target
    for container in [*dig(pod, "spec", "containers", default=[]), *_sidecars(pod)]:
        for port in container.get("ports") or ():
            if port.get("name") == target and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return 0


def _sidecars(pod: Object) -> list[Mapping[str, Any]]:
    return [c for c in dig(pod, "spec", "initContainers", default=[]) if c.get("restartPolicy") == "Always"]
