"""Five hundred simulated devices for one node: half behind one Modbus meter, half that publish over MQTT themselves."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.e2e.edge import SKERRY, Edge, free_port, until

EACH = 250
READ_S, PUBLISH_S = 10, 10
PASSWORD = "bench-password"
OURS = "skerry.dev/v1alpha1"


@contextlib.contextmanager
def devices(edge: Edge) -> Iterator[int]:
    """Define and simulate them; yields how many there are once the hub was told of all that they are connected."""
    port = free_port()
    profile = edge.folder / "meter.json"
    profile.write_text(json.dumps(_profile("meter", "modbus")))
    meter = subprocess.Popen(
        [*SKERRY, "sim", str(profile), "--listen", f"127.0.0.1:{port}"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    boards = subprocess.Popen([sys.executable, "-m", "bench.mqtt_load"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        edge.apply(_profile("meter", "modbus"), _profile("board", "mqtt"), _secret(), *_all(port))
        assert boards.stdin is not None
        boards.stdin.write(json.dumps(_plan(edge)))
        boards.stdin.close()
        until(lambda: _connected(edge) == 2 * EACH, f"{2 * EACH} connected devices", timeout_s=180)
        yield 2 * EACH
    finally:
        for process in (meter, boards):
            process.kill()
            process.wait()


def _plan(edge: Edge) -> dict[str, Any]:
    host, _, port = edge.mqtt.rpartition(":")
    names = [f"default/board-{i}" for i in range(EACH)]
    common = {"host": host, "port": int(port), "password": PASSWORD, "property": "level", "devices": names, "window": 5}
    return {**common, "first": 1, "last": 1_000_000, "pace_s": PUBLISH_S}


def _connected(edge: Edge) -> int:
    found = json.loads(edge.kubectl("get", "devices", "-o", "json"))["items"]
    return sum(any(c["type"] == "Connected" and c["status"] == "True" for c in d.get("status", {}).get("conditions") or ()) for d in found)


def _profile(name: str, protocol: str) -> dict[str, Any]:
    level: dict[str, Any] = {"type": "number", "range": [0, 1000]}
    if protocol == "modbus":
        level |= {"read": {"every": f"{READ_S}s"}, "binding": {"modbus": {"input": 30, "as": "float32"}}}
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": OURS, "kind": "DeviceProfile", "metadata": meta, "spec": {"protocol": protocol, "properties": {"level": level}}}


def _secret() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "boards", "namespace": "default"},
        "stringData": {"password": PASSWORD},
    }


def _all(port: int) -> Iterator[dict[str, Any]]:
    for i in range(EACH):
        yield _device(f"meter-{i}", "meter", {"modbus": {"url": f"tcp://127.0.0.1:{port}", "unit": 1}})
        yield _device(f"board-{i}", "board", {"mqtt": {}, "credentials": {"secretRef": {"name": "boards"}}})


def _device(name: str, profile: str, connection: dict[str, Any]) -> dict[str, Any]:
    placement = {"nodeSelector": {"skerry.dev/site": "dock-3"}}
    spec = {"profile": profile, "placement": placement, "connection": connection}
    return {"apiVersion": OURS, "kind": "Device", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
