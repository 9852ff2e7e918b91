"""A DeviceProfile served as a Modbus TCP device, by pymodbus: what speaks here shares no code with our driver's transport.

What must stay true: the registers show the device's values at the moment of the request; a write that the profile does not
allow is answered with `illegal data value` and changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from skerry.drivers.modbus.codec import decode, encode, point_of
from skerry.model.bindings import ModbusPoint, modbus_point
from skerry.model.profiles import Property
from skerry.sim.device import SimulatedDevice

_TABLE_OF = {
    1: "coil",
    5: "coil",
    15: "coil",
    2: "discrete",
    3: "holding",
    6: "holding",
    16: "holding",
    22: "holding",
    23: "holding",
    4: "input",
}
_ILLEGAL_VALUE = ExcCodes.ILLEGAL_VALUE


class ModbusServer:
    """Serves *device* until it is closed; `port` is the real one when 0 was asked for."""

    def __init__(self, device: SimulatedDevice, *, unit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._device = device
        self._unit = unit
        self._clock = clock
        self._started = clock()
        self._points = {n: point_of(p) for n, p in device.profile.properties.items()}
        self._server: Any = None
        self.port = 0
        self._closing = asyncio.Event()
        self._late: set[asyncio.Task[Any]] = set()

    async def open(self, host: str, port: int) -> None:
        """Listen; raises OSError when the address is taken."""
        with socket.create_server((host, port)):
            pass  # pymodbus would say that it failed, not why
        simulated = SimDevice(self._unit, self._layout(), action=self._act)
        self._server = ModbusTcpServer(simulated, address=(host, port), trace_packet=self._spoil, ignore_missing_devices=True)
        await self._server.serve_forever(background=True)
        self.port = self._server.transport.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._closing.set()
            await self._server.shutdown()
            await asyncio.gather(*self._late, return_exceptions=True)

    def _layout(self) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
        tables: dict[str, set[int]] = {"coil": set(), "discrete": set(), "holding": set(), "input": set()}
        points = [*self._points.values(), *self._command_points()]
        for point in points:
            tables[point.table] |= set(range(point.address, point.address + point.count))
        coils, discrete = (_bits(tables[t]) for t in ("coil", "discrete"))
        holding, inputs = (_registers(tables[t]) for t in ("holding", "input"))
        return coils, discrete, holding, inputs

    def _command_points(self) -> list[ModbusPoint]:
        bindings = [c.get("binding", {}).get("modbus") for c in self._device.profile.commands.values()]
        return [modbus_point(b) for b in bindings if b]

    async def _act(
        self, function: int, first: int, address: int, count: int, registers: list[int], values: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        """Called by the server before it reads or writes its registers."""
        if self._device.fault.name == "slow":
            await self._delay(self._device.fault.delay_s)
        table = _TABLE_OF[function]
        if values is not None:
            return self._written(table, address, [int(v) for v in values])
        elapsed = self._clock() - self._started
        for name, point in self._points.items():
            if point.table == table:
                self._show(registers, first, self._device.profile.properties[name], point, elapsed)
        return None

    async def _delay(self, seconds: float) -> None:
        if task := asyncio.current_task():
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    def _show(self, registers: list[int], first: int, prop: Property, point: ModbusPoint, elapsed_s: float) -> None:
        value = self._device.value(prop.name, elapsed_s)
        if point.table in ("coil", "discrete"):
            word, bit = point.address // 16 - first, point.address % 16
            registers[word] = _with_bit(registers[word], bit, bool(value))
            return
        start = point.address - first
        if point.bit is not None:
            registers[start] = _with_bit(registers[start], point.bit, bool(value))
            return
        registers[start : start + point.count] = encode(prop, point, value)

    def _written(self, table: str, address: int, values: list[int]) -> ExcCodes | None:
        """Take what a write sets, whole points only."""
        for name, point in self._points.items():
            start = point.address - address
            if point.table != table or start + point.count <= 0 or start >= len(values):
                continue
            if start < 0 or start + point.count > len(values):
                return _ILLEGAL_VALUE
            prop = self._device.profile.properties[name]
            raw = values[start : start + point.count]
            try:
                value = bool(raw[0] >> point.bit & 1) if point.bit is not None else decode(prop, point, raw)
            except ValueError:
                return _ILLEGAL_VALUE
            if self._device.write(name, value):
                return _ILLEGAL_VALUE
        return None

    def _spoil(self, sending: bool, data: bytes) -> bytes:
        fault = self._device.fault.name
        if not sending or fault in ("none", "slow"):
            return data
        return b"" if fault == "silent" else data[:2] + bytes(b ^ 0xA5 for b in data[2:])


def _with_bit(register: int, bit: int, on: bool) -> int:
    return register | 1 << bit if on else register & ~(1 << bit)


def _registers(addresses: set[int]) -> list[SimData]:
    return [SimData(a, values=0, datatype=DataType.REGISTERS) for a in sorted(addresses)] or [
        SimData(65535, values=0, datatype=DataType.REGISTERS)
    ]


def _bits(addresses: set[int]) -> list[SimData]:
    """Bits are laid out in whole words, as the server wants them."""
    words = sorted({a // 16 for a in addresses}) or [4095]
    return [SimData(w * 16, values=[False] * 16, datatype=DataType.BITS) for w in words]
