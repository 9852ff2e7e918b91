"""A real hub and a real node as processes, for tests that kill them. What is looked at is looked at from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.stage import free_ports

SKERRY = [sys.executable, "-m", "skerry"]
KUBECTL = str(Path(sys.executable).parent / "kubectl")

INSTANCE = """\
import fcntl, os, sys, time
name = os.environ["ME"]
lock = open(f"/witness/{name}.lock", "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open("/witness/double", "a").write(name + "\\n")
    sys.exit(9)
with open(f"/witness/{name}.starts", "a") as file:
    file.write(os.environ.get("MARK", "x") + "\\n")
n = 0
while True:
    print("tick", n, flush=True)
    n += 1
    time.sleep(0.2)
"""
"""A program that holds a lock of the machine for as long as it lives: a second instance would be seen by the kernel."""


def free_port() -> int:
    return free_ports(["it"])["it"]


def slowness() -> float:
    """Return how many times longer than on an idle core of the machine of the figures a process takes to start here and now, at least 1."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-I", "-c", "import asyncio, ssl, json"], check=True)
    return max(1.0, (time.monotonic() - began) / 0.2)


def until(holds: Callable[[], Any], what: str, *, timeout_s: float = 90.0) -> Any:
    """Return the first true answer of *holds*."""
    end = time.monotonic() + timeout_s
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < end, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.05)


@dataclass
class Edge:
    """One hub and one node. `folder` holds all they keep; `witness` is a folder that Pods may write to."""

    folder: Path
    node: str = "node-a"
    address: str = "127.0.0.2"
    mqtt: str = "off"
    node_python: str = sys.executable
    port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.folder / self.node

    @property
    def witness(self) -> Path:
        return self.folder / "witness"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "hub" / "admin.kubeconfig"

    def up(self) -> None:
        """Start the hub, join the node; the node does not run yet."""
        self.witness.mkdir(parents=True)
        self.witness.chmod(0o777)
        self.start_hub()
        self.apply({"apiVersion": "skerry.dev/v1alpha1", "kind": "Site", "metadata": {"name": "dock-3"}})
        made = self.skerry("hub", "token", "create", "--site", "dock-3", "--node", self.node, "-o", "json")
        programs = ["--allow-program", "python=/usr/bin/python3", "--allow-program", "sleep=/usr/bin/sleep"]
        where = ["--state", str(self.state), "--name", self.node, "--address", self.address, "--mqtt-listen", self.mqtt]
        hub = f"https://127.0.0.1:{self.port}"
        token = json.loads(made)["token"]
        self.skerry(
            "node", "join", hub, "--token", token, *where, *programs, "--allow-host-path", str(self.witness), "--allow-unenforced-limits"
        )

    def start_hub(self) -> None:
        self.start("hub", "hub", "run", "--data", str(self.folder / "hub"), "--listen", f"127.0.0.1:{self.port}")
        until(lambda: self.kubeconfig.exists() and self.kubectl("get", "--raw", "/readyz", check=False) == "ok", "the hub")

    def start_node(self, *, failpoint: str = "") -> None:
        self.start("node", "node", "run", "--state", str(self.state), failpoint=failpoint)

    def start(self, name: str, *words: str, failpoint: str = "") -> None:
        environment = {k: v for k, v in os.environ.items() if k != "SKERRY_FAILPOINT"}
        if failpoint:
            environment["SKERRY_FAILPOINT"] = failpoint
        command = [self.node_python if name == "node" else sys.executable, "-m", "skerry", *words]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self.running.pop(name)
        process.send_signal(number)
        process.wait(timeout=60)

    def down(self) -> None:
        for name in list(self.running):
            self.kill(name, signal.SIGTERM)
        subprocess.run([*SKERRY, "node", "reset", "--state", str(self.state), "--yes"], check=True, timeout=120, capture_output=True)

    def skerry(self, *words: str) -> str:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run([*SKERRY, *words], capture_output=True, text=True, timeout=120, env=environment, check=False)
        assert done.returncode == 0, f"skerry {' '.join(words)}: {done.stderr}"
        return done.stdout

    def kubectl(self, *words: str, check: bool = True, stdin: str | None = None) -> str:
        command = [KUBECTL, "--kubeconfig", str(self.kubeconfig), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, input=stdin, check=False)
        assert not check or done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in objects))

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]
        return found

    def ready(self, count: int) -> bool:
        good = [p for p in self.pods() if {"type": "Ready", "status": "True"}.items() <= _ready(p).items()]
        return len(good) == count == len(self.pods())

    def processes(self) -> dict[int, str]:
        """Return every process of a sandbox of this node, by pid: its command line. Read from /proc alone."""
        found = {}
        uids = {p.name for p in (self.state / "pods").glob("*")} if (self.state / "pods").exists() else set()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if line.startswith("skerry:") and any(line.startswith(f"skerry:{u}") for u in uids):
                found[int(entry.name)] = line.replace("\0", " ")
        return found

    def starts(self, name: str) -> int:
        """Return how often the program *name* began, by its own account."""
        path = self.witness / f"{name}.starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def witnesses(self) -> dict[str, int]:
        return {p.stem: len(p.read_text().splitlines()) for p in self.witness.glob("*.starts")}


def _ready(pod: dict[str, Any]) -> dict[str, Any]:
    conditions = pod.get("status", {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == "Ready"), {})


def config(name: str = "program", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"main.py": INSTANCE, **data},
    }


def a_pod(edge: Edge, name: str, **spec: Any) -> dict[str, Any]:
    """Return a Pod that runs INSTANCE under its own name."""
    container = {
        "name": "app",
        "image": "host.skerry.invalid/python",
        "args": ["-u", "/app/main.py"],
        "env": [{"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "volumeMounts": [{"name": "app", "mountPath": "/app"}, {"name": "witness", "mountPath": "/witness"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "runtimeClassName": "process",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [
                {"name": "app", "configMap": {"name": "program"}},
                {"name": "witness", "hostPath": {"path": str(edge.witness), "type": "Directory"}},
            ],
            **spec,
        },
    }


@contextlib.contextmanager
def an_edge(folder: Path) -> Iterator[Edge]:
    """Bring one up, and down again whatever happened."""
    edge = Edge(folder)
    try:
        edge.up()
        yield edge
    finally:
        edge.down()
