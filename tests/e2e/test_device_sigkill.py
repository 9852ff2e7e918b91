"""A node's device software is killed again and again while a device speaks: every message is in the outbox once, in order."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import msgspec
import pytest

from skerry.events.cloudevents import SAMPLE_TYPE
from skerry.events.log import Outbox
from tests.e2e.devices_alone import BIN, ROOT
from tests.e2e.devices_process import PROFILE
from tests.e2e.edge import free_port

pytestmark = pytest.mark.slow

COUNT = 6000
KILLS = 5


async def a_node(folder: Path, port: int) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.e2e.devices_process", str(folder), str(port))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 90) == b"ready\n"
    return process


async def test_every_message_is_stored_once_and_in_order_however_often_the_node_is_killed(tmp_path: Path) -> None:
    dice = random.Random(3)
    port, state = free_port(), tmp_path / "state"
    state.mkdir()
    profile = tmp_path / "meter.yaml"
    profile.write_bytes(msgspec.json.encode({"kind": "DeviceProfile", "metadata": {"name": "meter"}, "spec": PROFILE}))
    node = await a_node(state, port)
    sim = await asyncio.create_subprocess_exec(
        *(str(BIN / "skerry"), "sim", str(profile), "--connect", f"127.0.0.1:{port}", "--device", "default/meter-1"),
        *("--every", "0.0005", "--count", str(COUNT), "--signal", "flow=sine:period=0.5"),
        env={**os.environ, "SKERRY_SIM_PASSWORD": "salt"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    for _ in range(KILLS):
        await asyncio.sleep(dice.uniform(0.2, 0.8))
        node.kill()
        await node.wait()
        node = await a_node(state, port)
    assert await asyncio.wait_for(sim.wait(), 300) == 0
    node.kill()
    await node.wait()

    outbox = await Outbox.open(state / "events.sqlite")
    events = [msgspec.json.decode(raw) for _, raw in await outbox.read(0, max_events=1_000_000, max_bytes=1 << 30)]
    await outbox.close()
    samples = [e for e in events if e["type"] == SAMPLE_TYPE]
    assert [int(e["sequence"]) for e in samples] == list(range(1, COUNT + 1))
    assert [int(e["id"]) for e in events] == list(range(1, len(events) + 1)), "running numbers have no gap and no repetition"
    assert len(events) > COUNT, "the device's events are there too"
