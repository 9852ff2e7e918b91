"""How every benchmark speaks: a row for each figure, beside its budget and the peer's. Timings never fail anything."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Row:
    """One figure. `peer` is what kube-apiserver 1.32 with etcd 3.5 measured on the same kind of machine."""

    what: str
    measured: float
    unit: str
    budget: float | None = None
    more_is_better: bool = False
    peer: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How much of the budget was used: below 1 is within it."""
        if self.budget is None:
            return None
        return self.budget / self.measured if self.more_is_better and self.measured else self.measured / self.budget

    @property
    def gain(self) -> float | None:
        """How many times better than the peer."""
        if self.peer is None or not self.measured:
            return None
        return self.measured / self.peer if self.more_is_better else self.peer / self.measured

    def __str__(self) -> str:
        text = f"{self.what:<64} {self.measured:>10,.3f} {self.unit:<8}"
        if self.ratio is not None:
            sign = ">=" if self.more_is_better else "<="
            text += f" budget {sign} {self.budget:>9,.2f}   ratio {self.ratio:5.2f} {'within' if self.ratio <= 1 else 'OVER'}"
        if self.gain is not None:
            text += f"   peer {self.peer:,.2f} ({self.gain:.1f}x)"
        return text + (f"   {self.note}" if self.note else "")


@dataclass
class Report:
    """Rows as they are measured, printed at once."""

    title: str
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        print(f"\n{self.title}\n{'-' * len(self.title)}", flush=True)

    def row(
        self,
        what: str,
        measured: float,
        unit: str,
        budget: float | None = None,
        *,
        more_is_better: bool = False,
        peer: float | None = None,
        note: str = "",
    ) -> None:
        self.rows.append(Row(what, measured, unit, budget, more_is_better, peer, note))
        print(self.rows[-1], flush=True)


def hardware() -> str:
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?"
    )
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {model}, {psutil.virtual_memory().total / 2**30:.0f} GiB, {system}"


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def memory_mib(pids: list[int]) -> tuple[float, float]:
    """Return resident and proportional set size of the processes together, in MiB."""
    found = [psutil.Process(pid).memory_full_info() for pid in pids]
    return sum(m.rss for m in found) / 2**20, sum(m.pss for m in found) / 2**20


def alone_mib(pids: list[int]) -> float:
    """Return what the processes take together on a machine of their own, in MiB: every page counted, once.

    It is their proportional size were nothing else running: what is theirs alone, and of each file that they map as much as the one
    that uses most of it. Read from /proc/PID/smaps.
    """
    own, files = 0, dict[str, int]()
    for pid in pids:
        mapped = dict[str, int]()
        for region, sizes in _regions(pid):
            own += sizes["Anonymous"]
            mapped[region] = mapped.get(region, 0) + sizes["Rss"] - sizes["Anonymous"]
        files |= {region: max(size, files.get(region, 0)) for region, size in mapped.items()}
    return (own + sum(files.values())) / 1024


def _regions(pid: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield each mapping: the file and where in it, and its sizes in KiB."""
    region, sizes = "", dict[str, int]()
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            region = f"{words[2]} {words[3]} {words[4]}"
        elif words[-1] == "kB":
            sizes[words[0][:-1]] = int(words[1])
        elif words[0] == "VmFlags:":
            yield region, sizes
            sizes = {}


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class Stopwatch:
    """Wall and CPU seconds of another process between two points."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.began = time.monotonic()
        self.cpu_began = cpu_s(pid)

    def read(self) -> tuple[float, float]:
        return time.monotonic() - self.began, cpu_s(self.pid) - self.cpu_began
