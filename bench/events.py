"""Events: from MQTT at the node to stored at the hub, and how soon they flow again after an outage. `python -m bench events`.

The load client is a process of its own and its CPU stands apart; what is stored is read from the hub's file by another SQLite.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from typing import Any

from bench.report import Report, Stopwatch, memory_mib, tree
from demo.stage import NODES, Stage

DEVICES = 20
WARM_UP, MEASURED = 100, 2_000
OUTAGE_S = 20.0
PLACE = NODES[0]
PASSWORD = "bench-password"

SITE = """
apiVersion: skerry.dev/v1alpha1
kind: Site
metadata: {name: %s}
"""
PROFILE = """
apiVersion: skerry.dev/v1alpha1
kind: DeviceProfile
metadata: {name: probe}
spec:
  protocol: mqtt
  properties:
    level: {type: number, range: [0, 1000]}
---
apiVersion: v1
kind: Secret
metadata: {name: probes}
stringData: {password: bench-password}
"""
DEVICE = """
---
apiVersion: skerry.dev/v1alpha1
kind: Device
metadata: {name: probe-%d}
spec:
  profile: probe
  placement: {nodeSelector: {skerry.dev/site: %s}}
  connection: {mqtt: {}, credentials: {secretRef: {name: probes}}}
"""


class Edge:
    """A hub, one node and MQTT devices that are defined and not connected yet."""

    def __init__(self) -> None:
        self.stage = Stage.new(lambda said: None)
        self.names = [f"default/probe-{i}" for i in range(DEVICES)]

    def up(self) -> None:
        self.stage.start_hub()
        self.stage.kubectl("apply", "-f", "-", stdin=SITE % PLACE.site)
        self.stage.join(PLACE)
        self.stage.start_node(PLACE)
        self.stage.wait("the node", lambda: self.stage.kubectl("get", "node", PLACE.name, check=False).returncode == 0, of=PLACE.name)
        self.stage.kubectl("wait", "node", PLACE.name, "--for=condition=Ready", "--timeout=30s")
        self.stage.kubectl("apply", "-f", "-", stdin=PROFILE + "".join(DEVICE % (i, PLACE.site) for i in range(DEVICES)))

    def plan(self, first: int, last: int, **more: Any) -> dict[str, Any]:
        port = self.stage.ports[f"mqtt-{PLACE.name}"]
        common = {"host": PLACE.address, "port": port, "password": PASSWORD, "property": "level", "devices": self.names, "window": 20}
        return {**common, "first": first, "last": last, **more}

    def load(self, first: int, last: int, **more: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-m", "bench.mqtt_load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(json.dumps(self.plan(first, last, **more)))
        process.stdin.close()
        return process

    def stored(self) -> int:
        """Return how many events of the node are accounted for at the hub."""
        path = self.stage.folder / "hub" / "events.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT coalesce(sum(stored), 0) FROM streams").fetchone()[0])

    def wait_stored(self, count: int, *, timeout_s: float = 120) -> float:
        """Return when (wall clock) *count* events were stored."""
        end = time.monotonic() + timeout_s
        while self.stored() < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.stored()} of {count} events were stored within {timeout_s} s")
            time.sleep(0.01)
        return time.time()

    def pid(self, name: str) -> int:
        return self.stage.processes[name].pid


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.read())
    process.wait(timeout=10)
    return found


def throughput(edge: Edge, report: Report) -> None:
    result_of(edge.load(1, WARM_UP))
    edge.wait_stored(DEVICES * WARM_UP)
    before = edge.stored()
    hub, node = Stopwatch(edge.pid("hub")), Stopwatch(edge.pid(PLACE.name))
    count = DEVICES * (MEASURED - WARM_UP)
    load = edge.load(WARM_UP + 1, MEASURED)
    told = result_of(load)
    done = edge.wait_stored(before + count)
    (_, hub_cpu), (_, node_cpu) = hub.read(), node.read()
    report.row("MQTT at the node to stored at the hub", count / (done - told["began"]), "events/s", 5000, more_is_better=True)
    report.row("the last acknowledged at the node to stored at the hub", (done - told["began"] - told["seconds"]) * 1e3, "ms")
    report.row("CPU of the node per event", node_cpu / count * 1e6, "us", 100)
    report.row("CPU of the hub per event", hub_cpu / count * 1e6, "us", 60)
    report.row("CPU of the load client per event", told["cpu_s"] / count * 1e6, "us")


def outage(edge: Edge, report: Report) -> None:
    """Kill the hub for a while, under a load of 500 events a second, and see how soon its log goes on after it serves again."""
    rate, spare_s = 500, 15
    last = MEASURED + int((OUTAGE_S + spare_s) * rate / DEVICES)
    before = edge.stored()
    load = edge.load(MEASURED + 1, last, pace_s=DEVICES / rate, window=200)
    time.sleep(2)
    edge.stage.kill("hub")
    time.sleep(OUTAGE_S)
    stopped_at = edge.stored()
    edge.stage.start_hub()
    ready = time.time()
    first = edge.wait_stored(stopped_at + 1)
    backlog = edge.wait_stored(before + int((OUTAGE_S + 2) * rate * 0.95))
    report.row(f"resume after an outage of {OUTAGE_S:.0f} s: first event stored", max(0.0, first - ready), "s", 2)
    report.row("the backlog of the outage stored", max(0.0, backlog - ready), "s")
    result_of(load)
    edge.wait_stored(DEVICES * last)
    time.sleep(1)  # what is stored twice would come now
    report.row("events missing, or stored twice", abs(DEVICES * last - edge.stored()), "", note=f"of {DEVICES * last}")


def main() -> list[Report]:
    report = Report("events: MQTT 3.1.1 QoS 1 at the node, fsynced at node and hub before each acknowledgement")
    edge = Edge()
    try:
        edge.up()
        throughput(edge, report)
        resident, proportional = memory_mib([p.pid for p in tree(edge.pid(PLACE.name))])
        report.row("node after it, all its processes, proportional", proportional, "MiB", note=f"resident {resident:.0f} MiB")
        outage(edge, report)
    finally:
        edge.stage.down()
    return [report]


if __name__ == "__main__":
    main()
