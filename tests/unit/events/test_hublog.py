"""The hub's log: each number of each outbox once, in order, with the books balanced."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import apsw
import msgspec
import pytest

from skerry.durable import StoreError, StoreFormatError, StoreFullError, Writer, damaged_pages
from skerry.events.log import DROPPED_TYPE, BatchError, GapError, HubLog, HubLogLimits, LogExpiredError, _hub_sql
from skerry.events.log.batch import Stored, decode, encode, encode_dropped


def raw(number: int) -> bytes:
    return msgspec.json.encode({"specversion": "1.0", "id": str(number), "source": "/nodes/n/devices/p/d", "type": "t"})


def a_batch(first: int, last: int) -> bytes:
    return encode(first - 1, [(i, raw(i)) for i in range(first, last + 1)], reason="")


async def stored(log: HubLog) -> list[tuple[int, str, int]]:
    return [(e.sequence, e.node, e.seq) for e in await log.page()]


async def test_a_batch_is_stored_and_acknowledged(hublog: HubLog) -> None:
    assert await hublog.store("n", "s", a_batch(1, 3)) == 3

    assert await stored(hublog) == [(1, "n", 1), (2, "n", 2), (3, "n", 3)]
    assert (await hublog.page())[0].raw == raw(1)


async def test_what_is_sent_again_is_not_stored_again(hublog: HubLog) -> None:
    await hublog.store("n", "s", a_batch(1, 3))

    assert await hublog.store("n", "s", a_batch(2, 5)) == 5
    assert await hublog.store("n", "s", a_batch(1, 5)) == 5

    assert [seq for _, _, seq in await stored(hublog)] == [1, 2, 3, 4, 5]


async def test_a_batch_that_leaves_a_hole_is_refused_with_the_mark(hublog: HubLog) -> None:
    await hublog.store("n", "s", a_batch(1, 3))
    hublog._marks.clear()  # as after a restart: nothing says that number 4 is under way

    with pytest.raises(GapError) as refused:
        await hublog.store("n", "s", a_batch(5, 6))

    assert refused.value.mark == 3
    assert len(await stored(hublog)) == 3


async def test_a_batch_waits_for_the_one_that_it_overtook(hublog: HubLog) -> None:
    await hublog.store("n", "s", a_batch(1, 1))
    late = asyncio.create_task(hublog.store("n", "s", a_batch(4, 6)))
    await asyncio.sleep(0)

    await hublog.store("n", "s", a_batch(2, 3))

    assert await asyncio.wait_for(late, 60) == 6
    assert [seq for _, _, seq in await stored(hublog)] == [1, 2, 3, 4, 5, 6]


async def test_dropped_numbers_are_told_and_the_books_balance(hublog: HubLog) -> None:
    await hublog.store("n", "s", encode(0, [(1, raw(1)), (5, raw(5))], reason="bound"))
    await hublog.store("n", "s", encode_dropped(4, 9, reason="age"))

    (account,) = await hublog.accounts()
    told = [msgspec.json.decode(e.raw) for e in await hublog.page()]

    assert (account.mark, account.stored, account.dropped) == (9, 2, 7)
    assert [(t["type"], t.get("data", {}).get("count")) for t in told] == [("t", None), (DROPPED_TYPE, 3), ("t", None), (DROPPED_TYPE, 6)]


async def test_streams_and_nodes_are_counted_apart(hublog: HubLog) -> None:
    await hublog.store("n", "s", a_batch(1, 2))
    await hublog.store("n", "other", a_batch(1, 1))
    await hublog.store("m", "s", a_batch(1, 3))

    assert [await hublog.mark(*who) for who in (("n", "s"), ("n", "other"), ("m", "s"), ("m", "new"))] == [2, 1, 3, 0]


async def test_a_restart_keeps_events_marks_and_sequence(tmp_path: Path) -> None:
    first = await HubLog.open(tmp_path / "h.sqlite")
    await first.store("n", "s", a_batch(1, 3))
    await first.close()

    second = await HubLog.open(tmp_path / "h.sqlite")

    assert (second.newest, await second.mark("n", "s")) == (3, 3)
    assert await second.store("n", "s", a_batch(1, 4)) == 4
    assert [seq for seq, _, _ in await stored(second)] == [1, 2, 3, 4]
    await second.close()


async def test_a_log_without_checksums_gets_them_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    old = await Writer.open(path, _hub_sql.MIGRATIONS[:1])
    rows = [(entry, entry.raw) for entry in decode(a_batch(1, 30)) if isinstance(entry, Stored)]
    await old.write(lambda db: _hub_sql.store(db, "n", "s", rows, 10, 1 << 20))
    await old.close()

    log = await HubLog.open(path)
    kept, marks = await stored(log), (log.newest, await log.mark("n", "s"), await log.accounts())
    await log.close()

    assert [seq for seq, _, _ in kept] == list(range(21, 31))
    assert marks == (30, 30, [_hub_sql.Account("n", "s", 30, 30, 0)])
    assert damaged_pages(path, count=100)[0] == []
    assert not list(tmp_path.glob("*.new"))


async def test_a_disk_too_full_for_checksums_is_named_and_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h.sqlite"
    old = await Writer.open(path, _hub_sql.MIGRATIONS[:1])
    rows = [(entry, entry.raw) for entry in decode(a_batch(1, 300)) if isinstance(entry, Stored)]
    await old.write(lambda db: _hub_sql.store(db, "n", "s", rows, 300, 1 << 20))
    await old.close()

    rebuild = _hub_sql.REBUILD

    def copy(old: apsw.Connection, new: apsw.Connection) -> None:
        new.execute("PRAGMA max_page_count=10")
        rebuild.copy(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(_hub_sql, "REBUILD", msgspec.structs.replace(_hub_sql.REBUILD, copy=copy))
        with pytest.raises(StoreFullError, match=r"no space left for .*h\.sqlite"):
            await HubLog.open(path)
    assert not list(tmp_path.glob("*.new*"))

    log = await HubLog.open(path)
    assert len(await stored(log)) == 300
    await log.close()


async def test_a_bit_that_flips_in_any_page_is_never_served(tmp_path: Path) -> None:
    """F12, for the log of events."""
    path = tmp_path / "h.sqlite"
    log = await HubLog.open(path)
    await log.store("n", "s", a_batch(1, 300))
    told = await stored(log)
    await log.close()
    whole = path.read_bytes()
    for page in range(len(whole) // 4096):
        data = bytearray(whole)
        data[page * 4096 + 4000 - page] ^= 4
        path.write_bytes(data)

        assert await read_all(path) in (told, []), page
        assert page == 0 or damaged_pages(path, count=100)[0] == [page + 1]


async def read_all(path: Path) -> list[tuple[int, str, int]]:
    """Return what a log of a damaged file serves; nothing, when it is noticed."""
    try:
        log = await HubLog.open(path)
    except (StoreError, apsw.Error):
        return []
    try:
        return await stored(log)
    except StoreFormatError:
        return []
    finally:
        await log.close()


async def test_the_oldest_leave_when_the_log_is_full_and_a_reader_is_told(tmp_path: Path) -> None:
    log = await HubLog.open(tmp_path / "h.sqlite", limits=HubLogLimits(max_events=10))
    for i in range(1, 31, 5):
        await log.store("n", "s", a_batch(i, i + 4))

    assert [seq for seq, _, _ in await stored(log)] == list(range(21, 31))
    with pytest.raises(LogExpiredError) as told:
        await log.page(5)
    assert told.value.resume_after == 20
    assert (await log.page(20))[0].sequence == 21
    await log.close()


async def test_the_log_is_bounded_in_bytes(tmp_path: Path) -> None:
    log = await HubLog.open(tmp_path / "h.sqlite", limits=HubLogLimits(max_bytes=10 * len(raw(11))))
    await log.store("n", "s", encode(0, [(i, raw(11)) for i in range(1, 41)], reason=""))

    assert len(await stored(log)) == 10
    await log.close()


async def test_a_page_is_bounded(hublog: HubLog) -> None:
    await hublog.store("n", "s", a_batch(1, 900))
    await hublog.store("n", "s", a_batch(901, 1500))

    assert len(await hublog.page(limit=10_000)) == 1000
    assert [e.seq for e in await hublog.page(1498, limit=10)] == [1499, 1500]
    assert await hublog.page(1500) == []


async def test_a_reader_is_woken_by_the_next_batch(hublog: HubLog) -> None:
    waiting = asyncio.create_task(hublog.wait_newer(0))
    await asyncio.sleep(0)
    assert not waiting.done()

    await hublog.store("n", "s", a_batch(1, 2))

    await asyncio.wait_for(waiting, 60)


async def test_batches_at_random_again_and_again_leave_each_number_once(hublog: HubLog) -> None:
    rng = random.Random(7)
    mark = 0
    while mark < 300:
        first = rng.randint(max(1, mark - 20), mark + 1)
        mark = await hublog.store("n", "s", a_batch(first, first + rng.randint(0, 30)))

    assert [seq for _, _, seq in await stored(hublog)] == list(range(1, mark + 1))


async def test_a_refused_batch_changes_nothing(hublog: HubLog) -> None:
    with pytest.raises(BatchError):
        await hublog.store("n", "s", b'{"seq":1}')

    assert (await hublog.mark("n", "s"), hublog.newest) == (0, 0)
