"""The node's side of Modbus: what to ask is decided here, the asking is the worker's.

What must stay true: one worker serves every device; a device that refuses a hole between its registers is asked without
holes from then on; what a write does to a register that holds several booleans changes one bit only.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from skerry.drivers.contract import Command, Driver, DriverError, OnSamples, PeerError, Quality, RefusedError, Sample, Target
from skerry.drivers.modbus.batches import Block, blocks, cut
from skerry.drivers.modbus.codec import decode, encode, point_of, settled
from skerry.drivers.worker import Worker
from skerry.model.bindings import ModbusPoint, modbus_point, tcp_address
from skerry.model.profiles import Property, Scalar

GAP = 8
"""Reading over up to 8 unused registers is cheaper than a second request."""


class Modbus:
    """The plugin: conversations with Modbus TCP devices through one worker."""

    def __init__(self) -> None:
        self.worker = Worker("skerry.drivers.modbus.worker")
        self._lines: Counter[tuple[str, int]] = Counter()

    async def open(self, target: Target, *, timeout_s: float) -> Driver:
        """Connect to `url`, unit `unit` (1 when not set)."""
        connection = target.connection
        try:
            line = tcp_address(str(connection.get("url") or ""))
        except ValueError as error:
            raise RefusedError(f"spec.connection.modbus.url {error}") from error
        self.worker.use()
        self._lines[line] += 1
        driver = _ModbusDriver(self, line, int(connection.get("unit") or 1))
        try:
            await self.worker.call({"op": "open", **driver.address}, timeout_s=timeout_s)
        except BaseException:
            await driver.close()
            raise
        return driver

    async def hang_up(self, line: tuple[str, int]) -> None:
        """Forget a connection that no device uses, and the worker when there are none."""
        self._lines[line] -= 1
        if not self._lines[line]:
            del self._lines[line]
            if self.worker.pid is not None:
                with suppress(DriverError):  # the worker may be gone already
                    await self.worker.call({"op": "close", "host": line[0], "port": line[1]}, timeout_s=1.0)
        await self.worker.release()

    async def close(self) -> None:
        await self.worker.close()


class _ModbusDriver:
    def __init__(self, plugin: Modbus, line: tuple[str, int], unit: int) -> None:
        self._plugin = plugin
        self._line = line
        self.address = {"host": line[0], "port": line[1], "unit": unit}
        self._gap = GAP
        self._closed = False

    async def read(self, points: Sequence[Property], *, timeout_s: float) -> Mapping[str, Sample]:
        props = {p.name: p for p in points}
        places = {p.name: point_of(p) for p in points}
        wanted = blocks(places, gap=self._gap)
        answers = await self._read_blocks(wanted, timeout_s)
        holed = [b for b, a in zip(wanted, answers, strict=True) if isinstance(a, str) and len(b.names) > 1]
        if holed:
            wanted, answers = await self._without_holes(places, wanted, answers, holed, timeout_s)
        found: dict[str, Sample] = {}
        for block, answer in zip(wanted, answers, strict=True):
            for name in block.names:
                found[name] = _sample(props[name], places[name], block, answer)
        return found

    async def _read_blocks(self, wanted: Sequence[Block], timeout_s: float) -> list[list[int] | str]:
        """Return the registers of each block, or why the device refused it."""
        asked = [[b.table, b.start, b.count] for b in wanted]
        found: list[list[int] | str] = await self._plugin.worker.call({"op": "read", **self.address, "blocks": asked}, timeout_s=timeout_s)
        if len(found) != len(wanted):
            raise PeerError(f"{len(found)} answers to {len(wanted)} requests")
        return found

    async def _without_holes(
        self,
        places: Mapping[str, ModbusPoint],
        wanted: Sequence[Block],
        answers: Sequence[list[int] | str],
        refused: Sequence[Block],
        timeout_s: float,
    ) -> tuple[list[Block], list[list[int] | str]]:
        """Ask each point of the refused blocks by itself; if that helps, a hole was the reason."""
        kept = [(b, a) for b, a in zip(wanted, answers, strict=True) if b not in refused]
        single = [Block(places[n].table, places[n].address, places[n].count, (n,)) for b in refused for n in b.names]
        again = await self._read_blocks(single, timeout_s)
        if not any(isinstance(a, str) for a in again):
            self._gap = 0
        return [*(b for b, _ in kept), *single], [*(a for _, a in kept), *again]

    async def write(self, point: Property, value: Scalar, *, timeout_s: float) -> Scalar:
        place = point_of(point)
        if not place.writable:
            raise RefusedError(f"the {place.table} table cannot be written")
        try:
            raw = encode(point, place, value)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        if place.bit is not None:
            raw = [await self._with_bit(place, bool(value), timeout_s)]
        await self._write(place, raw, timeout_s)
        return settled(point, place, value)

    async def _with_bit(self, place: ModbusPoint, value: bool, timeout_s: float) -> int:
        [register] = await self._read_blocks([Block(place.table, place.address, 1, ())], timeout_s)
        if isinstance(register, str):
            raise RefusedError(register)
        mask = 1 << (place.bit or 0)
        return register[0] | mask if value else register[0] & ~mask

    async def _write(self, place: ModbusPoint, raw: Sequence[int], timeout_s: float) -> None:
        where = {"table": place.table, "start": place.address, "values": list(raw)}
        await self._plugin.worker.call({"op": "write", **self.address, **where}, timeout_s=timeout_s)

    def subscribe(self, on_samples: OnSamples) -> bool:
        return False

    async def command(self, command: Command, arguments: Mapping[str, Scalar], *, timeout_s: float) -> Mapping[str, Scalar]:
        """Write 1 to the command's coil or register, or its only numeric argument when there is one."""
        binding = command.binding.get("modbus")
        if not binding:
            raise RefusedError(f"command {command.name} has no modbus binding")
        place = modbus_point(binding)
        numbers = [a for a in arguments.values() if type(a) in (int, float)]
        value = numbers[0] if len(numbers) == 1 and place.table == "holding" else 1
        as_property = Property(command.name, "boolean" if place.table == "coil" else "number", access="write", binding=command.binding)
        await self.write(as_property, value, timeout_s=timeout_s)
        return {}

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._plugin.hang_up(self._line)


def _sample(prop: Property, place: ModbusPoint, block: Block, answer: list[int] | str) -> Sample:
    now = time.time()
    if isinstance(answer, str):
        return Sample(None, now, Quality.BAD, answer)
    try:
        return Sample(decode(prop, place, cut(block, place, answer)), now)
    except ValueError as error:
        return Sample(None, now, Quality.BAD, str(error))
