"""Secrets on the disk: sealed under a key ring, bound to their name, never readable and never empty when a key is lost (T3, F46)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from skerry.apiserver.store import Index, Key, KeyRingError, RingVault, Store
from skerry.apiserver.store.keyring import KeyRing, format_ring, new_key, parse_ring, read_ring
from skerry.apiserver.store.rows import MIGRATIONS
from skerry.durable import StoreFormatError, connection

SECRET = Key("secrets", "default", "db")
OTHER = Key("secrets", "default", "other")
PLAIN = Key("configmaps", "default", "db")
CANARY = b"canary-7f3a-in-clear"
MADE = "2026-11-23T00:00:00Z"


def value(content: bytes = CANARY) -> Callable[[int], bytes]:
    return lambda revision: b'{"data":"' + content + b'"}'


def vault(folder: Path) -> RingVault:
    return RingVault.open(folder / "ring", made=MADE)


async def opened(folder: Path, *, sealed: bool = True) -> Store:
    return await Store.open(folder / "hub.sqlite", index=lambda key, value: Index(), vault=vault(folder) if sealed else None)


def bytes_on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("hub.sqlite*"))


def an_old_file(path: Path) -> None:
    """Make what the first version of the hub left: no checksums, nothing sealed, a deleted Secret in its free pages."""
    db = connection.open_writer(path, MIGRATIONS[:1])
    for revision, key in enumerate((SECRET, PLAIN, OTHER), 1):
        row = (revision, key.resource, key.namespace, key.name, 0, value(CANARY + b"x" * 9000)(0))
        db.execute("INSERT INTO revisions VALUES (?,?,?,?,?,?)", row)
    db.execute("DELETE FROM revisions WHERE revision = 3")
    db.execute("INSERT INTO floors VALUES ('secrets', 3)")
    db.close()


async def test_a_secret_is_plain_in_memory_and_sealed_in_every_file(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    first = await store.create(SECRET, value())
    await store.update(SECRET, value(CANARY + b"2"), expected=first.revision)
    made = await store.create(OTHER, value())
    await store.delete(OTHER, value(), expected=made.revision)
    assert CANARY not in bytes_on_disk(tmp_path)  # the write-ahead log is still there
    await store.close()

    again = await opened(tmp_path)

    found = again.get(SECRET)
    assert found is not None
    assert found.value == value(CANARY + b"2")(0)
    assert [c.record.value for c in again.watch("secrets", after=0).take()].count(value()(0)) == 3
    await again.close()
    assert CANARY not in bytes_on_disk(tmp_path)


async def test_what_is_no_secret_is_kept_as_it_is(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.create(PLAIN, value())
    await store.close()

    assert CANARY in bytes_on_disk(tmp_path)


async def test_an_older_file_is_sealed_and_nothing_plain_stays_behind(tmp_path: Path) -> None:
    an_old_file(tmp_path / "hub.sqlite")
    assert bytes_on_disk(tmp_path).count(CANARY) >= 2
    before = apsw.Connection(str(tmp_path / "hub.sqlite"))
    epochs = list(before.execute("SELECT * FROM epochs"))
    before.close()

    store = await opened(tmp_path)

    found, plain = store.get(SECRET), store.get(PLAIN)
    assert found is not None
    assert plain is not None
    assert (found.revision, plain.revision, store.revision, store.epoch) == (1, 2, 3, epochs[0][1])
    assert found.value == plain.value
    assert bytes_on_disk(tmp_path).count(CANARY) == 1  # the ConfigMap's
    await store.close()
    assert bytes_on_disk(tmp_path).count(CANARY) == 1
    assert [p.name for p in tmp_path.glob("hub.sqlite*") if p.suffix not in (".sqlite", ".lock")] == []


async def test_a_file_that_was_plain_is_sealed_when_a_ring_is_given(tmp_path: Path) -> None:
    store = await opened(tmp_path, sealed=False)
    await store.create(SECRET, value())
    await store.close()
    assert CANARY in bytes_on_disk(tmp_path)

    store = await opened(tmp_path)
    await store.close()

    assert CANARY not in bytes_on_disk(tmp_path)


async def test_a_sealed_file_is_refused_without_its_ring_and_no_new_one_is_made(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.create(SECRET, value())
    await store.close()
    (tmp_path / "ring").rename(tmp_path / "away")

    with pytest.raises(StoreFormatError, match=r"the key ring .*ring is missing: put it back"):
        await opened(tmp_path)
    with pytest.raises(StoreFormatError, match="no key ring was given"):
        await opened(tmp_path, sealed=False)

    assert not (tmp_path / "ring").exists()
    (tmp_path / "away").rename(tmp_path / "ring")
    store = await opened(tmp_path)
    assert store.get(SECRET) is not None
    await store.close()


async def test_another_hubs_ring_is_refused_by_the_id_it_lacks(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.close()
    lost = read_ring(tmp_path / "ring")
    assert lost is not None
    (tmp_path / "ring").write_bytes(format_ring(KeyRing((new_key(MADE),))))

    with pytest.raises(StoreFormatError, match=f"lacks the key {lost.primary.id.hex()}"):
        await opened(tmp_path)


@pytest.mark.parametrize("position", range(0, 150, 7))
def test_no_flipped_bit_in_a_ring_is_taken_for_a_key(position: int) -> None:
    ring = KeyRing((new_key(MADE),))
    text = bytearray(format_ring(ring))
    text[position % len(text)] ^= 1

    with contextlib.suppress(KeyRingError):  # or the bit was in a space, or in the date
        assert parse_ring(bytes(text), Path("ring")).primary.secret == ring.primary.secret


def test_a_damaged_ring_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ring").write_bytes(b"{}")

    with pytest.raises(KeyRingError, match=r"damaged .* put it back from a backup"):
        vault(tmp_path)


async def test_a_row_that_was_moved_to_another_name_does_not_open(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.create(SECRET, value())
    await store.close()
    db = apsw.Connection(str(tmp_path / "hub.sqlite"), vfs="cksmvfs")
    db.execute("UPDATE revisions SET name='stolen' WHERE revision=1")
    db.close()

    with pytest.raises(StoreFormatError, match=r"secrets default/stolen does not open .* moved from another name"):
        await opened(tmp_path)


async def test_a_plain_row_slipped_into_a_sealed_file_is_refused(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.create(SECRET, value())
    await store.close()
    db = apsw.Connection(str(tmp_path / "hub.sqlite"), vfs="cksmvfs")
    db.execute("UPDATE revisions SET value=? WHERE revision=1", (value()(0),))
    db.close()

    with pytest.raises(StoreFormatError, match="is not sealed"):
        await opened(tmp_path)


async def test_the_ring_is_for_its_owner_only(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.close()

    assert (tmp_path / "ring").stat().st_mode & 0o777 == 0o600


async def many(store: Store, count: int) -> None:
    for n in range(count):
        await store.create(Key("secrets", "default", f"s{n}"), value())


def keys_on_disk(folder: Path) -> set[bytes]:
    db = apsw.Connection(str(folder / "hub.sqlite"), vfs="cksmvfs")
    found = {bytes(row[0]) for row in db.execute("SELECT substr(value, 2, 4) FROM revisions WHERE resource='secrets'")}
    db.close()
    return found


async def test_a_rotation_rewrites_every_row_beside_the_writes_and_then_drops_the_old_key(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await many(store, 200)
    old = read_ring(tmp_path / "ring")
    assert old is not None
    assert store.rotation is not None

    writes = asyncio.gather(*[store.create(Key("secrets", "other", f"s{n}"), value()) for n in range(50)])
    rewritten = await store.rotation.rotate(MADE)
    await writes

    ring = read_ring(tmp_path / "ring")
    assert ring is not None
    assert rewritten >= 200
    assert len(ring.keys) == 1
    assert ring.primary.id != old.primary.id
    assert [(k.id, k.primary, k.rows) for k in await store.rotation.keys()] == [(ring.primary.id.hex(), True, 250)]
    await store.close()
    assert keys_on_disk(tmp_path) == {ring.primary.id}
    again = await opened(tmp_path)
    assert {r.value for r in again.list("secrets").records} == {value()(0)}
    await again.close()


async def test_a_rotation_that_was_cut_short_goes_on(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await many(store, 5)
    await store.close()
    half = vault(tmp_path)
    half.save(half.ring.with_primary(new_key(MADE)))  # killed right after the new key was saved

    store = await opened(tmp_path)
    await store.create(Key("secrets", "default", "later"), value())
    assert store.rotation is not None
    assert store.rotation.unfinished
    assert [k.rows for k in await store.rotation.keys()] == [1, 5]
    rewritten = await store.rotation.resume()

    assert rewritten == 5
    assert not store.rotation.unfinished
    assert await store.rotation.resume() == 0
    await store.close()
    assert len(keys_on_disk(tmp_path)) == 1
