"""What the tests of the worst day share: processes with wrong clocks, disks that are full, and looks from outside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.edge import Edge, until

FAKETIME = next((str(p) for p in sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), "")
needs_faketime = pytest.mark.skipif(not FAKETIME, reason="faketime is not installed")
needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")

YEARS_S = {1970: -56.9 * 365 * 86400, 2040: 13.2 * 365 * 86400}


def clock(offset_s: float) -> dict[str, str]:
    """Return the environment of a process whose wall clock is *offset_s* off; its monotonic clock is right."""
    return {"LD_PRELOAD": FAKETIME, "FAKETIME": f"{offset_s:+.0f}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@dataclass
class Clock:
    """A wall clock that jumps while the process runs."""

    file: Path

    @property
    def environment(self) -> dict[str, str]:
        rest = {"FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return {"LD_PRELOAD": FAKETIME, **rest}

    def jump(self, offset_s: float) -> None:
        draft = self.file.with_name("clock.new")
        draft.write_text(f"{offset_s:+.0f}\n")
        draft.replace(self.file)


@dataclass
class WorstEdge(Edge):
    """An edge whose processes may each have an environment of their own."""

    environments: dict[str, dict[str, str]] = field(default_factory=dict)

    def start(self, name: str, *words: str, failpoint: str = "") -> None:
        with self._in_environment(name):
            super().start(name, *words, failpoint=failpoint)

    def skerry(self, *words: str) -> str:
        with self._in_environment(words[0] if words[0] == "node" else ""):
            return super().skerry(*words)

    @contextlib.contextmanager
    def _in_environment(self, name: str) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.update(self.environments.get(name, {}))
        try:
            yield
        finally:
            for key in self.environments.get(name, {}):
                os.environ.pop(key)
            os.environ.update(before)

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def forget_log(self, name: str) -> None:
        os.truncate(self.folder / f"{name}.log", 0)

    def node_status(self, kind: str) -> dict[str, Any]:
        """Return a condition of the Node, {} when it is not there."""
        node = self.kubectl("get", "node", self.node, "-o", "json", check=False)
        conditions = json.loads(node)["status"].get("conditions", []) if node else []
        return next((c for c in conditions if c["type"] == kind), {})

    def lease(self) -> tuple[str, str]:
        """Return (resourceVersion, renewTime) of the node's Lease."""
        lease = json.loads(self.kubectl("get", "lease", "-n", "kube-node-lease", self.node, "-o", "json"))
        return lease["metadata"]["resourceVersion"], lease["spec"]["renewTime"]

    def connected(self) -> None:
        until(lambda: "hub connected" in self.log("node"), "the link")

    def restarts(self) -> dict[str, int]:
        return {p["metadata"]["name"]: p["status"].get("containerStatuses", [{}])[0].get("restartCount", 0) for p in self.pods()}


@contextlib.contextmanager
def a_worst_edge(folder: Path, **environments: dict[str, str]) -> Iterator[WorstEdge]:
    edge = WorstEdge(folder, environments=environments)
    try:
        edge.up()
        yield edge
    except BaseException:
        print(f"hub:\n{edge.log('hub')[-3000:]}\nnode:\n{edge.log('node')[-5000:]}")
        raise
    finally:
        edge.environments = {}
        edge.down()


@contextlib.contextmanager
def a_small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of its own at *folder*; only root can."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all space there is, also what others give back meanwhile; returns the file that holds it."""
    ballast = disk / "ballast"

    def full() -> bool:
        for block in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
                while file.write(bytes(block)):
                    pass
        return os.statvfs(disk).f_bavail == 0

    until(full, "a full disk")
    return ballast
