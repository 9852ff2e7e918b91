"""A range of numbers to give out: addresses of one family, or ports. Pure: who holds what is asked, not kept.

As in Kubernetes the lower part of a range is left to those who ask for a number by name, as long as the upper part has room.
"""

from __future__ import annotations

import random
from collections.abc import Container
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import chain

import msgspec

TRIES = 32
"""Draws before the range is walked: with half of it taken, one in four billion needs the walk."""
MAX_SIZE = 1 << 20
"""Numbers of one range that are used; of a larger one (IPv6) the first so many."""


class FullError(Exception):
    """Nothing is left."""


class Pool(msgspec.Struct, frozen=True):
    """Offsets 0 to `size` - 1; the first `reserved` are drawn last."""

    size: int
    reserved: int

    def draw(self, taken: Container[int], chance: random.Random) -> int:
        """Return an offset that is not *taken*; FullError when there is none."""
        for low, high in ((self.reserved, self.size), (0, self.reserved)):
            if high <= low:
                continue
            for _ in range(TRIES):
                found = chance.randrange(low, high)
                if found not in taken:
                    return found
            start = chance.randrange(low, high)
            for found in chain(range(start, high), range(low, start)):
                if found not in taken:
                    return found
        raise FullError


def address_pool(network: IPv4Network | IPv6Network) -> Pool:
    """Return the pool of a Service range: offset 0 is the second address, the last of an IPv4 range is not used."""
    unused = 2 if network.version == 4 else 1
    size: int = min(network.num_addresses - unused, MAX_SIZE)
    return Pool(size, min(max(16, size // 16), 256) if size > 16 else 0)


def port_pool(first: int, last: int) -> Pool:
    size = last - first + 1
    return Pool(size, min(max(16, size // 32), 128) if size > 16 else 0)


def address_at(network: IPv4Network | IPv6Network, offset: int) -> str:
    """Return the address that an offset of the range's pool stands for."""
    return str(ip_address(int(network.network_address) + 1 + offset))


def offset_of(network: IPv4Network | IPv6Network, address: str) -> int | None:
    """Return the offset of *address*, None when the range does not have it."""
    found = ip_address(address)
    if found.version != network.version:
        return None
    offset = int(found) - int(network.network_address) - 1
    return offset if 0 <= offset < address_pool(network).size else None
