"""Gives addresses and node ports to Services, from memory, in step with every write before it is committed.

What must stay true: no address and no port is held by two Services that are stored or wait to be. What is held is read from the
Services themselves and kept nowhere else; a dry run and a write that is refused hold nothing.
"""

from __future__ import annotations

import random
from collections.abc import Container
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

import msgspec

from skerry.apiserver.registry.admission import Admission, Chain
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.services.allocation import allocate, held_addresses, held_ports
from skerry.apiserver.services.carry import carry_over, needs_address, normalise_new
from skerry.apiserver.services.families import settle_families
from skerry.apiserver.services.pools import FullError, address_at, address_pool, offset_of, port_pool
from skerry.apiserver.store import ChangeType, Record, Store
from skerry.model.errors import internal, invalid
from skerry.model.objects import Object

SERVICES = "services"
IPV4, IPV6 = IPv4Network("10.96.0.0/16"), IPv6Network("fd00:96::/112")
_Name = tuple[str, str]


class Ranges(msgspec.Struct, frozen=True):
    """What Services are given; Kubernetes' usual ranges."""

    ipv4: IPv4Network = IPV4
    ipv6: IPv6Network = IPV6
    first_port: int = 30000
    last_port: int = 32767

    def of(self, family: str) -> IPv4Network | IPv6Network:
        return self.ipv6 if family == "IPv6" else self.ipv4


class Addresses:
    """Who holds which address and which port."""

    def __init__(self, store: Store, ranges: Ranges | None = None, chance: random.Random | None = None) -> None:
        self._store = store
        self.ranges = ranges or Ranges()
        self._chance = chance or random.SystemRandom()
        self._held: dict[_Name, tuple[list[str], list[int]]] = {}
        self.addresses: dict[str, _Name] = {}
        self.ports: dict[int, _Name] = {}
        self.dropped()
        store.foresee(self)

    def add_to(self, chain: Chain) -> None:
        """Complete Services from now on."""
        chain.mutating(SERVICES, ("CREATE", "UPDATE"), self._complete)
        chain.last(self._still_free)

    def staged(self, change: ChangeType, record: Record) -> None:
        if record.key.resource == SERVICES:
            self._put((record.key.namespace, record.key.name), None if change == "DELETED" else decode(record.value))

    def dropped(self) -> None:
        self._held.clear()
        self.addresses.clear()
        self.ports.clear()
        for record in self._store.list(SERVICES).records:
            self._put((record.key.namespace, record.key.name), decode(record.value))

    def _put(self, name: _Name, service: Object | None) -> None:
        addresses, ports = self._held.pop(name, ((), ()))
        for address in addresses:
            self.addresses.pop(address, None)
        for port in ports:
            self.ports.pop(port, None)
        if service is None:
            return
        spec = service.get("spec") or {}
        # Two that hold the same (stored by an older version) both keep it; the first one counts as its holder.
        held = [a for a in (str(ip_address(a)) for a in held_addresses(spec)) if a not in self.addresses]
        numbers = [p for p in dict.fromkeys(held_ports(spec)) if p not in self.ports]
        self._held[name] = (held, numbers)
        self.addresses |= dict.fromkeys(held, name)
        self.ports |= dict.fromkeys(numbers, name)

    def _complete(self, asked: Admission) -> None:
        """Settle families, addresses and ports of a Service that is written."""
        if asked.new is None or asked.subresource:
            return
        spec, old = asked.new.get("spec"), (asked.old or {}).get("spec")
        if not isinstance(spec, dict):
            return
        if old is None:
            normalise_new(spec)
        else:
            carry_over(spec, old)
        if spec.get("type") != "LoadBalancer" and (asked.new.get("status") or {}).get("loadBalancer"):
            asked.new["status"] = {**asked.new["status"], "loadBalancer": {}}
        before = old if old is not None and needs_address(old) else None
        causes = settle_families(spec, before) if needs_address(spec) else []
        try:
            causes = causes or allocate(spec, old, _Free(self, ("", "") if old is None else (asked.namespace, asked.name)))
        except FullError:
            raise internal(f"failed to allocate a serviceIP or nodePort for {asked.namespace}/{asked.name}: range is full") from None
        if causes:
            raise invalid("Service", "", asked.name, causes)

    def _still_free(self, asked: Admission) -> None:
        """Judge again what was given before others were asked: nobody holds it for a write that waits."""
        if asked.waited and asked.kind.key == SERVICES and asked.new is not None:
            free = _Free(self, (asked.namespace, asked.name))
            spec, before = asked.new.get("spec") or {}, (asked.old or {}).get("spec") or {}
            addresses, ports = held_addresses(before), held_ports(before)
            wrong = next((w for a in held_addresses(spec) if a not in addresses and (w := free.address_refusal(a))), "")
            wrong = wrong or next((w for p in held_ports(spec) if p not in ports and (w := free.port_refusal(p))), "")
            if wrong:
                raise internal(f"{wrong} while others were asked to admit the Service: try again")

    def draw_address(self, family: str) -> str:
        network = self.ranges.of(family)
        offset = address_pool(network).draw(_TakenAddresses(self, network), self._chance)
        return address_at(network, offset)

    def draw_port(self, besides: set[int]) -> int:
        first = self.ranges.first_port
        return first + port_pool(first, self.ranges.last_port).draw(_TakenPorts(self, besides), self._chance)


@dataclass(frozen=True, slots=True)
class _TakenAddresses(Container[int]):
    held: Addresses
    network: IPv4Network | IPv6Network

    def __contains__(self, offset: object) -> bool:
        assert isinstance(offset, int)
        # The first address is the API's own, whether its Service is there yet or not.
        return address_at(self.network, offset) in self.held.addresses or offset == 0


@dataclass(frozen=True, slots=True)
class _TakenPorts(Container[int]):
    held: Addresses
    besides: set[int]

    def __contains__(self, offset: object) -> bool:
        assert isinstance(offset, int)
        port = self.held.ranges.first_port + offset
        return port in self.held.ports or port in self.besides


class _Free(msgspec.Struct, frozen=True):
    """What one Service may have."""

    held: Addresses
    name: _Name

    def address_refusal(self, address: str) -> str:
        networks = (self.held.ranges.ipv4, self.held.ranges.ipv6)
        network = networks[ip_address(address).version == 6]
        if offset_of(network, address) is None:
            return f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {network}"
        holder = self.held.addresses.get(str(ip_address(address)))
        return "" if holder in (None, self.name) else "provided IP is already allocated"

    def draw_address(self, family: str) -> str:
        return self.held.draw_address(family)

    def port_refusal(self, port: int) -> str:
        first, last = self.held.ranges.first_port, self.held.ranges.last_port
        if not first <= port <= last:
            return f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
        return "" if self.held.ports.get(port) in (None, self.name) else "provided port is already allocated"

    def draw_port(self, besides: set[int]) -> int:
        return self.held.draw_port(besides)
