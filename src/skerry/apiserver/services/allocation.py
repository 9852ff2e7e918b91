"""Which addresses and ports a Service is given. Pure but for chance: what is free is asked of `Free`.

Source: k8s.io/kubernetes/pkg/registry/core/service/storage, ipallocator, portallocator (words of the errors).
"""

from __future__ import annotations

from typing import Any, Protocol

from skerry.apiserver.services.carry import needs_address, needs_health_port, needs_ports
from skerry.apiserver.services.families import NONE, Spec, go_strings, is_address
from skerry.model.errors import ApiError, Cause, internal, invalid_value


class Free(Protocol):
    """What may still be given to one Service; what it has itself counts as free."""

    def address_refusal(self, address: str) -> str:
        """Return why this address cannot be had, "" when it can."""
        ...

    def draw_address(self, family: str) -> str:
        """Return any free address; FullError."""
        ...

    def port_refusal(self, port: int) -> str: ...

    def draw_port(self, besides: set[int]) -> int:
        """Return any free port that is not in *besides*; FullError."""
        ...


def allocate(spec: Spec, old: Spec | None, free: Free) -> list[Cause]:
    """Complete `clusterIPs`, `nodePort`s and `healthCheckNodePort` of a Service whose families are settled; return what cannot be."""
    causes = _addresses(spec, old, free)
    if causes:
        return causes
    used: set[int] = set()
    if needs_ports(spec):
        causes = _ports(spec, old, free, used)
    if not causes and needs_health_port(spec):
        causes = _health(spec, old, free, used)
    return causes


def _addresses(spec: Spec, old: Spec | None, free: Free) -> list[Cause]:
    given = list(spec.get("clusterIPs") or ())
    if not needs_address(spec) or given[:1] == [NONE]:
        return []
    kept = old.get("clusterIPs") or [] if old is not None and needs_address(old) else []
    for i, family in enumerate(spec.get("ipFamilies") or ()):
        if i < len(given):
            # One that was there before and is another now is refused as immutable by the rules of the kind.
            if i >= len(kept) and (why := free.address_refusal(given[i])):
                shown = go_strings(given)
                return [Cause("spec.clusterIPs", "FieldValueInvalid", f"Invalid value: {shown}: failed to allocate IP {given[i]}: {why}")]
        else:
            given.append(free.draw_address(family))
    if given:
        spec["clusterIPs"], spec["clusterIP"] = given, given[0]
    return []


def _ports(spec: Spec, old: Spec | None, free: Free, used: set[int]) -> list[Cause]:
    """Ports of several protocols with one number share a node port."""
    ports = spec.get("ports") or ()
    before = {p.get("nodePort") for p in (old or {}).get("ports") or ()}
    by_number: dict[Any, int] = {}
    for i, port in enumerate(ports):
        number = port.get("nodePort")
        if not number:
            continue
        if number not in used and number not in before and (why := free.port_refusal(number)):
            return [invalid_value(f"spec.ports[{i}].nodePort", number, why)]
        used.add(number)
        by_number.setdefault(port.get("port"), number)
    if spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        return []
    taken = {(p.get("protocol"), p["nodePort"]) for p in ports if p.get("nodePort")}
    for port in ports:
        if port.get("nodePort"):
            continue
        number = by_number.get(port.get("port"))
        if number is None or (port.get("protocol"), number) in taken:
            number = free.draw_port(used)
        by_number[port.get("port")] = port["nodePort"] = number
        used.add(number)
        taken.add((port.get("protocol"), number))
    return []


def _health(spec: Spec, old: Spec | None, free: Free, used: set[int]) -> list[Cause]:
    number = spec.get("healthCheckNodePort")
    if old is not None and needs_health_port(old):
        if number != old.get("healthCheckNodePort"):
            why = "cannot change healthCheckNodePort on loadBalancer service with externalTraffic=Local during update"
            return [invalid_value("spec.healthCheckNodePort", number or 0, why)]
        return []
    if not number:
        spec["healthCheckNodePort"] = free.draw_port(used)
        return []
    why = "provided port is already allocated" if number in used else free.port_refusal(number)
    if why:
        raise _no_health_port(number, why)
    return []


def _no_health_port(number: int, why: str) -> ApiError:
    return internal(f"failed to allocate requested HealthCheck NodePort {number}: {why}")


def held_addresses(spec: Spec) -> list[str]:
    """Return the addresses that a stored Service holds."""
    return [a for a in spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []) if a != NONE and is_address(a)]


def held_ports(spec: Spec) -> list[int]:
    """Return the node ports that a stored Service holds."""
    ports = [p["nodePort"] for p in spec.get("ports") or () if p.get("nodePort")]
    return [*ports, *([spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else ())]
