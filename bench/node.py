"""The node's budgets: memory when idle and with ten Pods, and how soon ten Pods run with no hub in sight.

Memory is that of the node's own processes, without the Pods'. Proportional sizes share pages with whatever else runs here
(the hub, this benchmark): the resident size is what a node that is alone on its machine would take.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil

from bench.report import Report, memory_mib
from tests.e2e.edge import Edge, a_pod, config, until

PODS = 10
SETTLE_S = 12.0
IDLE_S = 60.0


def main() -> None:
    report = Report("Node")
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        Path(folder).chmod(0o711)
        edge = Edge(Path(folder) / "edge")
        edge.folder.mkdir(mode=0o711)
        try:
            edge.up()
            _measure(edge, report)
        finally:
            edge.down()


def _measure(edge: Edge, report: Report) -> None:
    edge.start_node()
    until(lambda: "node-a" in edge.kubectl("get", "nodes", check=False), "the node")
    edge.kill("node", signal.SIGTERM)  # the first start compiles what Python keeps compiled from then on
    edge.start_node()
    time.sleep(SETTLE_S)
    resident, proportional = memory_mib(_own(edge))
    report.row("node idle, all its processes, proportional", proportional, "MiB", 32)
    report.row("node idle, all its processes, resident", resident, "MiB")
    before = _written(edge)
    time.sleep(IDLE_S)
    report.row("node idle, written to disk", (_written(edge) - before) * 3600 / IDLE_S / 2**20, "MiB/h", 1)

    edge.apply(config(), *(a_pod(edge, f"pod-{i}") for i in range(PODS)))
    until(lambda: edge.ready(PODS), "ten Pods")
    time.sleep(2)
    resident, proportional = memory_mib(_own(edge))
    report.row(f"node with {PODS} process Pods (without the Pods' own), proportional", proportional, "MiB", 64)

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


def _own(edge: Edge) -> list[int]:
    """Return the node's processes without the sandboxes: they are in sessions of their own and named for their Pod."""
    node = psutil.Process(edge.running["node"].pid)
    return [p.pid for p in (node, *node.children()) if not " ".join(p.cmdline()).startswith("skerry:")]


def _written(edge: Edge) -> int:
    """Return the bytes that the node caused to be written to disk so far."""
    return int(psutil.Process(edge.running["node"].pid).io_counters().write_bytes)


if __name__ == "__main__":
    main()
