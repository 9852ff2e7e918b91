"""The devices of a node without the rest of it: real memory, outbox and listeners, an API in memory, real devices as processes."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from skerry.events.log import Outbox
from skerry.model.conditions import get_condition
from skerry.model.objects import Object
from skerry.model.resources import DEVICEPROFILES, DEVICES, SECRETS
from skerry.node.devices import DeviceSettings, DeviceSubsystem
from skerry.node.memory import Memory
from skerry.testing.fakeapi import FakeApi

NODE = "gw-1"
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


class DevicesAlone:
    """What one node drives; `apply` is what an operator would do with kubectl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = FakeApi()
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self, *, mqtt_port: int | None = 0) -> None:
        self.memory = await Memory.open(self.folder)
        self.outbox = await Outbox.open(self.folder / "events.sqlite")
        mqtt = ("127.0.0.1", mqtt_port) if mqtt_port is not None else None
        self.devices = DeviceSubsystem(self.api, self.memory, self.outbox, DeviceSettings(NODE, self.folder, site="dock-3", mqtt=mqtt))
        await self.devices.start()
        if mqtt is not None:
            await until(lambda: self.mqtt_port)

    async def stop(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        await self.devices.stop()
        await self.outbox.close()
        await self.memory.close()

    @property
    def mqtt_port(self) -> int:
        assert self.devices.mqtt is not None
        return self.devices.mqtt.port

    def profile(self, name: str, spec: dict[str, Any]) -> None:
        self.api.seed(DEVICEPROFILES, {"kind": "DeviceProfile", "metadata": {"name": name, "namespace": "default"}, "spec": spec})

    def device(self, name: str, **spec: Any) -> None:
        meta = {"name": name, "namespace": "default", "generation": 1}
        self.api.seed(DEVICES, {"kind": "Device", "metadata": meta, "spec": spec, "status": {"nodeName": NODE}})

    def secret(self, name: str, **values: str) -> None:
        data = {k: base64.b64encode(v.encode()).decode() for k, v in values.items()}
        self.api.seed(SECRETS, {"kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "data": data})

    async def want(self, name: str, **desired: Any) -> int:
        changed = await self.api.patch(DEVICES, "default", name, {"spec": {"desired": desired}})
        return int(changed["metadata"]["generation"])

    def status(self, name: str) -> Object:
        found = self.api.peek(DEVICES, "default", name)
        return (found or {}).get("status") or {}

    def condition(self, name: str, kind: str) -> tuple[str, str, int]:
        found = get_condition(self.status(name).get("conditions"), kind) or {}
        return found.get("status", ""), found.get("reason", ""), found.get("observedGeneration", 0)

    async def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(raw) for _, raw in await self.outbox.read(0, max_events=1_000_000, max_bytes=1 << 30)]

    async def run(self, *command: str | Path, log: Path, **environment: str) -> asyncio.subprocess.Process:
        """Start a device as a process of its own."""
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *map(str, command), stdin=asyncio.subprocess.PIPE, stdout=out, stderr=out, env={**os.environ, **environment}
            )
        self._processes.append(process)
        return process


async def until(holds: Callable[[], object], *, timeout_s: float = 90.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.02)
