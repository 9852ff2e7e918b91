"""What every driver promises. Subclass it, provide `driver` and the simulated `device` that it speaks to, inherit the tests."""

from __future__ import annotations

import time
from typing import Any, Protocol

import pytest

from skerry.drivers import Command, DeviceOfflineError, Driver, PeerError, Quality, RefusedError
from skerry.model.profiles import Profile, Scalar, load_profile

PROFILE: dict[str, Any] = {
    "protocol": "modbus",
    "properties": {
        "flow": {"type": "number", "range": [0, 120], "binding": {"modbus": {"input": 30, "as": "float32", "order": "badc"}}},
        "total": {"type": "integer", "binding": {"modbus": {"input": 32, "as": "uint32", "order": "cdab"}}},
        "setpoint": {"type": "number", "range": [0, 80], "access": "readWrite", "binding": {"modbus": {"holding": 4, "scale": 0.1}}},
        "mode": {"type": "enum", "values": ["auto", "manual"], "access": "readWrite", "binding": {"modbus": {"holding": 5}}},
        "name": {"type": "string", "access": "readWrite", "binding": {"modbus": {"holding": 10, "as": "string", "length": 4}}},
        "pump": {"type": "boolean", "access": "readWrite", "binding": {"modbus": {"coil": 3}}},
        "valve": {"type": "boolean", "access": "readWrite", "binding": {"modbus": {"holding": 20, "bit": 2}}},
        "heater": {"type": "boolean", "access": "readWrite", "binding": {"modbus": {"holding": 20, "bit": 3}}},
        "alarm": {"type": "boolean", "binding": {"modbus": {"discrete": 7}}},
    },
    "commands": {"zero": {"binding": {"modbus": {"coil": 9}}}},
}
VALUES: dict[str, Scalar] = {
    "flow": 42.1,
    "total": 123456,
    "setpoint": 20.5,
    "mode": "auto",
    "name": "meter",
    "pump": False,
    "valve": True,
    "heater": False,
    "alarm": True,
}


def contract_profile() -> Profile:
    return load_profile({"metadata": {"name": "contract"}, "spec": PROFILE}, lambda _: None)


class Device(Protocol):
    """The simulated peer, moved and looked at past the driver."""

    def go_silent(self) -> None: ...

    def garble(self) -> None: ...

    def recover(self) -> None: ...

    async def held(self, name: str) -> Scalar: ...

    async def commanded(self, name: str) -> bool: ...


class DriverContract:
    """The device holds VALUES, and refuses a setpoint above 80."""

    profile = contract_profile()

    async def read(self, driver: Driver, *names: str, timeout_s: float = 10.0) -> dict[str, Scalar | None]:
        found = await driver.read([self.profile.properties[n] for n in names], timeout_s=timeout_s)
        return {n: s.value for n, s in found.items()}

    async def test_a_batch_gives_every_point_with_time_and_quality(self, driver: Driver, device: Device) -> None:
        found = await driver.read(list(self.profile.properties.values()), timeout_s=10.0)

        assert {n: s.value for n, s in found.items()} == VALUES
        assert {s.quality for s in found.values()} == {Quality.GOOD}

    async def test_nothing_asked_is_nothing_answered(self, driver: Driver, device: Device) -> None:
        assert await driver.read([], timeout_s=10.0) == {}

    @pytest.mark.parametrize(
        ("name", "value"), [("setpoint", 42.5), ("mode", "manual"), ("name", "pump-3"), ("pump", True), ("valve", False), ("heater", True)]
    )
    async def test_a_written_value_is_held_and_reads_back(self, driver: Driver, device: Device, name: str, value: Scalar) -> None:
        settled = await driver.write(self.profile.properties[name], value, timeout_s=10.0)

        assert settled == value
        assert await device.held(name) == value
        assert (await self.read(driver, name))[name] == value

    async def test_a_write_leaves_its_neighbours_alone(self, driver: Driver, device: Device) -> None:
        await driver.write(self.profile.properties["heater"], True, timeout_s=10.0)

        assert await self.read(driver, *(n for n in VALUES if n != "heater")) == {n: v for n, v in VALUES.items() if n != "heater"}

    async def test_what_the_device_does_not_take_is_refused(self, driver: Driver, device: Device) -> None:
        with pytest.raises(RefusedError):
            await driver.write(self.profile.properties["setpoint"], 81.0, timeout_s=10.0)

        assert await device.held("setpoint") == VALUES["setpoint"]

    async def test_silence_is_reported_as_offline_within_the_deadline(self, driver: Driver, device: Device) -> None:
        device.go_silent()
        began = time.monotonic()

        with pytest.raises(DeviceOfflineError):
            await self.read(driver, "flow", timeout_s=0.2)
        with pytest.raises(DeviceOfflineError):
            await driver.write(self.profile.properties["pump"], True, timeout_s=0.2)

        assert time.monotonic() - began < 20

    async def test_noise_is_the_peers_error(self, driver: Driver, device: Device) -> None:
        device.garble()

        with pytest.raises(PeerError):
            await self.read(driver, "flow", timeout_s=10.0)

    async def test_a_device_that_recovers_is_read_again(self, driver: Driver, device: Device) -> None:
        for misbehave, error, timeout_s in ((device.go_silent, DeviceOfflineError, 0.2), (device.garble, PeerError, 10.0)):
            misbehave()
            with pytest.raises(error):
                await self.read(driver, "flow", timeout_s=timeout_s)
            device.recover()

            assert await self.read(driver, "flow") == {"flow": VALUES["flow"]}

    async def test_a_command_is_done_once(self, driver: Driver, device: Device) -> None:
        await driver.command(Command("zero", self.profile.commands["zero"]["binding"]), {}, timeout_s=10.0)

        assert await device.commanded("zero")

    async def test_hanging_up_twice_is_harmless(self, driver: Driver, device: Device) -> None:
        await driver.close()
        await driver.close()
