"""A device in memory and the driver that speaks to it: passes the same contract suite as the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from skerry.drivers import Command, DeviceOfflineError, Driver, OnSamples, PeerError, Quality, RefusedError, Sample, Target
from skerry.model.profiles import Property, Scalar, value_error


class FakeDevice:
    """What hangs on the fake wire. `values` may be set and read by a test at any time."""

    def __init__(self, values: Mapping[str, Scalar] | None = None) -> None:
        self.values: dict[str, Scalar] = dict(values or {})
        self.commands: list[tuple[str, Mapping[str, Scalar]]] = []
        self.refuses: set[str] = set()
        self.reads: list[tuple[str, ...]] = []
        self.connections = 0
        self._mood = "well"
        self._listener: OnSamples | None = None

    def go_silent(self) -> None:
        self._mood = "silent"

    def garble(self) -> None:
        self._mood = "garble"

    def recover(self) -> None:
        self._mood = "well"

    def push(self, samples: Mapping[str, Sample]) -> None:
        """Have the device say something by itself."""
        if self._listener is not None:
            self._listener(samples)

    def listen(self, on_samples: OnSamples | None) -> None:
        self._listener = on_samples

    async def answer(self, timeout_s: float) -> None:
        """Behave as ordered."""
        if self._mood == "silent":
            await asyncio.sleep(timeout_s)
            raise DeviceOfflineError(f"no answer within {timeout_s:g} s")
        if self._mood == "garble":
            raise PeerError("noise")
        await asyncio.sleep(0)


class FakeDriver:
    """A conversation with a FakeDevice."""

    def __init__(self, device: FakeDevice, *, pushes: bool = False) -> None:
        self._device = device
        self._pushes = pushes
        self._closed = False

    async def read(self, points: Sequence[Property], *, timeout_s: float) -> Mapping[str, Sample]:
        await self._device.answer(timeout_s)
        self._device.reads.append(tuple(p.name for p in points))
        now = asyncio.get_running_loop().time()
        return {p.name: self._sample(p, now) for p in points}

    def _sample(self, point: Property, now: float) -> Sample:
        if point.name in self._device.refuses or point.name not in self._device.values:
            return Sample(None, now, Quality.BAD, f"the device refused {point.name}")
        return Sample(self._device.values[point.name], now)

    async def write(self, point: Property, value: Scalar, *, timeout_s: float) -> Scalar:
        await self._device.answer(timeout_s)
        if point.name in self._device.refuses or value_error(point, value):
            raise RefusedError(f"the device refused {point.name}={value!r}")
        self._device.values[point.name] = value
        return value

    def subscribe(self, on_samples: OnSamples) -> bool:
        if self._pushes:
            self._device.listen(on_samples)
        return self._pushes

    async def command(self, command: Command, arguments: Mapping[str, Scalar], *, timeout_s: float) -> Mapping[str, Scalar]:
        await self._device.answer(timeout_s)
        if command.name in self._device.refuses:
            raise RefusedError(f"the device refused {command.name}")
        self._device.commands.append((command.name, dict(arguments)))
        return {}

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._device.connections -= 1
            self._device.listen(None)


class FakePlugin:
    """Opens conversations with the FakeDevice of an address."""

    def __init__(self, devices: Mapping[str, FakeDevice], *, pushes: bool = False) -> None:
        self._devices = devices
        self._pushes = pushes
        self.closed = False

    async def open(self, target: Target, *, timeout_s: float) -> Driver:
        device = self._devices.get(str(target.connection.get("url")))
        if device is None:
            raise DeviceOfflineError(f"nothing at {target.connection.get('url')}")
        await device.answer(timeout_s)
        device.connections += 1
        return FakeDriver(device, pushes=self._pushes)

    async def close(self) -> None:
        self.closed = True
