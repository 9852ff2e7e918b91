"""Our Modbus driver against a server that shares no transport code with it, looked at with a client that shares none either."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from skerry.drivers import BusyError, DeviceOfflineError, Driver, PeerError, Quality, RefusedError, Target
from skerry.drivers.modbus import Modbus
from skerry.drivers.modbus.codec import decode, point_of
from skerry.model.profiles import Property, Scalar, load_profile
from skerry.sim.device import SimulatedDevice
from skerry.sim.modbus import ModbusServer
from tests.contract.driver import VALUES, DriverContract, contract_profile

pytestmark = pytest.mark.slow


class _Device:
    """The simulated device; `held` reads its registers with pymodbus' own client."""

    def __init__(self, simulated: SimulatedDevice, server: ModbusServer) -> None:
        self._simulated = simulated
        self._server = server

    def go_silent(self) -> None:
        self._simulated.order("silent")

    def garble(self) -> None:
        self._simulated.order("garble")

    def slow(self, seconds: float) -> None:
        self._simulated.order(f"slow {seconds}")

    def recover(self) -> None:
        self._simulated.order("none")

    async def held(self, name: str) -> Scalar:
        prop = self._simulated.profile.properties[name]
        point = point_of(prop)
        return decode(prop, point, await self._registers(point.table, point.address, point.count))

    async def commanded(self, name: str) -> bool:
        return bool((await self._registers("coil", 9, 1))[0])

    async def _registers(self, table: str, address: int, count: int) -> list[int]:
        client = AsyncModbusTcpClient("127.0.0.1", port=self._server.port, reconnect_delay=0)
        await client.connect()
        ask: Any = {"holding": client.read_holding_registers, "coil": client.read_coils}[table]
        reply = await ask(address, count=count, device_id=7)
        client.close()
        return [int(v) for v in (reply.bits if table == "coil" else reply.registers)]


async def served(spec: dict[str, Any] | None = None) -> tuple[SimulatedDevice, ModbusServer]:
    profile = load_profile({"metadata": {"name": "p"}, "spec": spec}, lambda _: None) if spec else contract_profile()
    simulated = SimulatedDevice(profile)
    for name, value in VALUES.items() if spec is None else ():
        simulated.set(name, value)
    server = ModbusServer(simulated, unit=7)
    await server.open("127.0.0.1", 0)
    return simulated, server


class TestModbusDriver(DriverContract):
    @pytest.fixture
    async def device(self) -> AsyncIterator[_Device]:
        simulated, server = await served()
        self.server = server
        yield _Device(simulated, server)
        await server.close()

    @pytest.fixture
    async def plugin(self) -> AsyncIterator[Modbus]:
        plugin = Modbus()
        yield plugin
        await plugin.close()

    @pytest.fixture
    async def driver(self, device: _Device, plugin: Modbus) -> AsyncIterator[Driver]:
        driver = await plugin.open(Target({"url": f"tcp://127.0.0.1:{self.server.port}", "unit": 7}), timeout_s=30.0)
        yield driver
        await driver.close()

    async def test_the_worker_runs_only_while_a_device_needs_it(self, device: _Device, plugin: Modbus) -> None:
        assert plugin.worker.pid is None
        url = Target({"url": f"tcp://127.0.0.1:{self.server.port}", "unit": 7})
        first, second = await plugin.open(url, timeout_s=30.0), await plugin.open(url, timeout_s=30.0)
        pid = plugin.worker.pid
        await first.close()

        assert plugin.worker.pid == pid
        await second.close()
        assert plugin.worker.pid is None

    async def test_a_worker_that_was_killed_is_replaced(self, driver: Driver, device: _Device, plugin: Modbus) -> None:
        assert plugin.worker.pid is not None
        os.kill(plugin.worker.pid, signal.SIGKILL)
        with pytest.raises(DeviceOfflineError, match="worker ended"):
            await self.read(driver, "flow")

        assert await self.read(driver, "flow") == {"flow": VALUES["flow"]}

    async def test_a_port_that_nobody_serves_is_offline(self, plugin: Modbus) -> None:
        with pytest.raises(DeviceOfflineError):
            await plugin.open(Target({"url": "tcp://127.0.0.1:1", "unit": 1}), timeout_s=10.0)
        assert plugin.worker.pid is None

    async def test_an_address_that_cannot_be_used_is_refused(self, plugin: Modbus) -> None:
        with pytest.raises(RefusedError, match="tcp://host:port"):
            await plugin.open(Target({"url": "serial:///dev/ttyUSB0"}), timeout_s=10.0)

    async def test_a_point_that_the_device_does_not_have_spoils_no_other(self, driver: Driver, device: _Device) -> None:
        ghost = Property("ghost", "number", binding={"modbus": {"input": 34}})
        found = await driver.read([ghost, self.profile.properties["flow"]], timeout_s=10.0)

        assert (found["flow"].value, found["ghost"].value) == (VALUES["flow"], None)
        assert found["ghost"].quality is Quality.BAD
        assert "illegal data address" in found["ghost"].detail

    async def test_a_busy_line_says_nothing_about_the_devices_behind_it(self, driver: Driver, device: _Device, plugin: Modbus) -> None:
        neighbour = await plugin.open(Target({"url": f"tcp://127.0.0.1:{self.server.port}", "unit": 7}), timeout_s=30.0)
        device.slow(60)
        asking = asyncio.create_task(self.read(driver, "flow", timeout_s=5.0))
        await asyncio.sleep(0)

        with pytest.raises(BusyError):  # told by the worker in the last tenth of the time, which a busy machine may need
            await self.read(neighbour, "flow", timeout_s=4.0)
        with pytest.raises(DeviceOfflineError):
            await asking
        await neighbour.close()

    @pytest.mark.parametrize(
        ("form", "order", "value"),
        [
            (form, order, value)
            for form, value in (("uint32", 70_000.0), ("int32", -70_000.0), ("float32", -12.5), ("float64", 1e-9), ("int16", -3.0))
            for order in ("abcd", "badc", "cdab", "dcba")
        ],
    )
    async def test_every_format_in_every_order(self, plugin: Modbus, form: str, order: str, value: float) -> None:
        point = {"type": "number", "access": "readWrite", "binding": {"modbus": {"holding": 1, "as": form, "order": order}}}
        simulated, server = await served({"protocol": "modbus", "properties": {"x": point}})
        driver = await plugin.open(Target({"url": f"tcp://127.0.0.1:{server.port}", "unit": 7}), timeout_s=30.0)

        await driver.write(simulated.profile.properties["x"], value, timeout_s=10.0)

        assert simulated.value("x", 0) == value
        await driver.close()
        await server.close()


ROGUES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "noise": lambda request, dice: dice.randbytes(dice.randrange(1, 300)),
    "wrong transaction": lambda request, dice: bytes([request[0] ^ 0xFF]) + request[1:4] + b"\0\7" + request[6:7] + b"\4\4" + bytes(4),
    "wrong unit": lambda request, dice: request[:4] + b"\0\7\x63\4\4" + bytes(4),
    "another function": lambda request, dice: request[:4] + b"\0\7" + request[6:7] + b"\3\4" + bytes(4),
    "length 0": lambda request, dice: request[:4] + b"\0\0" + request[6:],
    "length 65535": lambda request, dice: request[:4] + b"\xff\xff" + request[6:],
    "too few registers": lambda request, dice: request[:4] + b"\0\5" + request[6:7] + b"\4\2\0\0",
    "byte count lies": lambda request, dice: request[:4] + b"\0\7" + request[6:7] + b"\4\xff" + bytes(4),
    "exception flood": lambda request, dice: (request[:4] + b"\0\3" + request[6:7] + b"\x84\4") * 50,
    "hangs up": lambda request, dice: b"",
}


@pytest.mark.parametrize("rogue", ROGUES)
async def test_a_peer_that_lies_is_offline_or_wrong_and_never_believed(rogue: str) -> None:
    """Inputs 60 of the catalogue, and T12: whatever a device says, it is a value, Bad, or one of our errors, in time."""
    dice = random.Random(5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while request := await reader.read(260):
                answer = ROGUES[rogue](request, dice)
                writer.write(answer)
                if not answer:
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    plugin = Modbus()
    driver = await plugin.open(Target({"url": f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", "unit": 7}), timeout_s=30.0)
    flow = contract_profile().properties["flow"]
    for _ in range(3):
        try:
            found = await driver.read([flow], timeout_s=0.3)
        except (DeviceOfflineError, PeerError):
            continue
        assert found["flow"].quality is Quality.BAD or rogue == "noise", found
    await driver.close()
    await plugin.close()
    server.close()
    await server.wait_closed()
