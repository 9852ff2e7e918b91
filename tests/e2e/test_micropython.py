"""The SDK for boards in the real MicroPython interpreter, with 64 kB of heap, against the node's own MQTT listener."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.events.cloudevents import SAMPLE_TYPE
from tests.e2e.devices_alone import BIN, ROOT, DevicesAlone, until

pytestmark = pytest.mark.slow

MICROPYTHON = BIN / "micropython"
SENSOR = ROOT / "micropython" / "examples" / "sensor.py"
PROFILE = {
    "protocol": "mqtt",
    "properties": {
        "moisture": {"type": "number", "unit": "%", "range": [0, 100]},
        "temperature": {"type": "number", "unit": "Cel", "range": [-40, 85]},
        "interval": {"type": "integer", "unit": "s", "range": [1, 7200], "access": "readWrite"},
    },
}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[DevicesAlone]:
    node = DevicesAlone(tmp_path)
    node.profile("soil-sensor", PROFILE)
    node.secret("sensor-1", password="pepper")
    node.device(
        "sensor-1",
        profile="soil-sensor",
        connection={"mqtt": {}, "credentials": {"secretRef": {"name": "sensor-1"}}},
        desired={"interval": 1},
    )
    await node.start()
    yield node
    await node.stop()


async def a_sensor(node: DevicesAlone, *, password: str = "pepper") -> Path:
    log = node.folder / "sensor.log"
    command = (MICROPYTHON, "-X", "heapsize=64k", SENSOR, "127.0.0.1", str(node.mqtt_port), "default/sensor-1", password)
    await node.run(*command, log=log, MICROPYPATH=str(ROOT / "micropython"))
    return log


async def test_a_board_tells_its_values_and_takes_what_is_desired(node: DevicesAlone, capsys: pytest.CaptureFixture[str]) -> None:
    log = await a_sensor(node)
    await until(lambda: node.condition("sensor-1", "InSync")[:2] == ("True", "AllAccepted"))
    generation = await node.want("sensor-1", interval=3)
    await until(lambda: node.condition("sensor-1", "InSync") == ("True", "AllAccepted", generation))
    await until(lambda: "interval 3" in log.read_text() and "heap free" in log.read_text())

    status = node.status("sensor-1")
    assert status["properties"]["interval"]["value"] == 3
    assert status["properties"]["interval"]["ack"] == {"generation": generation, "code": "Accepted"}
    samples = [e for e in await node.events() if e["type"] == SAMPLE_TYPE and "moisture" in e["data"]]
    assert samples
    assert samples[0]["source"] == "/nodes/gw-1/devices/default/sensor-1"
    free = int(re.findall(r"heap free (\d+)", log.read_text())[-1])
    assert free > 40_000
    with capsys.disabled():
        print(f" [MicroPython: {free} of 65536 bytes of heap free while it runs]")


async def test_the_example_of_the_readme_runs(node: DevicesAlone) -> None:
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "micropython" / "README.md").read_text(), re.DOTALL)
    for shown, real in (('"192.168.7.2", 1883', f'"127.0.0.1", {node.mqtt_port}'), ("the password in its Secret", "pepper")):
        assert shown in program
        program = program.replace(shown, real)
    (node.folder / "readme.py").write_text(program)

    command = (MICROPYTHON, "-X", "heapsize=64k", node.folder / "readme.py")
    await node.run(*command, log=node.folder / "readme.log", MICROPYPATH=str(ROOT / "micropython"))

    await until(lambda: node.condition("sensor-1", "InSync")[0] == "True")
    await until(lambda: node.outbox.newest)
    assert {"moisture": 41.5} in [e["data"] for e in await node.events()]


async def test_what_the_board_itself_refuses_is_rejected_with_its_words(node: DevicesAlone) -> None:
    await a_sensor(node)
    await until(lambda: node.condition("sensor-1", "InSync")[0] == "True")

    await node.want("sensor-1", interval=5000)

    await until(lambda: node.condition("sensor-1", "InSync")[:2] == ("False", "Rejected"))
    ack = node.status("sensor-1")["properties"]["interval"]["ack"]
    assert (ack["code"], ack["message"]) == ("Rejected", "interval must be between 1 and 3600 s")


async def test_a_board_that_lost_its_node_keeps_what_it_measured(node: DevicesAlone) -> None:
    await a_sensor(node)
    await until(lambda: node.condition("sensor-1", "InSync")[0] == "True")
    port = node.mqtt_port
    assert node.devices.mqtt is not None
    await node.devices.mqtt.close()
    await asyncio.sleep(2.5)
    await node.devices.mqtt.open("127.0.0.1", port)
    before = len(await node.events())
    await until(lambda: node.condition("sensor-1", "Connected")[0] == "True")
    await until(lambda: node.outbox.newest >= before + 4)

    numbers = [int(e["sequence"]) for e in await node.events() if "moisture" in e["data"]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_a_board_with_a_wrong_password_is_not_let_in(node: DevicesAlone) -> None:
    log = await a_sensor(node, password="guess")
    await until(lambda: log.read_text().count("sent 0") >= 1)

    await until(lambda: node.condition("sensor-1", "Connected")[0] == "False")
    assert await node.events() == []
