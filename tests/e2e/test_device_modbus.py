"""A Modbus device as a process of its own: driven by a node's devices, moved and read by a client that shares nothing with us."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from skerry.model.resources import DEVICES
from tests.e2e.devices_alone import BIN, DevicesAlone, until

pytestmark = pytest.mark.slow

READ = """
import sys
from pymodbus.client import ModbusTcpClient
with ModbusTcpClient("127.0.0.1", port=int(sys.argv[1])) as client:
    print(client.read_holding_registers(int(sys.argv[2]), count=1, device_id=7).registers[0])
"""
WRITE = """
import sys
from pymodbus.client import ModbusTcpClient
with ModbusTcpClient("127.0.0.1", port=int(sys.argv[1])) as client:
    assert not client.write_register(int(sys.argv[2]), int(sys.argv[3]), device_id=7).isError()
"""
PROFILE: dict[str, Any] = {
    "protocol": "modbus",
    "properties": {
        "flow": {
            "type": "number",
            "unit": "m3/h",
            "range": [0, 120],
            "read": {"every": "200ms", "deadband": 0.1},
            "binding": {"modbus": {"input": 30, "as": "float32", "order": "badc"}},
        },
        "setpoint": {
            "type": "number",
            "unit": "m3/h",
            "range": [0, 80],
            "access": "readWrite",
            "read": {"every": "300ms"},
            "binding": {"modbus": {"holding": 4, "scale": 0.1}},
        },
    },
    "events": {"leak": {"when": "flow > 100.0", "severity": 17}},
}


async def foreign(program: str, *args: object) -> str:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, *map(str, args), stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


class Bench(DevicesAlone):
    """A node's devices and one simulated meter."""

    port = 0

    async def meter(self, *, port: int = 0) -> int:
        profile = self.folder / "meter.yaml"
        profile.write_bytes(msgspec.json.encode({"kind": "DeviceProfile", "metadata": {"name": "meter"}, "spec": PROFILE}))
        log = self.folder / "meter.log"
        log.unlink(missing_ok=True)
        command = (
            BIN / "skerry",
            "sim",
            profile,
            "--listen",
            f"127.0.0.1:{port}",
            "--unit",
            "7",
            "--set",
            "setpoint=20",
            "--set",
            "flow=40",
        )
        self.sim = await self.run(*command, log=log)
        await until(lambda: "Modbus unit 7" in log.read_text())
        found = re.search(r"127\.0\.0\.1:(\d+)", log.read_text())
        assert found
        return int(found[1])

    async def order(self, line: str) -> None:
        assert self.sim.stdin is not None
        self.sim.stdin.write(f"{line}\n".encode())
        await self.sim.stdin.drain()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    bench.port = await bench.meter()
    bench.profile("meter", PROFILE)
    bench.device(
        "meter-1", profile="meter", connection={"modbus": {"url": f"tcp://127.0.0.1:{bench.port}", "unit": 7}}, desired={"setpoint": 20}
    )
    await bench.start(mqtt_port=None)
    yield bench
    await bench.stop()


async def test_in_sync_means_that_the_separate_server_holds_the_value(bench: Bench) -> None:
    await until(lambda: bench.condition("meter-1", "InSync")[0] == "True")
    assert await foreign(READ, bench.port, 4) == "200"

    generation = await bench.want("meter-1", setpoint=42)
    await until(lambda: bench.condition("meter-1", "InSync") == ("True", "AllAccepted", generation))

    assert await foreign(READ, bench.port, 4) == "420"


async def test_what_another_client_changes_is_put_back(bench: Bench) -> None:
    await until(lambda: bench.condition("meter-1", "InSync")[0] == "True")

    await foreign(WRITE, bench.port, 4, 333)

    async with asyncio.timeout(90):
        while await foreign(READ, bench.port, 4) != "200":
            await asyncio.sleep(0.05)


async def test_a_silent_device_is_offline_its_values_uncertain_and_it_comes_back_by_itself(bench: Bench) -> None:
    await until(lambda: bench.condition("meter-1", "Connected")[0] == "True")
    await bench.order("silent")
    await until(lambda: bench.condition("meter-1", "Connected")[:2] == ("False", "Offline"))
    assert bench.status("meter-1")["properties"]["flow"]["quality"] == "Uncertain"

    await bench.order("none")
    await until(lambda: bench.condition("meter-1", "Connected")[0] == "True")


async def test_noise_is_told_apart_from_silence(bench: Bench) -> None:
    await until(lambda: bench.condition("meter-1", "Connected")[0] == "True")

    await bench.order("garble")

    await until(lambda: bench.condition("meter-1", "Connected")[:2] == ("False", "Garbled"))


async def test_a_leak_is_told_once_when_it_begins(bench: Bench) -> None:
    await until(lambda: bench.condition("meter-1", "Connected")[0] == "True")

    async def leaks() -> list[dict[str, Any]]:
        return [e for e in await bench.events() if e["type"] == "dev.skerry.device.event"]

    await bench.order("set flow=110")
    async with asyncio.timeout(90):
        while not await leaks():
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.6)  # it is read again meanwhile
    await bench.order("set flow=50")
    await asyncio.sleep(0.6)

    assert [(e["subject"], e["data"], e["severity"]) for e in await leaks()] == [("leak", {"flow": 110.0}, 17)]


async def test_the_worker_ends_with_its_last_device_and_with_the_node(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    await until(lambda: bench.condition("meter-1", "Connected")[0] == "True")
    alive = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    workers = [p for p in alive if "skerry.drivers.modbus.worker" in p.cmdline()]
    assert len(workers) == 1
    with capsys.disabled():
        print(f" [Modbus worker: {workers[0].memory_full_info().pss / 1e6:.1f} MB proportional]")

    bench.api.erase(DEVICES, "default", "meter-1")

    await until(lambda: not workers[0].is_running())
