"""A console on made-up data, for tests and for looking at pages: `python -m tests.console.fakehub` serves it until Ctrl-C.

Everything below the pages is the real thing but the fleet: the console's own handlers, real informers on the fake API,
devices whose values move, events that come in.
"""

from __future__ import annotations

import asyncio
import math
import random
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import trustme
from aiohttp import web

from skerry.console import Console, Sources
from skerry.controllers.informers import Informers
from skerry.events.cloudevents import DEVICE_EVENT_TYPE, SAMPLE_TYPE, Event
from skerry.model.errors import unavailable
from skerry.model.objects import Object
from skerry.model.resources import DEVICEPROFILES, DEVICES, NODES, PODS, SITES
from skerry.model.times import rfc3339
from skerry.testing.fakeapi import FakeApi

CODE = "test-code-2345"


@dataclass(frozen=True)
class Logged:
    sequence: int
    node: str
    raw: bytes


class FakeLog:
    """An event log in memory."""

    def __init__(self) -> None:
        self.entries: list[Logged] = []
        self._changed = asyncio.Event()

    @property
    def newest(self) -> int:
        return len(self.entries)

    async def oldest(self) -> int:
        return 1 if self.entries else 0

    async def page(self, after: int | None = None, *, limit: int = 1000) -> Sequence[Logged]:
        return self.entries[after or 0 : (after or 0) + limit]

    async def wait_newer(self, than: int) -> None:
        while self.newest <= than:
            await self._changed.wait()

    def add(self, node: str, event: Event) -> None:
        self.entries.append(Logged(len(self.entries) + 1, node, event.to_json()))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class FakeTwins:
    """Devices whose values move; those on an absent node cannot be reached."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], dict[str, Any]] = {}
        self.away: set[str] = set()
        self.open = 0
        self._tick = asyncio.Event()

    def tick(self) -> None:
        tick, self._tick = self._tick, asyncio.Event()
        tick.set()

    async def watch(self, node: str, namespace: str, name: str) -> AsyncIterator[Object]:
        self.open += 1
        try:
            while True:
                if node in self.away:
                    raise unavailable(f"node {node} is not connected to the hub")
                yield {
                    "metadata": {"namespace": namespace, "name": name},
                    "status": {
                        "lastSeen": rfc3339(datetime.now(UTC)),
                        "conditions": [{"type": "Connected", "status": "True"}, {"type": "InSync", "status": "True"}],
                        "properties": self.values.get((namespace, name), {}),
                    },
                }
                await self._tick.wait()
        finally:
            self.open -= 1


def a_node(name: str, site: str, *, address: str, ready: str = "True", **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": {"skerry.dev/site": site, "runtime.skerry.dev/process": "true"} if site else {}},
        "spec": spec,
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "nodeInfo": {"kubeletVersion": "v1.32.0+skerry0.1.0", "osImage": "Debian GNU/Linux 12", "architecture": "amd64"},
            "conditions": [
                {
                    "type": "Ready",
                    "status": ready,
                    "reason": "KubeletReady" if ready == "True" else "NodeStatusUnknown",
                    "message": "" if ready == "True" else "Kubelet stopped posting node status.",
                    "lastTransitionTime": rfc3339(datetime.now(UTC) - timedelta(minutes=7)),
                }
            ],
        },
    }


def a_device(
    name: str, node: str, profile: str, *, connected: str = "True", in_sync: str = "True", protocol: str = "modbus", **desired: Any
) -> Object:
    at = rfc3339(datetime.now(UTC) - timedelta(seconds=40))
    return {
        "metadata": {"namespace": "default", "name": name, "generation": 3},
        "spec": {"profile": profile, "connection": {protocol: {}}, "desired": desired},
        "status": {
            "nodeName": node,
            "observedGeneration": 3,
            "lastSeen": at,
            "conditions": [
                {"type": "Connected", "status": connected, "reason": "Answering" if connected == "True" else "NoAnswer"},
                {
                    "type": "InSync",
                    "status": in_sync,
                    "reason": "AllAccepted" if in_sync == "True" else "WritePending",
                    "observedGeneration": 3,
                },
            ],
            "properties": {k: {"value": v, "at": at, "quality": "Good"} for k, v in desired.items()},
        },
    }


class FakeHub:
    """Serves the console over TLS on a port of its own."""

    def __init__(self) -> None:
        self.api, self.log, self.twins = FakeApi(now=lambda: datetime.now(UTC)), FakeLog(), FakeTwins()
        self.informers = Informers(self.api)
        of = self.informers.of
        kinds = {"nodes": NODES, "pods": PODS, "sites": SITES, "devices": DEVICES, "profiles": DEVICEPROFILES}
        sources = Sources(**{name: of(kind) for name, kind in kinds.items()}, events=self.log, twins=self.twins)
        self.codes = {CODE}
        loop = asyncio.get_running_loop()
        self.console = Console(sources, redeem=self._redeem, clock=loop.time, version="0.1.0")
        self.url = ""
        self._tasks: list[asyncio.Task[Any]] = []

    def _redeem(self, code: str) -> str | None:
        if code not in self.codes:
            return None
        self.codes.discard(code)
        return "admin"

    async def __aenter__(self) -> Self:
        await self.listen(0)
        for run in (self.informers.run, self.console.run):
            self._tasks.append(asyncio.create_task(run()))
        await self.informers.wait_synced()
        return self

    async def listen(self, port: int) -> None:
        """Serve; call it again after `stop_listening` to come back on the same port."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("127.0.0.1", "localhost").configure_cert(context)
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"https://127.0.0.1:{self.port}/"

    async def stop_listening(self) -> None:
        await self.console.close()
        await self._runner.cleanup()

    async def __aexit__(self, *error: object) -> None:
        await asyncio.sleep(0.1)  # what the browser hung up is read, and closed on this side too
        await self.stop_listening()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {k.lower(): v for k, v in request.headers.items()}
        answer = await self.console.handle(_Request(request.method, request.path, headers, await request.read()))
        if isinstance(answer.body, bytes):
            return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)
        response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
        await response.prepare(request)
        try:
            async for chunk in answer.body:
                await response.write(chunk)
        except ConnectionError:
            pass
        finally:
            await answer.body.aclose()  # type: ignore[attr-defined]
        return response

    def fill(self) -> None:
        """A fleet of three sites: one of them silent, one node without a site."""
        self.api.seed(
            SITES,
            {"metadata": {"name": "dock-3"}, "spec": {"displayName": "Dock 3", "location": {"address": "Harbour Road 12"}}},
            {"metadata": {"name": "quay-1"}, "spec": {"displayName": "Quay 1"}},
            {"metadata": {"name": "lighthouse"}, "spec": {}},
        )
        self.api.seed(
            NODES,
            a_node("gateway-a", "dock-3", address="10.4.0.2"),
            a_node("gateway-b", "dock-3", address="10.4.0.3", unschedulable=True),
            a_node("gateway-c", "quay-1", address="10.5.0.2", ready="Unknown"),
            a_node("spare", "", address="10.9.0.9"),
        )
        for i in range(5):
            pod = {"metadata": {"namespace": "default", "name": f"web-{i}"}, "spec": {"nodeName": "gateway-a" if i < 3 else "gateway-b"}}
            self.api.seed(PODS, {**pod, "status": {"phase": "Running"}})
        self.api.seed(
            DEVICES,
            a_device("meter-1", "gateway-a", "flow-meter-x2", setpoint=42, mode="auto"),
            a_device("sensor-1", "gateway-b", "climate-sensor", protocol="mqtt"),
            a_device("pump-7", "gateway-c", "pump", connected="False", in_sync="False", speed=1200),
        )

    async def live(self) -> None:
        """Move values and send events until cancelled."""
        for step in range(10**9):
            self.step(step)
            await asyncio.sleep(0.5)

    def step(self, step: int) -> None:
        at = rfc3339(datetime.now(UTC))
        flow = round(60 + 40 * math.sin(step / 9) + random.uniform(-2, 2), 2)
        meter: dict[str, dict[str, Any]] = {
            "flow": {"type": "number", "unit": "m3/h", "value": flow, "at": at, "quality": "Good"},
            "setpoint": {"type": "number", "unit": "m3/h", "access": "readWrite", "value": 42, "desired": 42, "at": at, "quality": "Good"},
            "mode": {"type": "enum", "access": "readWrite", "value": "auto", "desired": "auto", "at": at, "quality": "Good"},
            "valve": {"type": "boolean", "value": step % 20 < 10, "at": at, "quality": "Uncertain", "detail": "not confirmed"},
        }
        meter["setpoint"]["ack"] = {"code": "Accepted", "generation": 3}
        meter["mode"]["ack"] = {"code": "Rejected", "generation": 3, "message": "the device is in local mode"}
        self.twins.values["default", "meter-1"] = meter
        temperature = round(21 + 2 * math.sin(step / 15), 2)
        self.twins.values["default", "sensor-1"] = {"temperature": {"unit": "°C", "value": temperature, "at": at, "quality": "Good"}}
        self.twins.away.add("gateway-c")
        self.twins.tick()
        device: dict[str, str | int | bool] = {"devicenamespace": "default", "devicename": "meter-1"}
        source = "/nodes/gateway-a/devices/default/meter-1"
        self.log.add(
            "gateway-a",
            Event(id=str(step), source=source, type=SAMPLE_TYPE, subject="flow", time=at, data={"flow": flow}, extensions=device),
        )
        if step % 7 == 0:
            data = {"flow": flow, "limit": 100, "text": "<script>alert(1)</script>"}
            self.log.add(
                "gateway-a",
                Event(id=f"e{step}", source=source, type=DEVICE_EVENT_TYPE, subject="leak", time=at, data=data, extensions=device),
            )


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


async def main() -> None:
    async with FakeHub() as hub:
        hub.fill()
        hub.codes |= {f"{CODE}{i}" for i in range(100)}
        print(f"{hub.url}  code {CODE}, or {CODE}0 to {CODE}99", flush=True)
        await hub.live()


if __name__ == "__main__":
    asyncio.run(main())
