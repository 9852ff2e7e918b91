"""The store by itself: durable writes a second, what one costs, loading, memory beside the objects' bytes, fan-out.

Each figure comes from a fresh process. The store's loop does nothing else here; what a request costs on top is `bench hub`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import psutil

from bench.report import Report
from skerry.apiserver.store import Index, Key, Store, Watcher

SMALL, LARGE = 1024, 2048
OBJECTS = 5_000  # of each size
RESOURCES = {"configmaps": SMALL, "widgets.example.com": LARGE}
FIGURES = Mapping[str, float]


def main() -> list[Report]:
    report = Report("store, alone: one process, no HTTP")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # a disk; /tmp may be memory
        fsyncs = measure("fsync", folder)
        report.row("fdatasync of 4 KiB, the disk's own rate", fsyncs["a_second"], "/s")
        for clients, budget in ((1, 300), (32, 2_500)):
            got = measure("creates", folder, clients)
            report.row(f"durable creates of 1 KiB, {clients} writers", got["a_second"], "/s", budget, more_is_better=True)
            report.row(
                f"  CPU of one, all threads, {clients} writers",
                got["cpu_us"],
                "us",
                100 if clients > 1 else None,
                note=f"{got['loop_us']:.1f} us on the loop",
            )
        filled = measure("fill", folder)
        report.row(
            "memory after creating 5,000 of 1 KiB and 5,000 of 2 KiB", filled["rss_mib"], "MiB", note=f"bytes {filled['bytes_mib']:.1f} MiB"
        )
        report.row("  memory beyond the bytes, an object", filled["overhead_bytes"], "bytes", note="key, index, history and lists")
        loaded = measure("load", folder)
        report.row("load of these 10,000 objects, checked", loaded["ms"], "ms", 500, note="of the hub's 1 s to ready")
        report.row("  memory then", loaded["rss_mib"], "MiB")
        fanned = measure("fan_out", folder)
        report.row("200 watchers, bursts of 200 updates, changes handed out", fanned["a_second"], "/s", 60_000, more_is_better=True)
    return [report]


def measure(what: str, *args: object) -> dict[str, float]:
    """Run one figure in a process of its own."""
    command = [sys.executable, "-m", "bench.store", what, *map(str, args)]
    return {str(k): float(v) for k, v in json.loads(subprocess.run(command, check=True, capture_output=True).stdout).items()}


def no_index(_: Key, __: bytes) -> Index:
    return Index()


def body(size: int) -> Callable[[int], bytes]:
    filling = b"x" * (size - 60)
    return lambda revision: b'{"metadata":{"resourceVersion":"%d"},"data":"%s"}' % (revision, filling)


async def fsync(folder: str) -> FIGURES:
    path = Path(folder) / "raw"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    began, count = time.monotonic(), 300
    for n in range(count):
        os.pwrite(fd, b"x" * 4096, n * 4096)
        os.fdatasync(fd)
    return {"a_second": count / (time.monotonic() - began)}


async def creates(folder: str, clients: str) -> FIGURES:
    store = await Store.open(Path(folder) / f"creates-{clients}.sqlite", index=no_index)
    each = 1_500 if clients == "1" else 500
    encode = body(SMALL)

    async def client(number: int) -> None:
        for n in range(each):
            await store.create(Key("configmaps", "default", f"cm-{number}-{n}"), encode)

    began, cpu, loop = time.monotonic(), time.process_time(), time.thread_time()
    await asyncio.gather(*[client(n) for n in range(int(clients))])
    count = int(clients) * each
    got = {
        "a_second": count / (time.monotonic() - began),
        "cpu_us": (time.process_time() - cpu) / count * 1e6,
        "loop_us": (time.thread_time() - loop) / count * 1e6,
    }
    await store.close()
    return got


async def fill(folder: str) -> FIGURES:
    store = await Store.open(Path(folder) / "objects.sqlite", index=no_index)
    await fill_between(store, 0, OBJECTS // 2)
    half, half_mib = bytes_in(store), rss_mib()
    await fill_between(store, OBJECTS // 2, OBJECTS)
    total, whole_mib = bytes_in(store), rss_mib()
    overhead = ((whole_mib - half_mib) * 2**20 - (total - half)) / OBJECTS  # of the second half, when nothing is first any more
    got = {"rss_mib": whole_mib, "bytes_mib": total / 2**20, "overhead_bytes": overhead}
    await store.close()
    return got


async def fill_between(store: Store, start: int, end: int) -> None:
    for resource, size in RESOURCES.items():
        encode = body(size)
        for first in range(start, end, 100):
            await asyncio.gather(*[store.create(Key(resource, "default", f"object-{n}"), encode) for n in range(first, first + 100)])


def bytes_in(store: Store) -> int:
    return sum(len(record.value) for resource in RESOURCES for record in store.list(resource).records)


async def load(folder: str) -> FIGURES:
    began = time.monotonic()
    store = await Store.open(Path(folder) / "objects.sqlite", index=no_index)
    got = {"ms": (time.monotonic() - began) * 1000, "rss_mib": rss_mib()}
    await store.close()
    return got


async def fan_out(folder: str) -> FIGURES:
    store = await Store.open(Path(folder) / "fan-out.sqlite", index=no_index)
    encode, seen = body(SMALL), 0
    records = [await store.create(Key("pods", "default", f"p{n}"), encode) for n in range(200)]

    async def watch(watcher: Watcher, wanted: int) -> None:
        nonlocal seen
        async for changes in watcher:
            seen += len(changes)
            wanted -= len(changes)
            if not wanted:
                return

    bursts = 20
    watching = [asyncio.create_task(watch(store.watch("pods", after=store.revision), bursts * 200)) for _ in range(200)]
    began = time.monotonic()
    for _ in range(bursts):
        records = list(await asyncio.gather(*[store.update(r.key, encode, expected=r.revision) for r in records]))
    await asyncio.gather(*watching)
    got = {"a_second": seen / (time.monotonic() - began)}
    await store.close()
    return got


def rss_mib() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20


KINDS: Mapping[str, Callable[..., Awaitable[FIGURES]]] = {
    "fsync": fsync,
    "creates": creates,
    "fill": fill,
    "load": load,
    "fan_out": fan_out,
}


async def one(what: str, *args: str) -> None:
    print(json.dumps(await KINDS[what](*args)))


if __name__ == "__main__":
    asyncio.run(one(*sys.argv[1:]))
