"""The logs on a disk that forgets what was not synced (F4, F5), and that fails a sync once (F6)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from skerry.durable import StoreError
from skerry.events.cloudevents import Event
from skerry.events.log import HubLog, Outbox
from skerry.events.log.batch import encode
from tests.unit.durable.powercut import Disk, Survivors, mounted

CUTS = 25
SURVIVORS: tuple[Survivors, ...] = ("nothing", "everything", "some sectors")


def an_event(number: int) -> Event:
    return Event(id=str(number), source="/s", type="t", data={"n": number}, extensions={"sequence": str(number)})


async def append_until_dark(box: Outbox) -> int:
    """Append one event after the other, some of them together; returns how many were acknowledged."""
    acknowledged = 0
    try:
        for first in range(1, 1000, 3):
            await asyncio.gather(*(box.append(an_event(n), key="k") for n in range(first, first + 3)))
            acknowledged = first + 2
            if first % 9 == 1:
                box.acknowledge(first)
                await box._settle()
    except StoreError:
        pass
    return acknowledged


async def cut(disk: Disk, path: Path, rng: random.Random) -> int:
    """Append until the power goes, at a random operation; returns how many were acknowledged."""
    try:
        box = await Outbox.open(path, vfs=disk.name)
    except Exception:
        return 0  # before there was anything
    disk.dark_at = disk.operations + rng.randint(1, 120)
    acknowledged = await append_until_dark(box)
    box._closed = True  # nobody closes a machine without power in an orderly way
    await box.close()
    return acknowledged


@pytest.mark.parametrize("number", range(CUTS))
async def test_a_power_cut_loses_no_acknowledged_event_and_gives_no_number_twice(tmp_path: Path, number: int) -> None:
    rng = random.Random(number)
    with mounted(f"outbox-{number}") as disk:
        (tmp_path / "before").mkdir()
        acknowledged = await cut(disk, tmp_path / "before" / "o.sqlite", rng)
        after = tmp_path / "after"
        after.mkdir()
        disk.restore_to(after, rng.choice(SURVIVORS), rng)

    box = await Outbox.open(after / "o.sqlite")
    rows = [(seq, msgspec.json.decode(raw)["data"]["n"]) for seq, raw in await box.read(0, max_events=9999, max_bytes=10**9)]
    newest = box.newest
    await box.append(an_event(5000), key="k")
    given = box.newest
    await box.close()

    assert newest >= acknowledged
    assert all(seq == n for seq, n in rows), "every event has its number"
    assert [seq for seq, _ in rows] == list(range(newest - len(rows) + 1, newest + 1)), "and there is no hole"
    assert newest - len(rows) <= acknowledged, "what left was acknowledged by the hub"
    assert given == newest + 1


@pytest.mark.parametrize("number", range(CUTS))
async def test_a_power_cut_never_parts_the_hubs_mark_from_its_events(tmp_path: Path, number: int) -> None:
    rng = random.Random(number)
    folder, after = tmp_path / "before", tmp_path / "after"
    folder.mkdir()
    after.mkdir()
    raw = an_event(1).to_json()
    acknowledged = 0
    with mounted(f"hublog-{number}") as disk:
        log = await HubLog.open(folder / "h.sqlite", vfs=disk.name)
        disk.dark_at = disk.operations + rng.randint(1, 60)
        try:
            while acknowledged < 1000:
                rows = [(n, raw) for n in range(acknowledged + 1, acknowledged + 6)]
                acknowledged = await log.store("n", "s", encode(acknowledged, rows, reason=""))
        except StoreError:
            pass
        await log.close()
        disk.restore_to(after, rng.choice(SURVIVORS), rng)

    log = await HubLog.open(after / "h.sqlite")
    mark, seqs = await log.mark("n", "s"), [e.seq for e in await log.page()]
    await log.close()

    assert mark >= acknowledged
    assert seqs == list(range(1, mark + 1))


async def test_after_a_failed_sync_nothing_is_acknowledged_until_the_outbox_is_open_again(tmp_path: Path) -> None:
    with mounted("outbox-fsync") as disk:
        box = await Outbox.open(tmp_path / "o.sqlite", vfs=disk.name)
        await box.append(an_event(1), key="k")
        disk.fail_sync = lambda path: disk.failed_syncs == 0
        with pytest.raises(StoreError):
            await box.append(an_event(2), key="k")
        disk.fail_sync = lambda path: False
        recovering = box._recovering
        assert recovering is not None
        await asyncio.wait_for(recovering, 60)

        await box.append(an_event(2), key="k")  # as a device does that got no answer
        await box.append(an_event(3), key="k")

        rows = [msgspec.json.decode(raw)["id"] for _, raw in await box.read(0, max_events=9, max_bytes=9999)]
        await box.close()
    assert (disk.failed_syncs, rows) == (1, ["1", "2", "3"])
