"""A disk that is really full: writes are refused, deletes still work, and all is well once there is space again (F7)."""

from __future__ import annotations

import asyncio
import errno
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from skerry.apiserver.store import Index, Key, Store
from skerry.durable import StoreFullError
from tests.e2e.edge import slowness
from tests.e2e.hub_process import HubProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB of its own; only root can have one."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(tmp_path)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


async def open_store(folder: Path) -> Store:
    return await Store.open(folder / "hub.sqlite", index=lambda key, value: Index(), history=50)


async def fill(store: Store) -> int:
    """Create objects of 30 kB until the store refuses; return how many it took."""
    for taken in range(10_000):
        try:
            await store.create(Key("pods", "d", f"p{taken}"), lambda revision: b"%d" % revision + b"x" * 30_000)
        except StoreFullError:
            return taken
    raise AssertionError("the small disk took everything")


def take_the_rest(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


async def test_a_full_disk_refuses_growth_takes_deletes_and_recovers(small_disk: Path) -> None:
    store = await open_store(small_disk)
    taken = await fill(store)

    for n in range(0, taken, 2):
        record = store.get(Key("pods", "d", f"p{n}"))
        assert record is not None
        await store.delete(record.key, lambda revision: b"gone", expected=record.revision)
    await store.close()
    store = await open_store(small_disk)

    assert len(store.list("pods").records) == taken // 2
    await store.close()


async def test_writes_are_taken_again_soon_after_something_else_made_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(22 << 20))
    store = await open_store(small_disk)
    await fill(store)
    ballast.unlink()

    async with asyncio.timeout(60):
        while True:
            try:
                await store.create(Key("pods", "d", "after"), lambda revision: b"x")
                break
            except StoreFullError:
                await asyncio.sleep(0.05)
    await store.close()


async def test_when_others_take_the_last_byte_nothing_acknowledged_is_lost(small_disk: Path) -> None:
    store = await open_store(small_disk)
    kept = await fill(store)
    ballast = small_disk / "ballast"
    take_the_rest(ballast)

    refused = 0
    for n in range(kept):
        record = store.get(Key("pods", "d", f"p{n}"))
        assert record is not None
        try:
            await store.delete(record.key, lambda revision: b"x" * 30_000, expected=record.revision)
        except StoreFullError:
            refused += 1
    assert refused > 0
    assert store.failed is None
    left = {record.key for record in store.list("pods").records}
    ballast.unlink()
    await store.close()

    db = apsw.Connection(str(small_disk / "hub.sqlite"))
    assert [row[0] for row in db.execute("PRAGMA integrity_check")] == ["ok"]
    db.close()
    store = await open_store(small_disk)
    assert {record.key for record in store.list("pods").records} == left
    await store.close()


def test_a_hub_on_a_full_disk_says_so_takes_deletes_and_recovers(small_disk: Path) -> None:
    """507 for what grows, 200 for deletes (of an object with a finalizer too), and 201 within 10 s of new space."""
    hub = HubProcess(small_disk)
    hub.start()
    try:
        maps = "/api/v1/namespaces/default/configmaps"
        held = {"metadata": {"name": "held", "finalizers": ["example.org/hold"]}}
        assert hub.request("POST", maps, held).status == 201
        status, made = 201, 0
        while status == 201 and made < 200:
            status, text = hub.request("POST", maps, {"metadata": {"name": f"m{made}"}, "data": {"x": "x" * 700_000}})
            made += 1
        assert status == 507, text
        assert json.loads(text)["reason"] == "InsufficientStorage"
        assert hub.request("GET", "/readyz").status == 200

        assert hub.request("DELETE", f"{maps}/held").status == 200
        patch = {"metadata": {"finalizers": None}}
        assert hub.request("PATCH", f"{maps}/held", patch, headers={"Content-Type": "application/merge-patch+json"}).status == 200
        assert hub.request("GET", f"{maps}/held").status == 404
        subprocess.run(["mount", "-o", "remount,size=96m", str(small_disk)], check=True)
        end = time.monotonic() + 10 * slowness()
        while hub.request("POST", maps, {"metadata": {"name": "after"}}).status == 507:
            assert time.monotonic() < end, "10 s after there was space, writes are still refused"
            time.sleep(0.1)

        assert hub.request("GET", f"{maps}/after").status == 200
    finally:
        hub.stop()
