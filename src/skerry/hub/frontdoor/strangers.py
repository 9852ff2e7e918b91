"""Who came without a client's certificate: a bounded number, and when all places are taken, who makes room. Pure.

What stays true: who has said nothing yet goes first; then one of the network that has most places, so that whoever takes
hundreds crowds out himself and never somebody who has few.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


def network_of(address: str) -> str:
    """Return the address, of IPv6 the /64: one household has as many of those as it likes."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


class Strangers(Generic[T]):
    """The connections, by network, each network's oldest first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._of: dict[str, dict[T, None]] = {}
        self._networks: dict[T, str] = {}
        self._silent: dict[T, None] = {}

    @property
    def full(self) -> bool:
        return len(self._networks) >= self._limit

    def victim(self, network: str) -> T | None:
        """Return who has to go before one more of *network* comes in; None when there is room, or nobody has more places than it."""
        if not self.full:
            return None
        if self._silent:
            return next(iter(self._silent))
        fullest = max(self._of, key=lambda n: len(self._of[n]))
        if fullest != network and len(self._of[fullest]) <= len(self._of.get(network, ())):
            return None
        return next(iter(self._of[fullest]))

    def add(self, stranger: T, network: str) -> None:
        """Take note of one more."""
        self._of.setdefault(network, {})[stranger] = None
        self._networks[stranger] = network
        self._silent[stranger] = None

    def heard(self, stranger: T) -> None:
        """It has said something."""
        self._silent.pop(stranger, None)

    def remove(self, stranger: T) -> None:
        """It is gone; a second call does nothing."""
        self._silent.pop(stranger, None)
        network = self._networks.pop(stranger, None)
        if network is not None:
            of_network = self._of[network]
            del of_network[stranger]
            if not of_network:
                del self._of[network]
