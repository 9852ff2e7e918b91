"""One MQTT device's node in a process that a test may kill: `python -m tests.e2e.devices_process FOLDER PORT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.e2e.devices_alone import DevicesAlone

PROFILE = {
    "protocol": "mqtt",
    "properties": {"flow": {"type": "number", "range": [0, 120]}, "count": {"type": "integer"}},
    "events": {"high": {"when": "flow > 110.0"}},
}


async def main(folder: Path, port: int) -> None:
    node = DevicesAlone(folder)
    node.profile("meter", PROFILE)
    node.secret("meter-1", password="salt")
    node.device("meter-1", profile="meter", connection={"mqtt": {}, "credentials": {"secretRef": {"name": "meter-1"}}})
    await node.start(mqtt_port=port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
