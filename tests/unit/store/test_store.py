"""The store: writes that are acknowledged are there, reads see what is committed, and refusals say why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import apsw
import pytest

from skerry.apiserver.store import (
    NAME,
    Change,
    ConflictError,
    ExistsError,
    Index,
    Key,
    MissingError,
    Only,
    Record,
    Store,
    TooOldError,
    Watcher,
    pending,
    start_new_epoch,
)
from skerry.apiserver.store import store as store_module
from skerry.durable import StoreBusyError, StoreClosedError, StoreFailedError, StoreFormatError, StoreFullError, StoreLockedError
from tests.unit.durable.powercut import Disk, mounted

A, B, C = (Key("configmaps", "default", name) for name in "abc")
OTHER = Key("configmaps", "other", "a")
NODE = Key("nodes", "", "n1")


def text(value: str) -> Callable[[int], bytes]:
    return lambda revision: f"{value}@{revision}".encode()


def first_letter(key: Key, value: bytes) -> Index:
    return Index(labels={"first": value[:1].decode()}, fields={"metadata.name": key.name, "letter": value[:1].decode()})


@pytest.fixture
def disk() -> Iterator[Disk]:
    with mounted("store-tests") as disk:
        yield disk


@pytest.fixture
async def store(tmp_path: Path, disk: Disk) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "hub.sqlite", index=first_letter, vfs=disk.name)
    yield opened
    await opened.close()


async def reopened(store: Store, disk: Disk) -> Store:
    await store.close()
    return await Store.open(store.path, index=first_letter, vfs=disk.name)


def names(records: object) -> list[str]:
    return [f"{record.key.namespace}/{record.key.name}" for record in records]  # type: ignore[attr-defined]


async def test_an_object_is_stored_as_the_bytes_its_encoder_made_for_its_revision(store: Store) -> None:
    record = await store.create(A, text("x"))

    assert (record.revision, record.value) == (1, b"x@1")
    assert store.get(A) is record
    assert store.revision == 1
    assert (record.labels, record.fields) == ({"first": "x"}, {"metadata.name": "a", "letter": "x"})


async def test_objects_histories_and_revisions_survive_a_restart(store: Store, disk: Disk) -> None:
    created = await store.create(A, text("x"))
    await store.update(A, text("y"), expected=created.revision)
    gone = await store.create(B, text("z"))
    await store.delete(B, text("gone"), expected=gone.revision)

    again = await reopened(store, disk)

    found = again.get(A)
    assert found is not None
    assert (found.revision, found.value, found.labels) == (2, b"y@2", {"first": "y"})
    assert again.get(B) is None
    assert (again.revision, again.epoch) == (4, store.epoch)
    assert [change.type for change in again.watch("configmaps", after=0).take()] == ["ADDED", "MODIFIED", "ADDED", "DELETED"]
    assert (await again.create(C, text("w"))).revision == 5
    await again.close()


async def test_an_update_carries_the_revision_that_was_read(store: Store) -> None:
    first = await store.create(A, text("x"))
    await store.update(A, text("y"), expected=first.revision)

    with pytest.raises(ConflictError, match="configmaps default/a is at revision 2, not 1"):
        await store.update(A, text("z"), expected=first.revision)
    with pytest.raises(ConflictError):
        await store.delete(A, text("gone"), expected=first.revision)
    assert store.revision == 2


async def test_a_name_is_given_once_and_only_what_exists_can_change(store: Store) -> None:
    await store.create(A, text("x"))

    with pytest.raises(ExistsError, match="configmaps default/a exists already"):
        await store.create(A, text("y"))
    with pytest.raises(MissingError, match="nodes n1 does not exist"):
        await store.update(NODE, text("y"), expected=1)
    with pytest.raises(MissingError):
        await store.delete(NODE, text("y"), expected=1)


async def test_of_two_writers_that_read_the_same_only_one_succeeds(store: Store) -> None:
    first = await store.create(A, text("x"))

    outcome = await asyncio.gather(
        *[store.update(A, text(f"y{n}"), expected=first.revision) for n in range(3)], store.create(A, text("z")), return_exceptions=True
    )

    assert [type(o) for o in outcome] == [Record, ConflictError, ConflictError, ExistsError]


async def test_a_read_sees_nothing_that_is_not_on_the_disk(store: Store) -> None:
    writing = asyncio.ensure_future(store.create(A, text("x")))
    await asyncio.sleep(0)

    assert store.get(A) is None
    assert (store.revision, len(store.list("configmaps").records)) == (0, 0)
    await writing
    assert store.get(A) is not None


async def test_a_deleted_name_can_be_given_again_within_one_transaction(store: Store) -> None:
    first = await store.create(A, text("x"))

    gone, fresh = await asyncio.gather(store.delete(A, text("gone"), expected=first.revision), store.create(A, text("y")))

    assert (gone.revision, fresh.revision) == (2, 3)
    assert store.get(A) is fresh


async def test_lists_are_sorted_and_by_namespace(store: Store) -> None:
    await asyncio.gather(*[store.create(key, text("x")) for key in (OTHER, C, A, B, NODE)])

    assert names(store.list("configmaps").records) == ["default/a", "default/b", "default/c", "other/a"]
    assert names(store.list("configmaps", "other").records) == ["other/a"]
    assert names(store.list("configmaps", "othe").records) == []
    assert names(store.list("nodes").records) == ["/n1"]
    assert store.list("pods").records == ()


async def test_a_list_that_was_handed_out_does_not_change(store: Store) -> None:
    await store.create(A, text("x"))
    before = store.list("configmaps")
    await store.create(B, text("y"))

    assert names(before.records) == ["default/a"]
    assert names(store.list("configmaps").records) == ["default/a", "default/b"]
    assert (before.revision, store.list("configmaps").revision) == (1, 2)


async def test_an_older_list_is_what_it_was(store: Store) -> None:
    a = await store.create(A, text("x"))
    b = await store.create(B, text("x"))
    await store.update(A, text("y"), expected=a.revision)
    await store.delete(B, text("gone"), expected=b.revision)
    await store.create(C, text("z"))
    await store.create(OTHER, text("z"))

    old = store.list_at("configmaps", "default", 2)

    assert [(r.key.name, r.value) for r in old.records] == [("a", b"x@1"), ("b", b"x@2")]
    assert old.revision == 2
    assert names(store.list_at("configmaps", "", 0).records) == []
    assert names(store.list_at("configmaps", "", 6).records) == names(store.list("configmaps").records)
    with pytest.raises(ValueError, match="revision 7 of configmaps is not there yet, the newest is 6"):
        store.list_at("configmaps", "", 7)


async def test_a_watch_sees_its_resource_and_namespace_only_and_in_order(store: Store) -> None:
    everywhere, here = store.watch("configmaps", after=0), store.watch("configmaps", "other", after=0)
    a = await store.create(A, text("x"))
    await store.create(NODE, text("n"))
    await store.create(OTHER, text("x"))
    await store.delete(A, text("gone"), expected=a.revision)

    assert [(c.type, c.revision) for c in await anext(everywhere)] == [("ADDED", 1), ("ADDED", 3), ("DELETED", 4)]
    assert [(c.type, c.revision) for c in await anext(here)] == [("ADDED", 3)]


async def test_a_deletion_carries_the_final_object_and_the_one_before(store: Store) -> None:
    a = await store.create(A, text("x"))
    watcher = store.watch("configmaps", after=store.revision)
    await store.delete(A, text("gone"), expected=a.revision)

    [change] = await anext(watcher)

    assert (change.type, change.revision, change.record.value, change.previous) == ("DELETED", 2, b"gone@2", a)


async def test_a_waiting_watch_wakes_for_each_commit_and_ends_when_closed(store: Store) -> None:
    watcher = store.watch("configmaps", after=0)

    async def collect() -> list[int]:
        return [change.revision async for news in watcher for change in news]

    collecting = asyncio.create_task(collect())
    for key in (A, B, NODE, C):
        await store.create(key, text("x"))
        await asyncio.sleep(0)
    assert watcher.revision == store.revision == 4
    watcher.close()
    watcher.close()

    assert await collecting == [1, 2, 4]


async def test_a_change_wakes_only_the_watch_that_it_may_concern(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    take = Watcher.take

    def look(self: Watcher) -> list[Change]:
        assert self.only is not None
        looks.append(self.only.value)
        return take(self)

    monkeypatch.setattr(Watcher, "take", look)
    watchers = [store.watch("configmaps", after=0, only=Only(NAME, name)) for name in "abc"]
    waiting = [asyncio.create_task(anext(watcher)) for watcher in watchers]
    await asyncio.sleep(0)
    looks.clear()

    await store.create(B, text("x"))

    assert [change.record.key for change in await waiting[1]] == [B]
    assert looks == ["b"]
    for watcher in watchers:
        watcher.close()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_watch_of_one_value_sees_it_come_and_go(store: Store) -> None:
    watcher = store.watch("configmaps", after=0, only=Only("letter", "x"))
    collecting = asyncio.create_task(anext(watcher))
    await asyncio.sleep(0)
    a = await store.create(A, text("y"))
    a = await store.update(A, text("x"), expected=a.revision)

    assert [change.revision for change in await collecting] == [2]

    collecting = asyncio.create_task(anext(watcher))
    a = await store.update(A, text("z"), expected=a.revision)
    await store.update(A, text("y"), expected=a.revision)

    assert [change.revision for change in await collecting] == [3]
    assert watcher.take() == []


async def test_who_sleeps_through_more_than_the_history_keeps_is_not_left_behind(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "hub.sqlite", index=first_letter, history=5)
    watcher = store.watch("configmaps", after=0, only=Only(NAME, "a"))
    waiting = asyncio.create_task(anext(watcher))
    record = await store.create(B, text("x"))
    for _ in range(10):
        record = await store.update(B, text("y"), expected=record.revision)
    assert watcher.revision == store.revision  # what a bookmark may say
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert watcher.take() == []
    waiting = asyncio.create_task(anext(watcher))
    for _ in range(10):
        record = await store.update(B, text("z"), expected=record.revision)

    await store.create(A, text("x"))

    assert [change.record.key for change in await waiting] == [A]
    await store.close()


async def test_a_change_that_comes_as_a_wait_is_given_up_is_told_at_the_next(store: Store) -> None:
    watcher = store.watch("configmaps", after=0, only=Only(NAME, "a"))
    waiting = asyncio.create_task(anext(watcher))
    await asyncio.sleep(0)
    creating = asyncio.create_task(store.create(A, text("x")))

    def give_up(_: list[Change]) -> None:  # just before the watch is told
        waiting.cancel()

    unsubscribe = store.subscribe(give_up)
    await asyncio.gather(waiting, creating, return_exceptions=True)
    unsubscribe()

    told = [] if waiting.cancelled() else waiting.result()

    assert [change.record.key for change in [*told, *watcher.take()]] == [A]


async def test_a_watch_from_the_future_waits_for_it(store: Store) -> None:
    watcher = store.watch("configmaps", after=2)
    for key in (A, B, C):
        await store.create(key, text("x"))

    assert [change.revision for change in await anext(watcher)] == [3]


async def test_a_watcher_that_falls_behind_is_told_so(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "hub.sqlite", index=first_letter, history=5)
    slow = store.watch("configmaps", after=0)
    quiet = store.watch("nodes", after=0)
    record = await store.create(A, text("x"))
    for _ in range(10):
        record = await store.update(A, text("y"), expected=record.revision)

    with pytest.raises(TooOldError, match=r"too old resource version: 0 \(6\)"):
        await anext(slow)
    with pytest.raises(TooOldError):
        store.watch("configmaps", after=5)
    assert [c.revision for c in store.watch("configmaps", after=6).take()] == [7, 8, 9, 10, 11]
    assert quiet.take() == []  # another resource's writes do not push its history out
    with pytest.raises(TooOldError):
        store.list_at("configmaps", "", 5)
    await store.close()


async def test_the_history_is_bounded_in_bytes_too(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "hub.sqlite", index=first_letter, history_bytes=10_000)
    record = await store.create(A, text("x" * 1000))
    quiet = await store.create(NODE, text("n"))
    for _ in range(30):
        record = await store.update(A, text("x" * 1000), expected=record.revision)

    assert 3 <= len(store.watch("configmaps", after=store.revision - 3).take()) <= 9
    with pytest.raises(TooOldError):
        store.watch("configmaps", after=15)
    assert store.watch("nodes", after=0).take()[0].record is quiet
    await store.close()


async def test_closing_the_store_ends_its_watches(store: Store) -> None:
    waiting = asyncio.create_task(anext(store.watch("configmaps", after=0), None))
    await asyncio.sleep(0)

    await store.close()

    assert await waiting is None
    with pytest.raises(StoreClosedError):
        await store.create(A, text("x"))


async def test_closing_finishes_what_waits(store: Store, disk: Disk) -> None:
    writing = asyncio.gather(*[store.create(Key("pods", "d", str(n)), text("x")) for n in range(50)])
    await asyncio.sleep(0)

    again = await reopened(store, disk)

    assert len(await writing) == len(again.list("pods").records) == 50
    await again.close()


async def test_encoded_forms_of_a_change_are_made_once_and_not_kept_for_ever(store: Store) -> None:
    await store.create(A, text("x"))
    [change] = store.watch("configmaps", after=0).take()
    change.cache["line"] = b"encoded"

    assert store.watch("configmaps", after=0).take()[0].cache == {"line": b"encoded"}
    await asyncio.gather(*[store.create(Key("configmaps", "d", str(n)), text("x")) for n in range(300)])
    assert change.cache == {}


async def test_a_subscriber_sees_each_commit_before_its_writer_is_answered(store: Store) -> None:
    order: list[str] = []
    unsubscribe = store.subscribe(lambda changes: order.extend(f"{c.type} {c.record.key.name}" for c in changes))

    await store.create(A, text("x"))
    order.append("answered")
    unsubscribe()
    await store.create(B, text("x"))

    assert order == ["ADDED a", "answered"]


async def test_a_subscriber_that_raises_harms_nobody_else(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: list[Change]) -> None:
        raise RuntimeError("no")

    store.subscribe(broken)

    assert (await store.create(A, text("x"))).revision == 1
    assert "a subscriber of the store failed" in caplog.text


async def test_an_encoder_that_raises_costs_no_revision(store: Store) -> None:
    def broken(_: int) -> bytes:
        raise LookupError("no such default")

    with pytest.raises(LookupError):
        await store.create(A, broken)

    assert (await store.create(A, text("x"))).revision == 1


async def test_a_value_beyond_the_limit_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "VALUE_BYTES", 10)

    with pytest.raises(ValueError, match="configmaps default/a is 14 bytes, the limit is 10"):
        await store.create(A, text("x" * 12))


async def test_what_is_written_in_one_turn_of_the_loop_is_one_transaction(store: Store) -> None:
    batches: list[list[int]] = []
    store.subscribe(lambda changes: batches.append([c.revision for c in changes]))

    await asyncio.gather(*[store.create(key, text("x")) for key in (A, B, C)])

    assert batches == [[1, 2, 3]]


async def test_only_so_many_writes_may_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "WAITING_LIMIT", 3)

    outcome = await asyncio.gather(*[store.create(Key("pods", "d", str(n)), text("x")) for n in range(6)], return_exceptions=True)

    assert [type(o) for o in outcome] == [Record] * 3 + [StoreBusyError] * 3
    await store.create(A, text("x"))


async def test_the_write_of_a_caller_that_went_away_is_kept_and_told(store: Store) -> None:
    writing = asyncio.create_task(store.create(A, text("x")))
    watcher = store.watch("configmaps", after=0)
    await asyncio.sleep(0)
    writing.cancel()

    assert [change.revision for change in await anext(watcher)] == [1]
    assert writing.cancelled()


async def test_after_a_failed_sync_nothing_is_acknowledged_or_shown(store: Store, disk: Disk) -> None:
    await store.create(A, text("x"))
    watcher = store.watch("configmaps", after=store.revision)
    disk.fail_sync = lambda path: disk.failed_syncs == 0

    lost = await asyncio.gather(*[store.create(key, text("x")) for key in (B, C, OTHER)], return_exceptions=True)

    assert [type(o) for o in lost] == [StoreFailedError] * 3
    assert store.failed is not None
    with pytest.raises(StoreFailedError):
        await store.create(NODE, text("x"))
    assert (watcher.take(), store.get(B), store.revision) == ([], None, 1)
    again = await reopened(store, disk)
    assert again.get(A) is not None
    await again.close()


async def test_a_full_disk_refuses_writes_and_what_was_built_on_them_until_there_is_space(store: Store, disk: Disk) -> None:
    a = await store.create(A, text("x"))
    disk.space = 0
    big = "x" * 100_000

    outcome = await asyncio.gather(
        store.create(B, text(big)), store.delete(A, text(big), expected=a.revision), store.create(A, text(big)), return_exceptions=True
    )

    assert [type(o) for o in outcome] == [StoreFullError] * 3
    assert (store.get(A), store.get(B), store.revision) == (a, None, 1)
    disk.space = None
    later = await store.create(B, text(big))
    assert later.revision > 4  # what was refused never comes back under another object
    again = await reopened(store, disk)
    assert [r.revision for r in again.list("configmaps").records] == [1, later.revision]
    await again.close()


async def test_compaction_leaves_what_is_needed_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "GARBAGE_ROWS", 1)
    store = await Store.open(tmp_path / "hub.sqlite", index=first_letter, history=4)
    record = await store.create(A, text("x"))
    gone = await store.create(B, text("x"))
    await store.delete(B, text("gone"), expected=gone.revision)
    for _ in range(20):
        record = await store.update(A, text("y"), expected=record.revision)
    await store.close()

    db = apsw.Connection(str(tmp_path / "hub.sqlite"))
    left = [row[0] for row in db.execute("SELECT revision FROM revisions ORDER BY revision")]
    db.close()
    assert len(left) <= 4 + 1 + 2  # the history, the state at its start, and what was not deleted yet
    assert left[-4:] == [20, 21, 22, 23]


async def test_a_deleted_object_does_not_come_back_and_its_revision_is_not_given_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "GARBAGE_ROWS", 1)
    path = tmp_path / "hub.sqlite"
    store = await Store.open(path, index=first_letter, history=1)
    for _ in range(5):
        record = await store.create(A, text("x"))
        last = await store.delete(A, text("gone"), expected=record.revision)
    await store.close()
    store = await Store.open(path, index=first_letter, history=0)  # forgets the last tombstone as well
    await asyncio.sleep(0.01)
    await store.close()

    store = await Store.open(path, index=first_letter)

    assert (store.get(A), store.revision) == (None, last.revision)
    with pytest.raises(TooOldError):
        store.watch("configmaps", after=last.revision - 1)
    assert (await store.create(A, text("x"))).revision == last.revision + 1
    await store.close()


async def test_a_new_epoch_skips_the_revisions_of_the_lost_time(store: Store, disk: Disk) -> None:
    await store.create(A, text("x"))
    await store.close()

    epoch = start_new_epoch(store.path, skip=1000, vfs=disk.name)
    again = await Store.open(store.path, index=first_letter, vfs=disk.name)

    assert again.epoch == epoch != store.epoch
    assert again.revision == 1001
    assert again.get(A) is not None
    with pytest.raises(TooOldError):
        again.watch("configmaps", after=1)
    with pytest.raises(TooOldError):
        again.list_at("nodes", "", 1)
    assert (await again.create(B, text("y"))).revision == 1002
    await again.close()


async def test_a_second_hub_on_the_same_data_is_refused(store: Store) -> None:
    with pytest.raises(StoreLockedError, match="in use by process"):
        await Store.open(store.path, index=first_letter)


async def test_a_damaged_file_is_refused_at_start(store: Store) -> None:
    await asyncio.gather(*[store.create(Key("pods", "d", str(n)), text("x" * 500)) for n in range(100)])
    await store.close()
    with store.path.open("r+b") as raw:
        raw.seek(8 * 4096)
        raw.write(b"\xff" * 64)

    with pytest.raises(StoreFormatError, match=r"hub.sqlite is damaged .*: restore a backup"):
        await Store.open(store.path, index=first_letter)


async def test_an_index_that_learnt_more_is_asked_again_about_objects_and_history(tmp_path: Path) -> None:
    known = {"letter": False}

    def index(_: Key, value: bytes) -> Index:
        return Index(fields={"letter": value[:1].decode()} if known["letter"] else {})

    store = await Store.open(tmp_path / "hub.sqlite", index=index)
    a = await store.create(A, text("x"))
    await store.update(A, text("y"), expected=a.revision)
    known["letter"] = True

    store.reindex("configmaps")

    assert [r.fields for r in store.list("configmaps").records] == [{"letter": "y"}]
    assert [c.record.fields for c in store.watch("configmaps", after=0).take()] == [{"letter": "x"}, {"letter": "y"}]
    await store.close()


async def test_whoever_waits_is_told_when_the_store_fails(store: Store, disk: Disk) -> None:
    waiting = asyncio.create_task(store.wait_failed())
    disk.fail_sync = lambda path: True

    with pytest.raises(StoreFailedError):
        await store.create(A, text("x"))

    assert (await waiting).http_status == 503
