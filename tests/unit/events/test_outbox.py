"""The outbox: on disk before it answers, numbers once, dropped ones counted."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import apsw
import msgspec
import pytest

from skerry.durable import StoreFullError
from skerry.events.cloudevents import Event
from skerry.events.log import EventTooLargeError, Outbox, OutboxLimits
from skerry.events.log import _outbox_sql as sql


def an_event(number: int, *, device: str = "d", size: int = 0) -> Event:
    extensions: dict[str, str | int | bool] = {"devicenamespace": "plant", "devicename": device}
    return Event(id=str(number), source=f"/nodes/n/devices/plant/{device}", type="t", data="x" * size, extensions=extensions)


async def ids(outbox: Outbox, after: int = 0) -> list[tuple[int, str]]:
    rows = await outbox.read(after, max_events=10_000, max_bytes=10**9)
    return [(seq, msgspec.json.decode(raw)["id"]) for seq, raw in rows]


async def test_numbers_follow_the_order_of_the_calls(outbox: Outbox) -> None:
    await asyncio.gather(*(outbox.append(an_event(i), key="k") for i in range(1, 101)))

    assert await ids(outbox) == [(i, str(i)) for i in range(1, 101)]
    assert outbox.newest == 100


async def test_what_was_appended_is_there_after_a_restart(tmp_path: Path) -> None:
    first = await Outbox.open(tmp_path / "o.sqlite")
    await first.append(an_event(1), an_event(2), key="k")
    stream = first.stream
    await first.close()

    second = await Outbox.open(tmp_path / "o.sqlite")
    await second.append(an_event(3), key="k")

    assert (second.stream, await ids(second)) == (stream, [(1, "1"), (2, "2"), (3, "3")])
    await second.close()


async def test_numbers_are_not_given_again_after_everything_was_forgotten(tmp_path: Path) -> None:
    first = await Outbox.open(tmp_path / "o.sqlite")
    await first.append(an_event(1), an_event(2), key="k")
    first.acknowledge(2)
    await first.close()

    second = await Outbox.open(tmp_path / "o.sqlite")
    assert (second.newest, second.acknowledged, await second.oldest()) == (2, 2, 0)
    await second.append(an_event(3), key="k")

    assert await ids(second) == [(3, "3")]
    await second.close()


async def test_an_event_stays_until_the_hub_and_each_trigger_have_it(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.sqlite")
    assert await box.register("uid-1") == 0
    await box.append(*(an_event(i) for i in range(1, 11)), key="k")
    box.advance("uid-1", 4)
    box.acknowledge(8)
    await box.close()

    box = await Outbox.open(tmp_path / "o.sqlite")
    assert [seq for seq, _ in await ids(box)] == [5, 6, 7, 8, 9, 10]
    assert await box.register("uid-1") == 4

    await box.forget("uid-1")
    await box.close()
    box = await Outbox.open(tmp_path / "o.sqlite")
    assert [seq for seq, _ in await ids(box)] == [9, 10]
    await box.close()


async def test_a_new_trigger_starts_at_the_newest_event(outbox: Outbox) -> None:
    await outbox.append(an_event(1), key="k")

    assert await outbox.register("uid-1") == 1


async def test_the_oldest_leave_when_the_bound_is_reached_and_are_counted(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.sqlite", limits=OutboxLimits(max_bytes=10_000))
    for i in range(1, 31):
        await box.append(an_event(i, size=900), key="k")

    left = [seq for seq, _ in await ids(box)]

    assert left == list(range(left[0], 31))
    assert 5 < len(left) <= 10
    assert box.dropped == left[0] - 1
    await box.close()
    again = await Outbox.open(tmp_path / "o.sqlite")
    assert again.dropped == left[0] - 1
    await again.close()


async def test_what_the_hub_has_is_not_counted_as_dropped(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.sqlite", limits=OutboxLimits(max_bytes=10_000))
    for i in range(1, 31):
        await box.append(an_event(i, size=900), key="k")
        box.acknowledge(i)

    assert box.dropped == 0
    await box.close()


def test_events_older_than_the_bound_leave_and_are_counted() -> None:
    db = apsw.Connection(":memory:")
    for migration in sql.MIGRATIONS:
        db.execute(migration)
    young = sql.Bound(max_bytes=10**6, oldest_s=0.0, acknowledged=1)
    sql.append(db, [sql.Offer((at, "", "k", b"{}")) for at in (10.0, 20.0, 30.0)], young)

    newest, dropped = sql.append(db, [sql.Offer((99.0, "", "k", b"{}"))], sql.Bound(max_bytes=10**6, oldest_s=25.0, acknowledged=1))

    assert (newest, dropped, [seq for seq, _ in sql.read(db, 0, 9, 999)]) == (4, 1, [3, 4])
    assert sql.load(db).bytes == 4


async def test_an_event_that_is_too_large_is_refused_and_nothing_else_is(outbox: Outbox) -> None:
    with pytest.raises(EventTooLargeError, match="262144"):
        await outbox.append(an_event(1), an_event(2, size=300_000), key="k")
    await outbox.append(an_event(3), key="k")

    assert await ids(outbox) == [(1, "3")]


async def test_a_brokers_events_are_those_of_its_namespace(outbox: Outbox) -> None:
    await outbox.append(an_event(1), key="k")
    await outbox.append(an_event(2), key="k", broker="plant/alarms")
    await outbox.append(Event(id="3", source="/s", type="t"), key="k")

    default = await outbox.read_broker("plant/default", 0, 3, limit=10)
    alarms = await outbox.read_broker("plant/alarms", 0, 3, limit=10)

    assert ([seq for seq, _, _ in default], [seq for seq, _, _ in alarms]) == ([1], [2])


async def test_a_reader_is_woken_by_the_next_event(outbox: Outbox) -> None:
    waiting = asyncio.create_task(outbox.wait_newer(0))
    await asyncio.sleep(0)
    assert not waiting.done()

    await outbox.append(an_event(1), key="k")

    await asyncio.wait_for(waiting, 60)


async def test_callers_share_a_commit(outbox: Outbox) -> None:
    done: list[Exception | None] = []

    for i in range(1000):
        outbox.offer(an_event(i), key="k", done=done.append)
    await outbox.append(an_event(1000), key="k")

    assert (done, outbox.newest) == ([None] * 1000, 1001)


async def test_a_cancelled_caller_does_not_stop_the_others(outbox: Outbox) -> None:
    gone = asyncio.create_task(outbox.append(an_event(1), key="k"))
    stays = asyncio.create_task(outbox.append(an_event(2), key="k"))
    await asyncio.sleep(0)
    gone.cancel()

    await stays

    assert outbox.newest == 2


async def test_a_full_disk_refuses_and_later_takes_again_and_gives_no_number_twice(outbox: Outbox) -> None:
    await outbox.append(an_event(1), key="k")
    await outbox._writer.write(lambda db: db.execute("PRAGMA max_page_count = 12").fetchall())
    with contextlib.suppress(StoreFullError):
        for i in range(2, 100):
            await outbox.append(an_event(i, size=4000), key="k")
    kept = outbox.newest
    assert kept < 20

    await outbox._writer.write(lambda db: db.execute("PRAGMA max_page_count = 4294967294").fetchall())
    await outbox.append(an_event(kept + 1, size=4000), key="k")

    assert [seq for seq, _ in await ids(outbox)] == list(range(1, kept + 2))


async def test_an_older_copy_of_the_disk_takes_a_new_identity(outbox: Outbox) -> None:
    old = outbox.stream

    await outbox.begin_stream()

    assert outbox.stream != old


def a_numbered(number: int, *, value: int = 0, at: str = "") -> Event:
    return Event(id=f"{number}-{at}", source="/s", type="t", time=at, data={"v": value}, extensions={"sequence": str(number)})


async def test_what_a_device_sends_again_is_acknowledged_and_not_stored_again(outbox: Outbox) -> None:
    await outbox.append(*(a_numbered(i) for i in range(1, 31)), key="k")

    await asyncio.gather(*(outbox.append(a_numbered(i, at="2026-01-05T10:00:02Z"), key="k") for i in range(11, 33)))

    assert [i for _, i in await ids(outbox)] == [f"{i}-" for i in range(1, 31)] + [f"{i}-2026-01-05T10:00:02Z" for i in (31, 32)]
    assert [seq for seq, _ in await ids(outbox)] == list(range(1, 33))


async def test_a_repetition_is_recognised_after_a_restart_and_after_the_upload(tmp_path: Path) -> None:
    box = await Outbox.open(tmp_path / "o.sqlite")
    await box.append(a_numbered(1), key="k")
    box.acknowledge(1)
    await box.close()

    box = await Outbox.open(tmp_path / "o.sqlite")
    await box.append(a_numbered(1), key="k")

    assert (box.newest, await ids(box)) == (1, [])
    await box.close()


async def test_a_number_that_is_used_again_for_something_else_is_stored(outbox: Outbox) -> None:
    await outbox.append(a_numbered(1, value=1), key="k")
    await outbox.append(a_numbered(1, value=2), key="k")
    await outbox.append(a_numbered(1, value=1), key="other device")

    assert outbox.newest == 3


async def test_events_without_a_number_of_their_source_are_never_taken_for_repetitions(outbox: Outbox) -> None:
    for _ in range(3):
        await outbox.append(an_event(1), key="k")

    assert outbox.newest == 3


def test_what_is_remembered_of_sources_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    db = apsw.Connection(":memory:")
    for migration in sql.MIGRATIONS:
        db.execute(migration)
    monkeypatch.setattr(sql, "MAX_RECENT_KEYS", 50)
    for i in range(200):
        sql.append(db, [sql.Offer((0.0, "", f"k{i}", b"{}"), b"12345678")], sql.Bound(10**9, 0.0, 0))

    keys = [str(k) for (k,) in db.execute("SELECT key FROM recent ORDER BY seq")]

    assert len(keys) <= 51
    assert keys[-1] == "k199"
