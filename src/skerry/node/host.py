"""What this machine is and how it is doing: read from /proc, /sys and /etc, never by running a program."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import msgspec

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386", "riscv64": "riscv64"}


class HostFacts(msgspec.Struct, frozen=True):
    """What does not change while the machine runs."""

    hostname: str
    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    boot_id: str
    cpus: int
    memory_bytes: int


class HostState(msgspec.Struct, frozen=True):
    """How the machine is doing. `disk_*` is the filesystem of the state folder."""

    memory_available: int
    disk_bytes: int
    disk_available: int
    processes: int
    processes_max: int


def host_facts(*, cgroup_memory: Path = Path("/sys/fs/cgroup/memory.max")) -> HostFacts:
    """Read the facts."""
    u = os.uname()
    memory = _meminfo("MemTotal")
    with contextlib.suppress(OSError, ValueError):  # no limit, or version 1: what the machine has
        memory = min(memory, int(cgroup_memory.read_text()))
    return HostFacts(
        hostname=u.nodename,
        architecture=ARCHITECTURES.get(u.machine, u.machine),
        kernel=u.release,
        os_image=_os_release(),
        machine_id=_line("/etc/machine-id"),
        boot_id=_line("/proc/sys/kernel/random/boot_id"),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=memory,
    )


def host_state(folder: Path) -> HostState:
    """Read the state; raises OSError when the folder's filesystem is gone."""
    disk = os.statvfs(folder)
    load = _line("/proc/loadavg").split()
    running = int(load[3].partition("/")[2]) if len(load) > 3 else 0
    return HostState(
        memory_available=_meminfo("MemAvailable"),
        disk_bytes=disk.f_blocks * disk.f_frsize,
        disk_available=disk.f_bavail * disk.f_frsize,
        processes=running,
        processes_max=int(_line("/proc/sys/kernel/pid_max") or 32768),
    )


def address_towards(host: str) -> str:
    """Return our address on the way to *host*, without sending anything; 127.0.0.1 when there is no way."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((host, 9))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    return "127.0.0.1"


def _meminfo(key: str) -> int:
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == key:
            return int(rest.split()[0]) * 1024
    return 0


def _os_release() -> str:
    for line in _text("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip('"')
    return "Linux"


def _line(path: str) -> str:
    return _text(path).strip()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
