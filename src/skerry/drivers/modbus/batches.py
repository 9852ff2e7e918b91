"""Which requests read a set of points: neighbours share one, pure.

What must stay true: every point lies whole in exactly one block, and no block is longer than the protocol allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from skerry.model.bindings import ModbusPoint

MAX_REGISTERS = 120
MAX_BITS = 1920
"""The protocol allows 125 registers and 2000 bits; a few gateways stop a little short of it."""


class Block(msgspec.Struct, frozen=True):
    """One read request: *count* registers or bits of *table* from *start*."""

    table: str
    start: int
    count: int
    names: tuple[str, ...]


def blocks(points: Mapping[str, ModbusPoint], *, gap: int) -> list[Block]:
    """Return the requests for *points*, reading over holes of up to *gap* addresses; 0 when the device refuses holes."""
    found: list[Block] = []
    for name, point in sorted(points.items(), key=lambda item: (item[1].table, item[1].address, item[1].count, item[0])):
        last = found[-1] if found else None
        limit = MAX_BITS if point.table in ("coil", "discrete") else MAX_REGISTERS
        end = point.address + point.count
        if last and last.table == point.table and point.address <= last.start + last.count + gap and end - last.start <= limit:
            found[-1] = Block(last.table, last.start, max(last.count, end - last.start), (*last.names, name))
        else:
            found.append(Block(point.table, point.address, point.count, (name,)))
    return found


def cut(block: Block, point: ModbusPoint, raw: Sequence[int]) -> Sequence[int]:
    """Return the part of the block's answer that belongs to *point*."""
    start = point.address - block.start
    return raw[start : start + point.count]
