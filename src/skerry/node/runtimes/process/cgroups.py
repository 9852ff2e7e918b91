"""Limits through the kernel's control groups, version 1 and 2, by hand: folders and small files.

`detect` finds out by trying what this host lets us do; nobody is told that a limit holds when it does not. Where it can
be, every group is a child of the group the node itself runs in, so that what contains the node contains its Pods; a unit
of systemd then needs `Delegate=yes` and `KillMode=process`, or stopping the node would end its Pods.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from skerry.node.runtimes.contract import Enforcement, Limits

CPU_PERIOD_US = 100_000
_NEEDED = ("memory", "cpu", "pids")


class Cgroups(msgspec.Struct, frozen=True):
    """Where groups are made: a parent folder a controller. `version` is 1 or 2; no parents means no limits at all."""

    version: int
    parents: Mapping[str, Path] = msgspec.field(default_factory=dict)
    missing: str = ""

    @property
    def enforcement(self) -> Enforcement:
        return Enforcement("memory" in self.parents, "cpu" in self.parents, "pids" in self.parents, self.missing)

    def create(self, name: str, limits: Limits, *, pids: int) -> list[str]:
        """Make the groups of one attempt; return the files into which its first process writes its pid."""
        files = []
        for parent in dict.fromkeys(self.parents.values()):
            group = parent / name
            group.mkdir(exist_ok=True)
            files.append(str(group / "cgroup.procs"))
        for controller, settings in limit_files(self.version, limits, pids=pids).items():
            if controller in self.parents:
                for file, value in settings.items():
                    _write(self.parents[controller] / name / file, value)
        return files

    def files(self, name: str) -> list[str]:
        """Return the same files for a process that joins later."""
        return [str(p / name / "cgroup.procs") for p in dict.fromkeys(self.parents.values()) if (p / name).is_dir()]

    def out_of_memory(self, name: str) -> bool:
        """Whether the kernel killed something in this group for its memory."""
        parent = self.parents.get("memory")
        if parent is None:
            return False
        file = "memory.events" if self.version == 2 else "memory.oom_control"
        try:
            words = (parent / name / file).read_text().split()
        except OSError:
            return False
        counts = dict(zip(words[::2], words[1::2], strict=False))
        return int(counts.get("oom_kill", "0")) > 0

    def remove(self, name: str) -> bool:
        """Remove the groups; return whether they are gone. A process that has just ended may hold one for a moment."""
        gone = True
        for parent in dict.fromkeys(self.parents.values()):
            with contextlib.suppress(OSError):
                (parent / name).rmdir()
            gone = gone and not (parent / name).exists()
        return gone


def limit_files(version: int, limits: Limits, *, pids: int) -> dict[str, dict[str, str]]:
    """Return what to write for *limits*: controller -> file -> value."""
    found: dict[str, dict[str, str]] = {"pids": {"pids.max": str(pids)}}
    if limits.memory_bytes is not None:
        found["memory"] = (
            {"memory.max": str(limits.memory_bytes), "memory.swap.max": "0"}
            if version == 2
            else {"memory.limit_in_bytes": str(limits.memory_bytes)}
        )
    if limits.cpu_millis is not None:
        quota = max(1000, limits.cpu_millis * CPU_PERIOD_US // 1000)
        found["cpu"] = (
            {"cpu.max": f"{quota} {CPU_PERIOD_US}"}
            if version == 2
            else {"cpu.cfs_period_us": str(CPU_PERIOD_US), "cpu.cfs_quota_us": str(quota)}
        )
    return found


def _write(file: Path, value: str) -> None:
    try:
        file.write_text(value)
    except FileNotFoundError:
        if file.name != "memory.swap.max":  # kernels without swap accounting have no such file
            raise


def detect(name: str, *, root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Cgroups:
    """Try to make the folder *name* below our own groups; return what works."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError as error:
        return Cgroups(1, {}, f"cannot read {own}: {error.strerror}")
    if (root / "cgroup.controllers").exists():
        return _detect_v2(name, root, next((p for i, _, p in lines if i == "0"), "/"))
    parents: dict[str, Path] = {}
    problems = []
    for controller in _NEEDED:
        path = next((p for _, names, p in lines if controller in names.split(",")), None)
        base = root / controller / (path or "/").lstrip("/")
        try:
            _try(base / name)
        except OSError as error:
            problems.append(f"{controller} ({error.strerror})")
            continue
        parents[controller] = base / name
    return Cgroups(1, parents, _missing(problems))


def _try(group: Path) -> None:
    """Make the group and a child in it; a folder left by somebody else is not enough."""
    group.mkdir(exist_ok=True)
    probe = group / "probe"
    probe.mkdir(exist_ok=True)
    probe.rmdir()


def _detect_v2(name: str, root: Path, own: str) -> Cgroups:
    """Prefer a child of our own group (a unit with Delegate=yes); as root, a group beside the others is the second best."""
    problem = OSError(0, "not tried")
    for base in dict.fromkeys((root / own.lstrip("/"), *((root,) if os.geteuid() == 0 else ()))):
        try:
            _try(base / name)
            _delegate(base)
            _delegate(base / name)
            offered = (base / name / "cgroup.controllers").read_text().split()
        except OSError as error:
            problem = error
            continue
        return Cgroups(2, {c: base / name for c in _NEEDED if c in offered}, _missing([c for c in _NEEDED if c not in offered]))
    return Cgroups(2, {}, _missing([f"{c} ({problem.strerror})" for c in _NEEDED]))


def _delegate(group: Path) -> None:
    """Hand the controllers to the children of *group*.

    The kernel refuses while processes are in it (but for its root): if we are the only one, we move to a leaf.
    """
    offered = (group / "cgroup.controllers").read_text().split()
    wanted = " ".join(f"+{c}" for c in _NEEDED if c in offered)
    control = group / "cgroup.subtree_control"
    try:
        control.write_text(wanted)
    except OSError:
        if (group / "cgroup.procs").read_text().split() != [str(os.getpid())]:
            raise
        leaf = group / "skerry-node"
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        control.write_text(wanted)


def _missing(problems: list[str]) -> str:
    if not problems:
        return ""
    return (
        f"no control group for {', '.join(problems)}: run the node as root or in a unit with Delegate=yes, or set "
        "allowUnenforcedLimits in its node.json (--allow-unenforced-limits when joining) to run Pods whose limits nobody keeps"
    )
