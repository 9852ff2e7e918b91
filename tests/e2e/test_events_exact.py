"""Shown by 4: events are at the hub exactly once and in order per device, whatever was killed when (F1, F2, F3, F20).

The parts run as real processes with real files; what checks them reads the hub's file with another SQLite and shares no code.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import sqlite3
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.edge import slowness
from tests.e2e.pieces.victims import Victim

SOAK = bool(os.environ.get("SKERRY_SOAK"))
DEVICES = 10
EVENTS = 20_000
HUB_FAILPOINTS = (
    "hublog.before_commit",
    "durable.before_commit",
    "durable.after_commit",
    "durable.before_acknowledge",
    "hublog.after_commit",
)
NODE_FAILPOINTS = (
    "durable.before_commit",
    "durable.after_commit",
    "durable.before_acknowledge",
    "outbox.after_commit",
    "uploader.before_send",
    "uploader.before_acknowledge",
    "outbox.before_settle",
)


@dataclass
class Device:
    """A source that counts from 1 and sends what has no answer again, up to *window* at once, at a given rate."""

    name: str
    total: int
    window: int = 16
    pause_s: float = 0.0
    acknowledged: int = 0
    waiting: deque[int] = field(default_factory=deque)

    async def run(self, socket: Path) -> None:
        while self.acknowledged < self.total:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_unix_connection(str(socket))
                try:
                    await self.talk(reader, writer)
                finally:
                    writer.close()
            await asyncio.sleep(0.02)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = self.acknowledged
        while self.acknowledged < self.total:
            while sent < min(self.total, self.acknowledged + self.window):
                sent += 1
                writer.write(json.dumps({"device": self.name, "n": sent}).encode() + b"\n")
            answer = await reader.readline()
            if not answer:
                raise ConnectionResetError
            assert int(answer) == self.acknowledged + 1, "answers come in order"
            self.acknowledged += 1
            if self.pause_s:
                await asyncio.sleep(self.pause_s)


def rows_at_the_hub(path: Path) -> list[tuple[str, int]]:
    """Return (device, its number) in the order of the hub's log."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        bodies = [json.loads(body) for (body,) in db.execute("SELECT body FROM events ORDER BY hub_seq")]
    return [(b["devicename"], b["data"]["n"]) for b in bodies]


def count_at_the_hub(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM events").fetchone()[0])


def check(rows: list[tuple[str, int]], devices: list[Device]) -> None:
    """Each device's numbers, from 1 to its last, once each and in order."""
    by_device: dict[str, list[int]] = {d.name: [] for d in devices}
    for name, number in rows:
        by_device[name].append(number)
    for device in devices:
        assert by_device[device.name] == list(range(1, device.total + 1)), f"{device.name}: {wrong(by_device[device.name], device.total)}"


def wrong(numbers: list[int], total: int) -> str:
    missing = sorted(set(range(1, total + 1)) - set(numbers))
    unordered = [(a, b) for a, b in itertools.pairwise(numbers) if b <= a]
    twice = len(numbers) - len(set(numbers))
    return f"{len(numbers)} rows, missing {missing[:10]} ({len(missing)}), {twice} twice, order broken at {unordered[:5]}"


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(20 if SOAK else 1))
async def test_twenty_thousand_events_through_kills_and_an_outage_arrive_once_and_in_order(tmp_path: Path, round_: int) -> None:
    seed = int(os.environ.get("SKERRY_SEED") or time.time_ns() % 1_000_000) + round_
    rng, slow = random.Random(seed), slowness()
    lives = (0.3 * slow, 1.5 * slow)
    print(f"SKERRY_SEED={seed}")
    log, hub_socket, node_socket = tmp_path / "hub.sqlite", tmp_path / "h.sock", tmp_path / "n.sock"
    hub = Victim("hub", ["-m", "tests.e2e.pieces.event_hub", str(log), str(hub_socket)], HUB_FAILPOINTS, rng)
    outbox = str(tmp_path / "node.sqlite")
    node = Victim("node", ["-m", "tests.e2e.pieces.event_node", outbox, str(hub_socket), str(node_socket)], NODE_FAILPOINTS, rng)
    devices = [Device(f"d{i}", EVENTS // DEVICES, window=rng.choice([1, 4, 16, 40]), pause_s=0.002) for i in range(DEVICES)]

    sources = [asyncio.create_task(d.run(node_socket)) for d in devices]
    killers = [asyncio.create_task(v.suffer(every_s=lives)) for v in (hub, node)]
    try:
        await produce_until(devices, 0.4, killers)
        killers[0].cancel()  # the outage: no hub at all, while the node still dies and the devices go on
        await asyncio.gather(killers[0], return_exceptions=True)
        await hub.end()
        await produce_until(devices, 0.7, killers[1:])
        killers[0] = asyncio.create_task(hub.suffer(every_s=lives))
        await produce_until(devices, 1.0, killers)
        await asyncio.gather(*sources)
        for killer in killers:
            killer.cancel()
        await asyncio.gather(*killers, return_exceptions=True)
        for victim in (hub, node):
            await victim.end()
            await victim.start()
        returned = time.monotonic()
        while count_at_the_hub(log) < EVENTS and time.monotonic() - returned < 60 * slow:
            await asyncio.sleep(0.1)
        took_s = time.monotonic() - returned
        await asyncio.sleep(0.3)  # whatever comes too much would come now
    finally:
        for task in (*sources, *killers):
            task.cancel()
        await asyncio.gather(*sources, *killers, return_exceptions=True)
        await hub.end()
        await node.end()

    print(f"complete {took_s:.1f} s after the hub's return; hub died {dict(hub.deaths)}, node died {dict(node.deaths)}")
    check(rows_at_the_hub(log), devices)
    assert hub.deaths.total() >= 3
    assert node.deaths.total() >= 3


async def produce_until(devices: list[Device], share: float, killers: list[asyncio.Task[None]]) -> None:
    """Return once the devices have their share of answers; a killer that ends says that something else went wrong."""
    async with asyncio.timeout(600):
        while sum(d.acknowledged for d in devices) < share * EVENTS:
            for killer in killers:
                if killer.done():
                    killer.result()
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("who", "failpoint"), [*(("hub", f) for f in HUB_FAILPOINTS), *(("node", f) for f in NODE_FAILPOINTS)])
async def test_a_kill_at_each_point_loses_and_repeats_nothing(tmp_path: Path, who: str, failpoint: str) -> None:
    log, hub_socket, node_socket = tmp_path / "hub.sqlite", tmp_path / "h.sock", tmp_path / "n.sock"
    rng = random.Random(failpoint)
    hub = Victim("hub", ["-m", "tests.e2e.pieces.event_hub", str(log), str(hub_socket)], HUB_FAILPOINTS, rng)
    outbox = str(tmp_path / "node.sqlite")
    node = Victim("node", ["-m", "tests.e2e.pieces.event_node", outbox, str(hub_socket), str(node_socket)], NODE_FAILPOINTS, rng)
    victim, other = (hub, node) if who == "hub" else (node, hub)
    device = Device("d0", 300, window=8, pause_s=0.001)
    source = asyncio.create_task(device.run(node_socket))
    try:
        await other.start()
        await victim.start(failpoint=failpoint, times=1 if failpoint == "outbox.before_settle" else 2)
        assert victim.process is not None
        async with asyncio.timeout(90):
            assert await victim.process.wait() == -9, "the point was reached"
            await victim.start()
            await source
            while not log.exists() or count_at_the_hub(log) < 300:
                await asyncio.sleep(0.02)
    finally:
        source.cancel()
        await asyncio.gather(source, return_exceptions=True)
        await hub.end()
        await node.end()

    check(rows_at_the_hub(log), [device])


@pytest.mark.parametrize("numbers", [[1, 2, 4], [1, 2, 2, 3, 4], [1, 3, 2, 4], [1, 2, 3], [2, 3, 4], [1, 2, 3, 4, 5]])
def test_the_checker_finds_what_is_missing_twice_or_out_of_order(numbers: list[int]) -> None:
    with pytest.raises(AssertionError, match="d0"):
        check([("d0", n) for n in numbers], [Device("d0", 4)])
