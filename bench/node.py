"""The node's budgets: memory when idle and with ten Pods, and how soon ten Pods run with no hub in sight.

Memory is that of the node's own processes, without the Pods'. What is held against the budget is what they would take on a machine
where nothing else is Python: the proportional size here shares pages with the hub and with this benchmark, and says less.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil

from bench.node_devices import devices
from bench.node_environment import node_python
from bench.report import Report, alone_mib, memory_mib
from tests.e2e.edge import Edge, a_pod, config, free_port, until

PODS = 10
SETTLE_S = 12.0
IDLE_S = 60.0


def main() -> list[Report]:
    report = Report("Node")
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        Path(folder).chmod(0o711)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled already
        os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/compiled"
        python = node_python(Path(folder) / "installed")
        for name, measure in (("edge", _measure), ("devices", _with_devices)):
            mqtt = f"127.0.0.2:{free_port()}" if name == "devices" else "off"
            edge = Edge(Path(folder) / name, mqtt=mqtt, node_python=python)
            edge.folder.mkdir(mode=0o711)
            try:
                edge.up()
                measure(edge, report)
            finally:
                edge.down()
    return [report]


def _measure(edge: Edge, report: Report) -> None:
    edge.start_node()
    until(lambda: "node-a" in edge.kubectl("get", "nodes", check=False), "the node")
    edge.kill("node", signal.SIGTERM)  # the first start compiles what Python keeps compiled from then on
    edge.start_node()
    time.sleep(SETTLE_S)
    _memory(edge, report, "node idle", 32)
    before = _written(edge)
    time.sleep(IDLE_S)
    report.row("node idle, written to disk", (_written(edge) - before) * 3600 / IDLE_S / 2**20, "MiB/h", 1)

    edge.apply(config(), *(a_pod(edge, f"pod-{i}") for i in range(PODS)))
    until(lambda: edge.ready(PODS), "ten Pods")
    time.sleep(2)
    _memory(edge, report, f"node with {PODS} process Pods", 64)

    edge.kill("hub")
    edge.kill("node")
    for pid in edge.processes():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not edge.processes(), "an empty machine")
    began = time.monotonic()
    edge.start_node()
    until(lambda: sum(n == 2 for n in edge.witnesses().values()) == PODS, "the Pods to begin again")
    report.row(f"start to {PODS} process Pods running, no hub", time.monotonic() - began, "s", 10)

    before_kill = edge.processes()
    edge.kill("node")
    began = time.monotonic()
    edge.start_node()
    until(lambda: (edge.folder / "node.log").read_text().count("container adopted") >= PODS, "adoption")
    report.row(f"start to {PODS} running Pods adopted", time.monotonic() - began, "s")
    assert edge.processes() == before_kill
    edge.start_hub()


def _with_devices(edge: Edge, report: Report) -> None:
    edge.start_node()
    until(lambda: "node-a" in edge.kubectl("get", "nodes", check=False), "the node")
    edge.apply(config(), *(a_pod(edge, f"pod-{i}") for i in range(PODS)))
    until(lambda: edge.ready(PODS), "ten Pods")
    with devices(edge) as count:
        time.sleep(SETTLE_S)
        _memory(edge, report, f"node with MQTT, Modbus, {count} devices, {PODS} Pods", 64)


def _memory(edge: Edge, report: Report, what: str, budget: float) -> None:
    pids = _own(edge)
    resident, proportional = memory_mib(pids)
    alone = alone_mib(pids)
    note = f"{alone * 2**20 / 1e6:.1f} million bytes; {len(pids)} processes, here proportional {proportional:.1f}, resident {resident:.1f}"
    report.row(f"{what}: alone on its machine", alone, "MiB", budget, note=note)


def _own(edge: Edge) -> list[int]:
    """Return the node's processes without the sandboxes: they are in sessions of their own and named for their Pod."""
    node = psutil.Process(edge.running["node"].pid)
    return [p.pid for p in (node, *node.children()) if not " ".join(p.cmdline()).startswith("skerry:")]


def _written(edge: Edge) -> int:
    """Return the bytes that the node caused to be written to disk so far."""
    return int(psutil.Process(edge.running["node"].pid).io_counters().write_bytes)


if __name__ == "__main__":
    main()
