"""A thousand nodes on one hub: what it takes, how soon it answers people meanwhile, and how soon all are back when it was killed.

Nodes join, connect and come back all at the same moment and from one address, as behind one NAT: the worst that a fleet can do. They are
made of a real node's parts (`bench.fleet_nodes`), in processes of their own whose CPU stands apart. `python -m bench fleet`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from bench.hub_process import LEASES, Hub, a_hub, lease, post, put
from bench.report import Report, Stopwatch, cpu_s, memory_mib
from skerry.hub.enrollment.tokens import SECRET_TYPE, new_token, to_secret
from skerry.model.resources import SYSTEM_NAMESPACE
from skerry.node.pods import memory_folder
from skerry.trust import pem_to_der
from skerry.trust.joining import ca_hash

NODES, PROCESSES, SITES = 1000, 4, 10
STEADY_S = 30.0
HISTORY = 10_000
"""Changes of Leases that the hub keeps for watches: a hundred seconds of a thousand nodes, which are not waited for but written."""
NODE_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
SECRETS = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets"
SITE_PATH = "/apis/skerry.dev/v1alpha1/sites"


@dataclass
class Fleet:
    """The nodes, in a few processes."""

    hub: Hub
    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, tokens: dict[str, str]) -> None:
        names = sorted(tokens)
        for i in range(PROCESSES):
            plan = {
                "hub": f"https://127.0.0.1:{self.hub.port}",
                "folder": str(self.folder / "nodes"),
                "tokens": {name: tokens[name] for name in names[i::PROCESSES]},
            }
            self.processes.append(_python("bench.fleet_nodes", plan, self.folder / f"nodes-{i}.log"))

    def go_on(self) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("go on\n")
            process.stdin.flush()

    def told(self) -> list[dict[str, Any]]:
        """Return the next line of every process; raises RuntimeError when one ended."""
        lines = []
        for i, process in enumerate(self.processes):
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError((self.folder / f"nodes-{i}.log").read_text()[-1000:])
            lines.append(json.loads(line))
        return lines

    def cpu_s(self) -> float:
        return sum(cpu_s(p.pid) for p in self.processes)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for state in (self.folder / "nodes").glob("*"):
            room = memory_folder(state)  # where a node keeps what Pods want in RAM
            if room is not None:
                shutil.rmtree(room, ignore_errors=True)

    def renewed_since(self, moment: datetime) -> int:
        """Return how many nodes have renewed their Leases since."""
        text = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return sum(item["spec"]["renewTime"] > text for item in self.hub.ask("GET", NODE_LEASES)["items"])

    def connected(self) -> int:
        """Return how many connections of the nodes' processes to the hub are open."""
        found = (c for p in self.processes for c in psutil.Process(p.pid).net_connections("tcp"))
        return sum(c.status == psutil.CONN_ESTABLISHED and c.raddr and c.raddr.port == self.hub.port for c in found)

    def wait_back(self, moment: datetime, what: str, *, timeout_s: float = 180) -> float:
        """Wait until every node is connected and has renewed its Lease since; return the seconds."""
        began, said = time.monotonic(), 0.0
        while True:
            renewed, connected, passed = self.renewed_since(moment), self.connected(), time.monotonic() - began
            if renewed == NODES and connected >= NODES:
                return passed
            if passed > timeout_s:
                raise TimeoutError(f"{what}: {connected} of {NODES} are connected and {renewed} renewed within {timeout_s:.0f} s")
            if passed - said >= 5:
                said = passed
                print(f"    {what}: {connected} connected, {renewed} renewed after {passed:.0f} s", flush=True)
            time.sleep(0.5)


def _python(module: str, plan: Any, log: Path) -> subprocess.Popen[str]:
    """Start a module that reads its plan from the first line of its input."""
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
    assert process.stdin is not None
    process.stdin.write(json.dumps(plan) + "\n")
    process.stdin.flush()
    return process


def main() -> list[Report]:
    report = Report(f"Fleet: {NODES:,} nodes, each with its own certificate and a Lease every 10 s")
    shared = Path("/dev/shm")
    with (
        a_hub() as (hub, _),
        tempfile.TemporaryDirectory(prefix="skerry-bench-", dir=shared if os.access(shared, os.W_OK) else None) as folder,
    ):
        fleet = Fleet(hub, Path(folder))
        try:
            _measure(hub, fleet, report)
        finally:
            fleet.stop()
    return [report]


def _measure(hub: Hub, fleet: Fleet, report: Report) -> None:
    print(f"    {NODES:,} nodes in {PROCESSES} processes; a run takes about three minutes, a third of it joining", flush=True)
    hub.idle()
    before, _ = memory_mib([hub.pid])
    _join(hub, fleet, report)
    _connect(hub, fleet, report)
    _fill_history(hub)
    _steady(hub, fleet, report)
    resident, proportional = memory_mib([hub.pid])
    note = f"proportional {proportional:.0f}; {(resident - before) * 1024 / NODES:.0f} KiB a node"
    report.row(f"hub with {NODES:,} connected nodes, resident", resident, "MiB", 200, note=note)
    _come_back(hub, fleet, report)
    resident, proportional = memory_mib([hub.pid])
    report.row(f"hub with {NODES:,} connected nodes, resident, after it", resident, "MiB", 200, note=f"proportional {proportional:.0f}")


def _join(hub: Hub, fleet: Fleet, report: Report) -> None:
    """Every node joins with a token of its own, all at once and from one address."""
    fleet.start(_tokens(hub))
    watch = Stopwatch(hub.pid)
    told = fleet.told()
    _, cpu = watch.read()
    note = f"hub CPU {cpu:.1f} s; {sum(t['waits'] for t in told)} times an answer did not come and was asked for again"
    report.row(f"{NODES:,} nodes join at once from one address", max(t["seconds"] for t in told), "s", note=note)
    hub.ask("DELETE", f"{SECRETS}?fieldSelector=type%3D{SECRET_TYPE}")  # used tokens; the hub drops them an hour after they ran out


def _tokens(hub: Hub) -> dict[str, str]:
    """Make Sites, and a token for each node, as `skerry hub token create` does."""
    for i in range(SITES):
        hub.ask("POST", SITE_PATH, {"apiVersion": "skerry.dev/v1alpha1", "kind": "Site", "metadata": {"name": f"site-{i}"}})
    hash_ = ca_hash(pem_to_der((hub.folder / "ca.pem").read_text()))
    expires = datetime.now(UTC) + timedelta(hours=1)
    tokens, secrets = {}, []
    for i in range(NODES):
        name = f"node-{i:04}"
        token, record = new_token(hash_, expires=expires, node=name, site=f"site-{i % SITES}")
        tokens[name] = str(token)
        secrets.append(post(SECRETS, to_secret(record)))
    _require(hub.load(secrets, clients=8), "201")
    return tokens


def _connect(hub: Hub, fleet: Fleet, report: Report) -> None:
    moment, watch, used = datetime.now(UTC), Stopwatch(hub.pid), fleet.cpu_s()
    fleet.go_on()
    fleet.told()
    took = fleet.wait_back(moment, "first connection")
    note = f"hub CPU {watch.read()[1]:.1f} s, the nodes' {fleet.cpu_s() - used:.1f} s"
    report.row("all connect for the first time and have a Lease", took, "s", note=note)
    hub.idle(share=0.35)


def _fill_history(hub: Hub) -> None:
    _require(hub.load([post(LEASES, lease(0))]), "201")
    _require(hub.load([put(f"{LEASES}/l-0", lease(0))] * HISTORY, clients=8), "200")


def _steady(hub: Hub, fleet: Fleet, report: Report) -> None:
    """What the Leases cost, and what people notice of it."""
    moment, watch, used = datetime.now(UTC), Stopwatch(hub.pid), fleet.cpu_s()
    with _somebody_asks(hub, fleet, "steady") as asked:
        time.sleep(STEADY_S)
    wall, cpu = watch.read()
    renewed = fleet.renewed_since(moment)
    report.row(
        "hub CPU, of one core",
        cpu / wall * 100,
        "%",
        note=f"the nodes' {(fleet.cpu_s() - used) / wall * 100:.0f} %; kubectl's requests included",
    )
    report.row("Leases renewed meanwhile", renewed, "", note=f"of {NODES}, in {wall:.0f} s")
    _latencies(report, asked(), "API", budget=1000)


def _come_back(hub: Hub, fleet: Fleet, report: Report) -> None:
    """Kill the hub, start it again at once, and wait for everybody."""
    hub.stop(signal.SIGKILL)
    moment, used = datetime.now(UTC), fleet.cpu_s()
    began = time.monotonic()
    ready = hub.start()
    with _somebody_asks(hub, fleet, "herd") as asked:
        fleet.wait_back(moment, "after the kill")
        took = time.monotonic() - began
    note = f"ready after {ready:.1f} s; hub CPU {cpu_s(hub.pid):.1f} s, the nodes' {fleet.cpu_s() - used:.1f} s"
    report.row("hub killed and started again: all connected, Leases renewed", took, "s", 120, note=note)
    _latencies(report, asked(), "API while they come back", budget=None)
    unready = [n for n in hub.ask("GET", "/api/v1/nodes")["items"] if _ready(n) != "True"]
    report.row("nodes that are not Ready after it", len(unready), "")


def _ready(node: dict[str, Any]) -> str:
    return next((c["status"] for c in node.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), "")


@contextlib.contextmanager
def _somebody_asks(hub: Hub, fleet: Fleet, prefix: str) -> Iterator[Callable[[], dict[str, Any]]]:
    plan = {"host": "127.0.0.1", "port": hub.port, "prefix": prefix}
    plan |= {name: str(hub.folder / f"{name}.pem") for name in ("ca", "cert", "key")}
    process = _python("bench.fleet_client", plan, fleet.folder / "client.log")
    told: dict[str, Any] = {}
    try:
        yield lambda: told
        told |= json.loads(process.communicate(timeout=120)[0])
    finally:
        process.kill()
        process.wait()


def _latencies(report: Report, asked: dict[str, Any], what: str, *, budget: float | None) -> None:
    every = sorted(ms for kind in asked["took_ms"].values() for ms in kind)
    parts = ", ".join(f"{kind} {_at(sorted(ms), 0.5):.0f} and {_at(sorted(ms), 0.99):.0f}" for kind, ms in asked["took_ms"].items() if ms)
    note = f"{len(every)} requests, {asked['failed']} failed; a connection for each; p50 and p99: {parts}"
    report.row(f"{what}, p99", _at(every, 0.99), "ms", budget, note=note)


def _at(values: Sequence[float], share: float) -> float:
    return values[min(int(len(values) * share), len(values) - 1)]


def _require(done: dict[str, Any], status: str) -> None:
    if set(done["statuses"]) != {status}:
        raise RuntimeError(f"answers by status: {done['statuses']}")


if __name__ == "__main__":
    main()
