"""A hub in a process of its own for the benchmarks, what is put into it, and how its load client is called."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench.report import Stopwatch, cpu_s

CRD_NAME = "pumps.bench.example.com"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": CRD_NAME},
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


class Answer(NamedTuple):
    status: int
    body: bytes


@dataclass
class Hub:
    """A hub in a process of its own, and how to load it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    start_cpu_s: float = 0.0

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
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if self._answer("GET", "/readyz").status == 200:
                        took, self.start_cpu_s = time.perf_counter() - began, cpu_s(self.pid)
                        return took
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

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request from here, which is not measured; return the answer's JSON."""
        return json.loads(self._answer(method, path, body).body)

    def _answer(self, method: str, path: str, body: Any = None) -> Answer:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=120)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        finally:
            connection.close()

    def idle(self, *, quiet_s: float = 2.0, share: float = 0.05) -> None:
        """Wait until the hub has nothing left to do: its CPU time stands still, but for *share* of a core."""
        until = time.monotonic() + 60
        before = cpu_s(self.pid)
        while time.monotonic() < until:
            time.sleep(quiet_s)
            now = cpu_s(self.pid)
            if now - before < share * quiet_s:
                return
            before = now

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
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PUMPS = "/apis/bench.example.com/v1/namespaces/default/pumps"


def post(path: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"method": "POST", "path": path, "body": json.dumps(obj)}


def patch(path: str, value: Any) -> dict[str, Any]:
    return {"method": "PATCH", "path": path, "type": "application/merge-patch+json", "body": json.dumps(value)}


def put(path: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"method": "PUT", "path": path, "body": json.dumps(obj)}


def lease(i: int) -> dict[str, Any]:
    spec = {"holderIdentity": f"node-{i}", "leaseDurationSeconds": 40, "renewTime": "2026-11-23T00:00:00.000000Z"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": f"l-{i}"}, "spec": spec}
