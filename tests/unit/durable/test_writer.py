"""durable.Writer: one transaction for all that waits, acknowledged after the fsync, latched after a failure."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from skerry.durable import (
    Result,
    StoreBusyError,
    StoreClosedError,
    StoreFailedError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
    Writer,
    checkpoints,
    copy_database,
    quick_check,
    writer,
)
from skerry.durable.connection import BUSY_TIMEOUT_MS
from tests.unit.durable.powercut import Disk, mounted

MIGRATIONS = ["CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)"]


def put(value: str) -> Callable[[apsw.Connection], None]:
    def work(db: apsw.Connection) -> None:
        db.execute("INSERT INTO t(v) VALUES (?)", (value,))

    return work


def values(db: apsw.Connection) -> list[Any]:
    return [row[0] for row in db.execute("SELECT v FROM t ORDER BY id")]


@pytest.fixture
def disk() -> Iterator[Disk]:
    with mounted("writer-tests") as disk:
        yield disk


@pytest.fixture
async def file(tmp_path: Path, disk: Disk) -> AsyncIterator[Writer]:
    opened = await Writer.open(tmp_path / "x.sqlite", MIGRATIONS, vfs=disk.name)
    yield opened
    await opened.close()


async def reopened(file: Writer, disk: Disk) -> list[Any]:
    """Return what is in the file for the next process."""
    await file.close()
    again = await Writer.open(file.path, MIGRATIONS, vfs=disk.name)
    try:
        return await again.read(values)
    finally:
        await again.close()


async def test_a_write_returns_its_value_and_is_there_for_the_next_process(file: Writer, disk: Disk) -> None:
    changed = await file.write(lambda db: (put("a")(db), db.last_insert_rowid())[1])

    assert changed == 1
    assert await reopened(file, disk) == ["a"]


async def test_all_that_waits_is_one_transaction_and_one_sync(file: Writer, disk: Disk) -> None:
    await file.write(put("first"))
    before = disk.syncs

    await asyncio.gather(*[file.write(put(str(n))) for n in range(200)])

    assert disk.syncs - before <= 3
    assert len(await file.read(values)) == 201


async def test_answers_come_in_the_order_of_submission(file: Writer) -> None:
    answered: list[int] = []
    all_answered = asyncio.get_running_loop().create_future()

    def done(number: int, _: Result[None]) -> None:
        answered.append(number)
        if number == 999:
            all_answered.set_result(None)

    for number in range(1_000):
        file.submit(put("x"), partial(done, number))
    await all_answered

    assert answered == list(range(1_000))


async def test_an_item_that_raises_takes_back_only_what_it_did_itself(file: Writer, disk: Disk) -> None:
    def half(db: apsw.Connection) -> None:
        put("half")(db)
        raise ValueError("changed my mind")

    outcome = await asyncio.gather(file.write(put("a")), file.write(half), file.write(put("b")), return_exceptions=True)

    assert [type(o) for o in outcome] == [type(None), ValueError, type(None)]
    assert await reopened(file, disk) == ["a", "b"]


async def test_a_lone_item_that_raises_leaves_nothing(file: Writer) -> None:
    def half(db: apsw.Connection) -> None:
        put("half")(db)
        db.execute("INSERT INTO t(id) VALUES (1)")

    with pytest.raises(apsw.ConstraintError):
        await file.write(half)

    assert file.failed is None
    assert await file.read(values) == []


async def test_nothing_is_acknowledged_after_a_failed_sync_although_the_next_sync_would_succeed(file: Writer, disk: Disk) -> None:
    await file.write(put("kept"))
    disk.fail_sync = lambda path: disk.failed_syncs == 0

    lost = await asyncio.gather(*[file.write(put("lost")) for _ in range(3)], return_exceptions=True)

    assert [type(o) for o in lost] == [StoreFailedError] * 3
    assert file.failed is not None
    with pytest.raises(StoreFailedError, match="takes no writes until it is opened again"):
        await file.write(put("later"))
    assert disk.failed_syncs == 1
    left = await reopened(file, disk)
    assert left[0] == "kept"
    assert "later" not in left


async def test_what_waits_behind_a_failed_sync_fails_too(file: Writer, disk: Disk) -> None:
    disk.fail_sync = lambda path: disk.failed_syncs == 0
    answers: list[Result[None]] = []
    gate = threading.Event()

    def slow(db: apsw.Connection) -> None:
        gate.wait(5)
        put("slow")(db)

    file.submit(slow, answers.append)
    await asyncio.sleep(0)
    for _ in range(writer.GROUP_LIMIT + 1):  # more than the next group takes
        file.submit(put("behind"), answers.append)
    gate.set()
    await file.close()
    await asyncio.sleep(0)

    assert len(answers) == writer.GROUP_LIMIT + 2
    assert all(isinstance(answer.error, StoreFailedError) for answer in answers)


async def test_a_sync_that_fails_in_a_checkpoint_latches(file: Writer, disk: Disk) -> None:
    await file.write(put("kept"))
    disk.fail_sync = lambda path: path.endswith(".sqlite")
    await file.write(lambda db: db.execute("INSERT INTO t(v) VALUES (zeroblob(4200000))") and None)  # acknowledged, then moved
    await file.read(values)

    while file.failed is None:
        await asyncio.sleep(0.001)
    with pytest.raises(StoreFailedError):
        await file.write(put("later"))
    disk.fail_sync = lambda path: False
    assert (await reopened(file, disk))[0] == "kept"


async def test_a_full_disk_refuses_the_write_and_takes_the_next_one_once_there_is_space(file: Writer, disk: Disk) -> None:
    await file.write(put("kept"))
    disk.space = 0

    for _ in range(3):
        with pytest.raises(StoreFullError, match="free some space and try again"):
            await file.write(lambda db: db.execute("INSERT INTO t(v) VALUES (zeroblob(100000))") and None)
    assert file.failed is None
    disk.space = None
    await file.write(put("after"))

    assert await reopened(file, disk) == ["kept", "after"]


async def test_the_wal_stays_bounded(file: Writer) -> None:
    for _ in range(60):
        await file.write(lambda db: db.execute("INSERT INTO t(v) VALUES (zeroblob(300000))") and None)

    wal = file.path.with_name(file.path.name + "-wal")
    assert wal.stat().st_size < 2.5 * checkpoints.CHECKPOINT_PAGES * 4096


async def test_a_reader_that_holds_the_wal_for_long_is_waited_for(file: Writer) -> None:
    for _ in range(4):  # each read keeps the WAL from starting over while writes go on
        reading = asyncio.create_task(file.read(lambda db: [db.execute("SELECT count(*) FROM t").fetchall(), threading.Event().wait(0.05)]))
        for _ in range(30):
            await file.write(lambda db: db.execute("INSERT INTO t(v) VALUES (zeroblob(300000))") and None)
        await reading

    wal = file.path.with_name(file.path.name + "-wal")
    assert wal.stat().st_size < 1.5 * checkpoints.FORCED * checkpoints.CHECKPOINT_PAGES * 4096


async def test_the_wal_stays_bounded_and_writers_hardly_wait_beside_endless_backups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies are always under way, so that hardly ever nobody reads (F45)."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_PAGES", 50)
    file = await Writer.open(tmp_path / "x.sqlite", MIGRATIONS)
    for _ in range(100):
        await file.write(lambda db: db.execute("INSERT INTO t(v) VALUES (zeroblob(100000))") and None)
    stop, copied = threading.Event(), [0, 0]

    def copy_for_ever(number: int) -> None:
        while not stop.is_set():
            target = tmp_path / f"copy-{number}"
            target.unlink(missing_ok=True)
            copy_database(file.path, target)
            copied[number] += 1

    def change(number: int) -> Callable[[apsw.Connection], Any]:
        return lambda db: db.execute("UPDATE t SET v=zeroblob(100000) WHERE id=?", (number % 100 + 1,)) and None

    copies = [asyncio.create_task(asyncio.to_thread(copy_for_ever, number)) for number in range(2)]
    wal, largest, longest, now = file.path.with_name(file.path.name + "-wal"), 0, 0.0, asyncio.get_running_loop().time
    try:
        for number in itertools.count():
            if number >= 2_000 and (min(copied) > 1 or number >= 100_000):
                break
            began = now()
            await file.write(change(number))
            longest = max(longest, now() - began)
            largest = max(largest, wal.stat().st_size)
    finally:
        stop.set()
        await asyncio.gather(*copies)
        await file.close()

    assert min(copied) > 1
    assert largest < 1.5 * checkpoints.URGENT * 50 * 4096  # 10 of the 200 MB that were written
    assert longest < BUSY_TIMEOUT_MS / 1000


async def test_the_same_file_is_refused_to_a_second_writer_until_it_is_closed(file: Writer, disk: Disk) -> None:
    with pytest.raises(StoreLockedError, match=f"in use by process {os.getpid()}"):
        await Writer.open(file.path, MIGRATIONS)

    await file.write(put("a"))
    assert await reopened(file, disk) == ["a"]


async def test_closing_finishes_what_waits_and_takes_nothing_more(file: Writer, disk: Disk) -> None:
    answers: list[Result[None]] = []
    for _ in range(10):
        file.submit(put("x"), answers.append)

    await file.close()
    await file.close()

    assert [answer.error for answer in answers] == [None] * 10
    with pytest.raises(StoreClosedError):
        await file.write(put("later"))
    with pytest.raises(StoreClosedError):
        await file.read(values)


async def test_only_so_many_writes_may_wait(file: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAITING_LIMIT", 2)
    waiting = [asyncio.ensure_future(file.write(put("x"))) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(StoreBusyError, match="2 writes wait"):
        await file.write(put("one too many"))
    await asyncio.gather(*waiting)
    await file.write(put("now"))


async def test_only_so_many_reads_may_wait(file: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "READS_LIMIT", 1)
    waiting = asyncio.ensure_future(file.read(values))
    await asyncio.sleep(0)

    with pytest.raises(StoreBusyError, match="1 reads wait"):
        await file.read(values)
    assert await waiting == []


async def test_a_read_cannot_write(file: Writer) -> None:
    with pytest.raises(apsw.ReadOnlyError):
        await file.read(put("x"))


async def test_the_write_of_a_cancelled_caller_still_happens(file: Writer, disk: Disk) -> None:
    task = asyncio.create_task(file.write(put("x")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await reopened(file, disk) == ["x"]


async def test_a_work_that_commits_by_itself_is_caught(file: Writer) -> None:
    with pytest.raises(StoreFailedError, match="ended the transaction that it shares"):
        await file.write(lambda db: db.execute("COMMIT") and None)


async def test_an_answer_that_raises_harms_nobody_else(file: Writer, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Result[None]) -> None:
        raise RuntimeError("no")

    file.submit(put("a"), broken)
    await file.write(put("b"))

    assert await file.read(values) == ["a", "b"]
    assert "answer was not taken" in caplog.text


async def test_migrations_run_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with pytest.raises(StoreFailedError, match="no such table"):
        await Writer.open(path, [*MIGRATIONS, "INSERT INTO t(v) VALUES ('half'); INSERT INTO nowhere VALUES (1)"])

    again = await Writer.open(path, [*MIGRATIONS, "INSERT INTO t(v) VALUES ('whole')"])
    await again.close()
    third = await Writer.open(path, [*MIGRATIONS, "INSERT INTO t(v) VALUES ('whole')"])

    assert await third.read(values) == ["whole"]
    await third.close()


async def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    await (await Writer.open(path, [*MIGRATIONS, "CREATE TABLE later(x)"])).close()

    with pytest.raises(StoreFormatError, match="has format 2, this version of skerry knows up to 1"):
        await Writer.open(path, MIGRATIONS)


async def test_another_programs_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE theirs(x)")
    other.close()
    before = path.read_bytes()

    with pytest.raises(StoreFormatError, match="another program's database"):
        await Writer.open(path, MIGRATIONS)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(b"hello" * 1000)

    with pytest.raises(StoreFormatError, match="is not a database"):
        await Writer.open(path, MIGRATIONS)


async def test_a_damaged_page_is_found_by_the_check(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    file = await Writer.open(path, MIGRATIONS)
    for _ in range(300):
        await file.write(put("some value that takes a few bytes"))
    assert await file.read(quick_check) == []
    await file.close()
    with path.open("r+b") as raw:
        raw.seek(2 * 4096)
        raw.write(b"\xff" * 64)

    file = await Writer.open(path, MIGRATIONS)
    assert await file.read(quick_check) != []
    await file.close()


async def test_files_are_readable_by_their_owner_only(file: Writer) -> None:
    await file.write(put("secret"))

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in file.path.parent.iterdir()}
    assert set(modes.values()) == {"0o600"}
    assert "x.sqlite-wal" in modes


async def test_a_folder_that_does_not_exist_is_an_error_of_open(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await Writer.open(tmp_path / "nowhere" / "x.sqlite", MIGRATIONS)
