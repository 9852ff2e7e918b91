"""Backup and restore: whole or refused, unreadable without the key, and no revision is ever given out twice (T15, F33, F34)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skerry.apiserver.access.audit import AuditLog, verify
from skerry.apiserver.access.audit.chain import unlink
from skerry.apiserver.access.audit.events import Entry
from skerry.apiserver.access.audit.files import Head, files_in, write_head
from skerry.apiserver.http.message import User
from skerry.apiserver.store import Index, Key, RingVault, Store, TooOldError
from skerry.hub.backup import BackupError, Manifest, back_up, inspect, make_key_file, read_key_file, restore
from skerry.hub.backup.envelope import PIECE_BYTES
from skerry.hub.data_folder import AUDIT, KEY_RING, PKI, STORE, remember_store, restored_from

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MADE = "2026-11-23T00:00:00Z"
SECRET = Key("secrets", "default", "db")
CANARY = b"canary-9e21-in-clear"


def quiet(text: str) -> None:
    pass


async def opened(data: Path) -> Store:
    return await Store.open(data / STORE, index=lambda key, value: Index(), vault=RingVault.open(data / PKI / KEY_RING, made=MADE))


async def fill(store: Store, count: int, prefix: str = "c") -> None:
    await store.create(SECRET, lambda revision: CANARY)
    await asyncio.gather(
        *[store.create(Key("configmaps", "d", f"{prefix}{n}"), lambda revision: CANARY + os.urandom(2000)) for n in range(count)]
    )


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The folder of a hub that has stopped: 300 ConfigMaps and a Secret."""
    folder = tmp_path / "hub"
    (folder / PKI).mkdir(parents=True)
    (folder / PKI / "ca.key").write_bytes(b"the key of the CA")
    store = await opened(folder)
    await fill(store, 300)
    remember_store(folder, store.identity)
    await store.close()
    return folder


@pytest.fixture
def key(tmp_path: Path) -> bytes:
    return make_key_file(tmp_path / "backup.key")


def made(data: Path, key: bytes) -> Manifest:
    return back_up(data, data.parent / "backup", key, now=NOW, say=quiet)


def put_back(data: Path, key: bytes, *, to: str = "again", now: datetime = NOW) -> Path:
    folder = data.parent / to
    restore(data.parent / "backup", folder, key, now=now, say=quiet)
    return folder


async def test_what_was_backed_up_is_there_again_in_a_new_epoch(data: Path, key: bytes) -> None:
    before = await opened(data)
    wanted = {r.key: r.value for name in ("configmaps", "secrets") for r in before.list(name).records}
    await before.close()

    manifest = made(data, key)
    after = await opened(put_back(data, key))

    assert {r.key: r.value for name in ("configmaps", "secrets") for r in after.list(name).records} == wanted
    assert manifest.objects == {"configmaps": 300, "secrets": 1}
    assert (after.identity, after.epoch == before.epoch) == (before.identity, False)
    assert (data.parent / "again" / PKI / "ca.key").read_bytes() == b"the key of the CA"
    for watched in (1, before.revision, before.revision + 10_000):
        with pytest.raises(TooOldError):
            after.watch("configmaps", after=watched)
    await after.close()


async def test_no_revision_is_given_out_twice_whatever_is_restored_and_how_often(data: Path, key: bytes) -> None:
    """The original goes on after its backup; the same old backup is restored twice, a later one once."""
    made(data, key)
    given: list[int] = []

    async def write(folder: Path, name: str) -> None:
        store = await opened(folder)
        given.append((await store.create(Key("configmaps", "d", name), lambda revision: b"x")).revision)
        await store.close()

    await write(data, "lost")
    await write(put_back(data, key, to="first", now=NOW), "one")
    await write(put_back(data, key, to="second", now=NOW + timedelta(seconds=1)), "two")
    back_up(data.parent / "second", data.parent / "later", key, now=NOW, say=quiet)
    restore(data.parent / "later", data.parent / "third", key, now=NOW - timedelta(days=3650), say=quiet)  # and a clock that went back
    await write(data.parent / "third", "three")

    assert given == sorted(given)
    assert len(set(given)) == 4
    assert max(given) < 2**53  # exact for whoever reads numbers as doubles


async def test_two_restores_under_a_clock_of_1970_share_no_revision(data: Path, key: bytes) -> None:
    made(data, key)
    began = []
    for name in ("first", "second"):
        store = await opened(put_back(data, key, to=name, now=datetime(1970, 1, 1, tzinfo=UTC)))
        began.append(store.revision)
        await store.close()

    assert abs(began[0] - began[1]) > 1000
    assert min(began) > 1_700_000_000_000_000
    assert max(began) < 2**53
    assert restored_from(data.parent / "first" / PKI) == inspect(data.parent / "backup", key).revision


async def test_a_backup_beside_writers_is_one_moment_and_holds_them_up_for_no_time(data: Path, key: bytes) -> None:
    store = await opened(data)
    stop = asyncio.Event()
    waits: list[float] = []

    async def write() -> None:
        pairs = 0
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            await store.create(Key("configmaps", "pairs", f"a{pairs}"), lambda revision: b"x" * 500)
            await store.create(Key("configmaps", "pairs", f"b{pairs}"), lambda revision: b"x" * 500)
            waits.append(loop.time() - began)
            pairs += 1

    writer = asyncio.create_task(write())
    try:
        for n in range(5):
            await asyncio.to_thread(back_up, data, data.parent / f"b{n}", key, now=NOW, say=quiet)
    finally:
        stop.set()
        await writer
        await store.close()

    assert len(waits) > 5
    for n in range(5):
        restore(data.parent / f"b{n}", data.parent / f"r{n}", key, now=NOW, say=quiet)
        restored = await opened(data.parent / f"r{n}")
        names = {r.key.name for r in restored.list("configmaps", "pairs").records}
        firsts, seconds = {x[1:] for x in names if x[0] == "a"}, {x[1:] for x in names if x[0] == "b"}
        assert seconds <= firsts
        assert len(firsts - seconds) <= 1
        await restored.close()


async def test_a_backup_in_the_middle_of_rotations_has_every_key_that_it_needs(data: Path, key: bytes) -> None:
    store = await opened(data)
    assert store.rotation is not None
    for n in range(100):
        await store.create(Key("secrets", "d", f"s{n}"), lambda revision: CANARY)
    stop = asyncio.Event()

    async def rotate() -> int:
        assert store.rotation is not None
        rotations = 0
        while not stop.is_set():
            await store.rotation.rotate(MADE)
            rotations += 1
            await asyncio.sleep(0.01)
        return rotations

    rotating = asyncio.create_task(rotate())
    for n in range(6):
        await asyncio.to_thread(back_up, data, data.parent / f"b{n}", key, now=NOW, say=quiet)
    stop.set()
    rotations = await rotating
    await store.close()

    assert rotations > 0
    for n in range(6):
        restore(data.parent / f"b{n}", data.parent / f"r{n}", key, now=NOW, say=quiet)
        again = await opened(data.parent / f"r{n}")
        assert {r.value for r in again.list("secrets").records} == {CANARY}
        assert again.rotation is not None
        await again.rotation.resume()
        assert len(await again.rotation.keys()) == 1
        await again.close()


async def test_a_backup_larger_than_any_cache_is_whole(data: Path, key: bytes) -> None:
    store = await opened(data)
    await asyncio.gather(*[store.create(Key("configmaps", "d", f"large{n}"), lambda revision: os.urandom(100_000)) for n in range(200)])
    manifest = await asyncio.to_thread(
        back_up, data, data.parent / "backup", key, now=NOW, say=quiet
    )  # much of it is in the write-ahead log
    await store.close()

    again = await opened(put_back(data, key))

    assert manifest.objects["configmaps"] == len(again.list("configmaps").records) == 500
    assert not (await again.scrub.run()).findings
    await again.close()


async def test_nothing_in_a_backup_can_be_read_without_the_key(data: Path, key: bytes) -> None:
    made(data, key)

    content = (data.parent / "backup").read_bytes()

    assert CANARY not in content
    assert b"SQLite format 3" not in content
    assert b"key of the CA" not in content
    assert (data.parent / "backup").stat().st_mode & 0o777 == 0o600


async def test_another_key_opens_nothing(data: Path, key: bytes, tmp_path: Path) -> None:
    made(data, key)

    with pytest.raises(BackupError, match=r"was made with the key \w+, and this is the key \w+"):
        put_back(data, make_key_file(tmp_path / "other.key"))

    assert not (data.parent / "again").exists()


async def test_no_altered_or_shortened_backup_is_restored(data: Path, key: bytes) -> None:
    made(data, key)
    path = data.parent / "backup"
    whole = path.read_bytes()
    assert len(whole) > 2 * PIECE_BYTES
    cuts: list[Callable[[], bytes]] = [
        *(lambda end=end: whole[:end] for end in (0, 10, 56, 57, PIECE_BYTES + 72, len(whole) - 1)),
        lambda: whole + b"\0",
        lambda: whole[:56] + whole[56 + PIECE_BYTES + 16 :],  # without the first piece
        *(lambda at=at: _flipped(whole, at) for at in range(0, len(whole), len(whole) // 40)),
    ]

    for cut in cuts:
        path.write_bytes(cut())
        with pytest.raises(BackupError):
            put_back(data, key)
        assert sorted(p.name for p in data.parent.iterdir()) == ["backup", "backup.key", "hub"]


def _flipped(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 0x10
    return bytes(changed)


@pytest.mark.parametrize("left", [f"{STORE}-wal", f"{STORE}-shm", STORE, "notes.txt"])
async def test_a_restore_goes_into_an_empty_folder_only(data: Path, key: bytes, left: str) -> None:
    made(data, key)
    folder = data.parent / "again"
    folder.mkdir()
    (folder / left).write_bytes(b"of another life")

    with pytest.raises(BackupError, match=rf"is not empty \({left}\)"):
        put_back(data, key)

    assert [p.name for p in folder.iterdir()] == [left]


async def test_an_empty_folder_is_taken_as_it_is(data: Path, key: bytes) -> None:
    made(data, key)
    (data.parent / "again").mkdir()

    store = await opened(put_back(data, key))

    assert store.get(SECRET) is not None
    await store.close()


async def test_a_damaged_hub_is_not_backed_up(data: Path, key: bytes) -> None:
    with (data / STORE).open("r+b") as file:
        file.seek(20 * 4096 + 100)
        file.write(b"\xff")

    with pytest.raises(BackupError, match="cannot be backed up"):
        made(data, key)

    assert sorted(p.name for p in data.parent.iterdir()) == ["backup.key", "hub"]
    assert not list(data.glob(".backup-*"))


async def test_a_hub_whose_keys_are_gone_is_not_backed_up(data: Path, key: bytes) -> None:
    (data / PKI / KEY_RING).unlink()

    with pytest.raises(BackupError, match=r"the key ring .* is missing"):
        made(data, key)

    assert not (data / PKI / KEY_RING).exists()


async def test_looking_into_a_backup_says_what_is_in_it(data: Path, key: bytes) -> None:
    manifest = made(data, key)

    assert inspect(data.parent / "backup", key) == manifest
    assert {file.path for file in manifest.files} == {STORE, f"{PKI}/ca.key", f"{PKI}/{KEY_RING}", f"{PKI}/store"}


async def test_a_backup_knows_the_audit_logs_last_line_so_that_a_log_written_anew_is_found(data: Path, key: bytes) -> None:
    """A log whose end is cut off and whose head is written anew verifies by itself: only what lies elsewhere can tell."""
    log = AuditLog(data / AUDIT, batch_s=0.0)
    for number in range(5):
        log.note(Entry(str(number), 0.0, 0.0, "create", "/x", "", User("eve"), None, "", "", None, 201))
    log.close(30)
    made(data, key)
    last, digest = inspect(data.parent / "backup", key).audit.split(":")
    (file,) = files_in(data / AUDIT)
    lines = file.read_bytes().splitlines(keepends=True)[:3]
    file.write_bytes(b"".join(lines))
    write_head(data / AUDIT, Head(3, (unlink(lines[-1][:-1]) or (b"", ""))[1]))

    assert verify(data / AUDIT).whole
    assert not verify(data / AUDIT, expect=(int(last), digest)).whole


async def test_a_backup_is_not_written_over_another(data: Path, key: bytes) -> None:
    made(data, key)

    with pytest.raises(BackupError, match="exists already"):
        made(data, key)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), ("\n", "is empty"), ("AAAA", "is not a backup key"), ("skerry-backup-key:" + "A" * 43 + "=", "is not")],
)
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(BackupError, match=message):
        read_key_file(path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    make_key_file(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)

    with pytest.raises(BackupError, match="may be read by others"):
        read_key_file(tmp_path / "key")


def test_a_key_is_made_once_and_read_as_it_was_made(tmp_path: Path) -> None:
    key = make_key_file(tmp_path / "key")

    assert read_key_file(tmp_path / "key") == key
    with pytest.raises(BackupError, match="cannot be made"):
        make_key_file(tmp_path / "key")
