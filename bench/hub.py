"""The hub's budgets: start, memory, and CPU per operation, with the load client in a process of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.report import Report, Stopwatch, memory_mib, tree

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "pumps.bench.example.com"},
    "spec": {
        "group": "bench.example.com",
        "names": {"plural": "pumps", "singular": "pump", "kind": "Pump", "listKind": "PumpList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "speed": {"type": "integer", "minimum": 0},
                                    "note": {"type": "string", "maxLength": 4096},
                                    "limits": {
                                        "type": "array",
                                        "items": {"type": "object", "properties": {"name": {"type": "string"}, "max": {"type": "number"}}},
                                    },
                                },
                            },
                            "status": {"type": "object", "properties": {"speed": {"type": "integer"}, "note": {"type": "string"}}},
                        },
                    }
                },
            }
        ],
    },
}


@dataclass
class Hub:
    """A hub in a process of its own, and how to load it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0

    def start(self) -> float:
        """Start, and return the seconds until it was ready."""
        began = time.perf_counter()
        with (self.folder / "hub.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "skerry", "hub", "run", "--data", str(self.folder / "hub"), "--listen", f"127.0.0.1:{self.port}"],
                stdout=log,
                stderr=log,
            )
        while self.process.poll() is None and time.perf_counter() - began < 60:
            if (self.folder / "hub" / "admin.kubeconfig").exists():
                self.write_credentials()
                with contextlib.suppress(RuntimeError):
                    if self.load([{"method": "GET", "path": "/readyz"}])["statuses"].get("200"):
                        return time.perf_counter() - began
            time.sleep(0.01)
        raise RuntimeError((self.folder / "hub.log").read_text()[-2000:])

    def stop(self, sign: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(sign)
        self.process.wait(timeout=20)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def write_credentials(self) -> None:
        config = yaml.safe_load((self.folder / "hub" / "admin.kubeconfig").read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        for name, data in (
            ("ca", cluster["certificate-authority-data"]),
            ("cert", user["client-certificate-data"]),
            ("key", user["client-key-data"]),
        ):
            path = self.folder / f"{name}.pem"
            path.touch(mode=0o600)
            path.write_bytes(base64.b64decode(data))

    def load(self, steps: list[dict[str, Any]], clients: int = 1) -> dict[str, Any]:
        """Run the load client; returns its result with the hub's CPU seconds as `hub_cpu_s`."""
        plan = {"host": "127.0.0.1", "port": self.port, "clients": clients, "steps": steps}
        plan |= {name: str(self.folder / f"{name}.pem") for name in ("ca", "cert", "key")}
        watch = Stopwatch(self.pid)
        done = subprocess.run([sys.executable, "-m", "bench.load"], input=json.dumps(plan), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-500:])
        return {**json.loads(done.stdout), "hub_cpu_s": watch.read()[1]}


@contextlib.contextmanager
def a_hub() -> Iterator[tuple[Hub, float]]:
    from demo.stage import free_ports

    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        hub = Hub(Path(folder), free_ports(["hub"])["hub"])
        first = hub.start()
        try:
            yield hub, first
        finally:
            if hub.process and hub.process.poll() is None:
                hub.stop()


def configmap(i: int, size: int = 1024) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"c-{i}", "labels": {"n": str(i % 10)}},
        "data": {"text": "x" * size},
    }


def pump(i: int) -> dict[str, Any]:
    limits = [{"name": f"limit-{k}", "max": k * 1.5} for k in range(30)]
    return {
        "apiVersion": "bench.example.com/v1",
        "kind": "Pump",
        "metadata": {"name": f"p-{i}"},
        "spec": {"speed": i, "note": "n" * 700, "limits": limits},
    }


CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PUMPS = "/apis/bench.example.com/v1/namespaces/default/pumps"


def post(path: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"method": "POST", "path": path, "body": json.dumps(obj)}


def patch(path: str, value: Any) -> dict[str, Any]:
    return {"method": "PATCH", "path": path, "type": "application/merge-patch+json", "body": json.dumps(value)}


def operations(
    report: Report, what: str, result: dict[str, Any], count: int, *, cpu_budget_ms: float | None, rate_budget: float | None
) -> None:
    """Print rate and CPU of one load."""
    wrong = {status: n for status, n in result["statuses"].items() if not status.startswith("2")}
    note = f"client CPU {result['cpu_s'] / count * 1e3:.3f} ms, p99 {result['p99_ms']:.1f} ms" + (f", NOT 2xx: {wrong}" if wrong else "")
    report.row(f"{what}: rate", count / result["seconds"], "/s", rate_budget, more_is_better=True, note=note)
    if cpu_budget_ms is not None:
        report.row(f"{what}: hub CPU", result["hub_cpu_s"] / count * 1e3, "ms/op", cpu_budget_ms)


def main() -> None:
    report = Report("Hub")
    with a_hub() as (hub, first):
        report.row("start to ready, new data folder", first, "s")
        time.sleep(20)  # the worker that made the certificates has ended then
        resident, proportional = memory_mib([p.pid for p in tree(hub.pid)])
        report.row("resident, idle", resident, "MiB", 72)
        report.row("proportional, idle", proportional, "MiB")

        operations(
            report,
            "create ConfigMap 1 KiB, 1 client",
            hub.load([post(CONFIGMAPS, configmap(i)) for i in range(500)], 1),
            500,
            cpu_budget_ms=None,
            rate_budget=300,
        )
        made = hub.load([post(CONFIGMAPS, configmap(i)) for i in range(500, 5000)], 32)
        operations(report, "create ConfigMap 1 KiB, 32 clients", made, 4500, cpu_budget_ms=0.35, rate_budget=2500)
        hub.load([post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)])
        time.sleep(1.5)
        operations(
            report,
            "create custom resource 2 KB, 32 clients",
            hub.load([post(PUMPS, pump(i)) for i in range(5000)], 32),
            5000,
            cpu_budget_ms=0.45,
            rate_budget=2000,
        )
        report.row("resident after 5,000 + 5,000 objects", memory_mib([p.pid for p in tree(hub.pid)])[0], "MiB", 160)

        reads = [{"method": "GET", "path": f"{CONFIGMAPS}/c-{i % 5000}"} for i in range(20000)]
        operations(report, "GET, 32 clients", hub.load(reads, 32), 20000, cpu_budget_ms=0.09, rate_budget=10000)
        patches = [patch(f"{CONFIGMAPS}/c-{i}", {"data": {"more": str(i)}}) for i in range(4000)]
        operations(report, "merge patch ConfigMap, 32 clients", hub.load(patches, 32), 4000, cpu_budget_ms=0.40, rate_budget=2200)
        patches = [patch(f"{PUMPS}/p-{i}", {"spec": {"speed": i + 1}}) for i in range(4000)]
        operations(report, "merge patch custom resource, 32 clients", hub.load(patches, 32), 4000, cpu_budget_ms=0.50, rate_budget=1800)
        patches = [patch(f"{PUMPS}/p-{i}/status", {"status": {"speed": i + 1}}) for i in range(4000)]
        operations(report, "merge patch status, 32 clients", hub.load(patches, 32), 4000, cpu_budget_ms=0.50, rate_budget=None)
        lists = hub.load([{"method": "GET", "path": PUMPS}] * 10, 1)
        report.row(
            "LIST of 5,000 custom resources, median", lists["p50_ms"], "ms", 40, note=f"hub CPU {lists['hub_cpu_s'] / 10 * 1e3:.0f} ms"
        )
        report.row("resident after the whole load", memory_mib([p.pid for p in tree(hub.pid)])[0], "MiB", 200)
        hub.stop()
        report.row("start to ready, store of 10,000 objects", hub.start(), "s", 1.0)
        os.sync()
