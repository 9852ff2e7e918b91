"""A bit that flips in any page of the file is found at the start or by the scrub, and what is served is never wrong (F12)."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from pathlib import Path

import apsw
import pytest

from skerry.apiserver.store import Index, Key, RingVault, Store
from skerry.durable import StoreFormatError

PAGE = 4096
OFFSETS = 24 if os.environ.get("SKERRY_SOAK") else 3


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("SKERRY_SEED") or secrets.randbelow(10**9))
    print(f"repeat with SKERRY_SEED={seed}")
    return seed


async def opened(folder: Path) -> Store:
    vault = RingVault.open(folder / "ring", made="2026-11-23T00:00:00Z")
    return await Store.open(folder / "hub.sqlite", index=lambda key, value: Index(), history=20, vault=vault)


def state(store: Store) -> dict[Key, bytes]:
    return {r.key: r.value for resource in ("configmaps", "secrets") for r in store.list(resource).records}


async def a_file(folder: Path) -> dict[Key, bytes]:
    """Make a file with small and large values, free pages, floors and sealed rows; returns what it holds."""
    store = await opened(folder)
    rng = random.Random(1)
    keys = [Key("secrets" if n % 5 == 0 else "configmaps", "d", f"o{n}") for n in range(60)]
    await asyncio.gather(*[store.create(key, lambda revision: rng.randbytes(rng.choice((40, 900, 9000)))) for key in keys])
    for key in keys[::3]:
        found = store.get(key)
        assert found is not None
        await store.delete(key, lambda revision: b"gone", expected=found.revision)
    for number in range(40):
        found = store.get(keys[1])
        assert found is not None
        await store.update(keys[1], lambda revision, number=number: b"%d" % number * 3000, expected=found.revision)  # type: ignore[misc]
    held = state(store)
    await store.close()
    db = apsw.Connection(str(folder / "hub.sqlite"), vfs="cksmvfs")
    db.execute("DELETE FROM revisions WHERE revision IN (SELECT revision FROM revisions WHERE name='o1' ORDER BY revision LIMIT 20)")
    assert next(iter(db.execute("PRAGMA freelist_count")))[0] > 0
    db.close()
    return held


async def found_by(folder: Path, held: dict[Key, bytes]) -> str:
    """Return what noticed that the file is damaged: "start", "scrub", or "nothing"."""
    try:
        store = await opened(folder)
    except StoreFormatError:
        return "start"
    try:
        assert state(store) == held  # never a wrong value, whatever the file holds
        report = await store.scrub.run()
        return "scrub" if report.findings else "nothing"
    finally:
        await store.close()


@pytest.mark.slow
async def test_a_flipped_bit_in_any_page_is_found_and_never_served(tmp_path: Path, seed: int) -> None:
    held = await a_file(tmp_path)
    path, rng = tmp_path / "hub.sqlite", random.Random(seed)
    whole = path.read_bytes()
    pages = len(whole) // PAGE
    header = [0, 15, 16, 18, 19, 20, 21, 24, 28, 36, 40, 44, 56, 60, 63, 68, 92, 96, 99, 100, PAGE - 8, PAGE - 1]
    places = header + [page * PAGE + rng.randrange(PAGE) for page in range(pages) for _ in range(OFFSETS)]
    assert await found_by(tmp_path, held) == "nothing"
    by = {"start": 0, "scrub": 0}
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)

        found = await found_by(tmp_path, held)

        assert found != "nothing", f"SKERRY_SEED={seed}: a bit of byte {place % PAGE} of page {place // PAGE + 1} of {pages}"
        by[found] += 1
        for left in tmp_path.glob("hub.sqlite-*"):
            left.unlink()
    assert by["start"] > pages
    assert by["scrub"] > 0  # free pages: nothing else reads them


async def test_a_file_that_was_cut_off_is_refused_wherever_it_ends(tmp_path: Path, seed: int) -> None:
    held = await a_file(tmp_path)
    path, rng = tmp_path / "hub.sqlite", random.Random(seed)
    whole = path.read_bytes()
    lengths = [1, 16, 99, 100, 511, 512, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, len(whole) - PAGE, len(whole) - 1]

    for length in lengths + [rng.randrange(1, len(whole)) for _ in range(20)]:
        path.write_bytes(whole[:length])

        assert await found_by(tmp_path, held) == "start", f"SKERRY_SEED={seed}: {length} of {len(whole)} bytes"

        for left in tmp_path.glob("hub.sqlite-*"):
            left.unlink()


async def test_a_bit_that_flips_while_the_store_is_open_is_named_by_the_scrub_and_not_served(tmp_path: Path) -> None:
    await a_file(tmp_path)
    store = await opened(tmp_path)
    victim = max(store.list("configmaps").records, key=lambda r: len(r.value))
    where = (tmp_path / "hub.sqlite").read_bytes().index(victim.value[-3000:-2000])
    with (tmp_path / "hub.sqlite").open("r+b") as file:
        file.seek(where)
        byte = file.read(1)[0]
        file.seek(where)
        file.write(bytes([byte ^ 1]))

    report = await store.scrub.run()

    assert store.get(victim.key) is victim
    assert any(f"page {where // PAGE + 1} of" in finding for finding in report.findings)
    assert any(str(victim.key) in finding for finding in report.findings)
    assert store.scrub.last is report
    await store.close()


async def test_what_another_program_changed_is_found_by_the_scrub(tmp_path: Path) -> None:
    held = await a_file(tmp_path)
    store = await opened(tmp_path)
    changed, gone = sorted((key for key in held if key.resource == "configmaps"), key=str)[:2]
    db = apsw.Connection(str(tmp_path / "hub.sqlite"), vfs="cksmvfs")
    db.execute("UPDATE revisions SET value=x'00' WHERE revision=?", (store.get(changed).revision,))  # type: ignore[union-attr]
    db.execute("DELETE FROM revisions WHERE revision=?", (store.get(gone).revision,))  # type: ignore[union-attr]
    db.close()

    report = await store.scrub.run()

    assert [finding.split(": ")[1] for finding in report.findings] == ["its row holds another value", "its row is gone"]
    await store.close()


async def test_a_scrub_beside_writes_finds_nothing_in_a_healthy_file(tmp_path: Path) -> None:
    await a_file(tmp_path)
    store = await opened(tmp_path)

    async def write() -> None:
        for number in range(300):
            found = store.get(Key("configmaps", "d", "o1"))
            assert found is not None
            await store.update(found.key, lambda revision, number=number: b"%d" % number * 500, expected=found.revision)  # type: ignore[misc]

    writing = asyncio.create_task(write())
    reports = [await store.scrub.run() for _ in range(5)]
    await writing

    assert [report.findings for report in reports] == [[]] * 5
    assert reports[-1].pages > 0
    assert reports[-1].objects == len(state(store))
    await store.close()
