"""Power cuts: the disk forgets what was not synced, at any operation, and no acknowledged write is lost (F4, F5, F45).

SKERRY_SEED repeats a run; every failure names its seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from skerry.apiserver.store import Key, RefusedError, Store, TooOldError
from skerry.apiserver.store import store as store_module
from skerry.durable import StoreError, checkpoints, connection, group, writer
from skerry.durable.group import Result, Work
from tests.unit.durable.powercut import Disk, Survivors, mounted
from tests.unit.store.checks import Asked, Journal, create, delete, no_index, state_faults, state_of, update, watch_faults

# Errors that SQLite itself passes over have nowhere else to go.
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*the power is off:pytest.PytestUnraisableExceptionWarning")

KEYS = [Key("pods", f"n{n % 2}", f"p{n}") for n in range(8)]
HISTORY = 12
CLIENTS = 4
FILE = "hub.sqlite"
CUTS = 5_000 if os.environ.get("SKERRY_SOAK") else 300
SURVIVORS: tuple[Survivors, ...] = ("nothing", "everything", "some sectors")


@pytest.fixture(autouse=True)
def everything_happens_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_PAGES", 12)
    monkeypatch.setattr(store_module, "GARBAGE_ROWS", 5)


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("SKERRY_SEED") or secrets.randbelow(10**9))
    print(f"repeat with SKERRY_SEED={seed}")
    return seed


async def one_client(store: Store, journal: Journal, rng: random.Random) -> None:
    """Write until the store refuses, to objects that the other clients write to as well."""
    while True:
        key, text = rng.choice(KEYS), rng.randbytes(rng.choice((10, 900, 6000))).hex().encode()
        found = store.get(key)
        try:
            if found is None:
                await create(store, journal, key, text)
            elif rng.random() < 0.3:
                await delete(store, journal, key, expected=found.revision)
            else:
                await update(store, journal, key, text, expected=found.revision)
        except RefusedError:
            await asyncio.sleep(0)
        except StoreError:
            return


async def life_until_cut(disk: Disk, folder: Path, journal: Journal, rng: random.Random) -> None:
    """Open the store, write with several clients at once, and end in the dark."""
    disk.dark_at = rng.randrange(1, 150)
    try:
        store = await Store.open(folder / FILE, index=no_index, history=HISTORY, vfs=disk.name)
    except StoreError:
        return  # dark before it was open
    await asyncio.gather(*[one_client(store, journal, random.Random(rng.random())) for _ in range(CLIENTS)])
    await store.close()


def file_faults(path: Path) -> list[str]:
    """Ask SQLite itself, without any code of ours."""
    db = apsw.Connection(str(path))
    found = [row[0] for row in db.execute("PRAGMA integrity_check")]
    db.close()
    return [] if found == ["ok"] else found


async def faults_after_cut(folder: Path, journal: Journal, history: Sequence[Asked]) -> tuple[list[str], Journal]:
    """Open what remained; return what is wrong with it, and the journal of the next life."""
    store = await Store.open(folder / FILE, index=no_index, history=HISTORY)
    try:
        state = state_of(store, ["pods"])
        faults = file_faults(folder / FILE) + state_faults(journal, revision=store.revision, state=state)
        asked = [*history, *journal.asked]
        for after in range(max(0, store.revision - 2 * HISTORY), store.revision + 1):
            try:
                watcher = store.watch("pods", after=after)
            except TooOldError:
                if sum(after < a.revision <= store.revision for a in asked) <= HISTORY:
                    faults.append(f"a watch after {after} was refused, although the history reaches further back")
                continue
            faults += watch_faults(asked, watcher.take(), after=after, until=store.revision)
            watcher.close()
        return faults, Journal(base=state, base_revision=store.revision)
    finally:
        await store.close()


async def cuts(tmp_path: Path, *, rounds: int, rng: random.Random) -> tuple[list[str], int]:
    """Be cut *rounds* times, each life on what the last cut left; return the faults of the first bad cut, and how much was answered."""
    folder, journal, answered = tmp_path / "0", Journal(), 0
    history: list[Asked] = []
    folder.mkdir()
    for number in range(1, rounds + 1):
        after, survivors = tmp_path / str(number), rng.choice(SURVIVORS)
        after.mkdir()
        with mounted(f"power-{number}") as disk:
            for path in folder.glob(f"{FILE}*"):
                disk.adopt(path)
            await life_until_cut(disk, folder, journal, rng)
            disk.restore_to(after, survivors, rng)
        answered += len(journal.answered)
        try:
            faults, following = await faults_after_cut(after, journal, history)
        except StoreError as error:
            faults, following = [f"does not open again: {error}"], journal
        if faults:
            return [f"cut {number}, {survivors} of the unsynced survived", *faults], answered
        history = [a for a in [*history, *journal.asked] if a.revision <= following.base_revision][-100:]
        folder, journal = after, following
    return [], answered


async def test_thirty_power_cuts_lose_no_acknowledged_write(tmp_path: Path, seed: int) -> None:
    faults, answered = await cuts(tmp_path, rounds=30, rng=random.Random(seed))

    assert faults == [], f"SKERRY_SEED={seed}"
    assert answered > 30  # the promise was put to a test


@pytest.mark.slow
async def test_hundreds_of_power_cuts_lose_no_acknowledged_write(tmp_path: Path, seed: int) -> None:
    faults, answered = await cuts(tmp_path, rounds=CUTS, rng=random.Random(seed + 1))

    assert faults == [], f"SKERRY_SEED={seed}"
    assert answered > CUTS


async def test_a_store_that_acknowledges_without_a_sync_is_found_out(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pragmas = connection._WRITER_PRAGMAS
    monkeypatch.setattr(connection, "_WRITER_PRAGMAS", (*pragmas, "synchronous=OFF"))

    faults, _ = await cuts(tmp_path, rounds=60, rng=random.Random(seed))

    assert faults, f"SKERRY_SEED={seed}"


async def test_a_store_that_acknowledges_before_its_commit_is_found_out(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(db: apsw.Connection, works: Sequence[Work[Any]]) -> list[Result[Any]]:
        """Commit a group only when the next one comes."""
        try:
            if db.in_transaction:
                db.execute("COMMIT")
            db.execute("BEGIN IMMEDIATE")
            return [Result(work(db)) for work in works]
        except apsw.Error as error:
            raise group.GroupLostError(error) from error

    monkeypatch.setattr(writer, "run_group", hasty)

    faults, _ = await cuts(tmp_path, rounds=60, rng=random.Random(seed))

    assert any("was acknowledged, but the store is back at" in fault for fault in faults), f"SKERRY_SEED={seed}"


@pytest.mark.parametrize("survivors", ["nothing", "everything"])
async def test_a_failed_sync_is_never_followed_by_an_acknowledged_write(tmp_path: Path, seed: int, survivors: Any) -> None:
    """F6: the next sync would succeed, and what it acknowledged would be behind a hole in the file."""
    rng = random.Random(seed)
    for number in range(10):
        journal, folder = Journal(), tmp_path / f"{survivors}{number}"
        (folder / "after").mkdir(parents=True)
        with mounted("fsync") as disk:
            store = await Store.open(folder / FILE, index=no_index, history=HISTORY, vfs=disk.name)
            fails_at = disk.syncs + rng.randrange(1, 40)
            disk.fail_sync = lambda path, disk=disk, at=fails_at: disk.syncs == at  # type: ignore[misc]
            answered_at_failure: list[int] = []
            await asyncio.gather(*[one_client(store, journal, random.Random(rng.random())) for _ in range(CLIENTS)])
            answered_at_failure.append(len(journal.answered))
            for _ in range(3):
                with pytest.raises(StoreError):
                    await create(store, journal, Key("pods", "n0", "later"), b"x")
            disk.restore_to(folder / "after", survivors, rng)
            await store.close()

        faults, _ = await faults_after_cut(folder / "after", journal, [])

        assert disk.failed_syncs == 1
        assert answered_at_failure == [len(journal.answered)]
        assert faults == [], f"SKERRY_SEED={seed}"
