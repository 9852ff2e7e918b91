"""A memory that cannot be read (F13, F14): it is put aside, nothing that runs is harmed, and a person can look at it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from skerry.durable import StoreFailedError, StoreFormatError, Writer
from skerry.kube import Origin
from skerry.model.objects import Name
from skerry.node.memory import Changes, Memory, Position

POD = {"metadata": {"name": "p", "uid": "u", "resourceVersion": "3"}}


async def a_memory(state: Path) -> None:
    memory = await Memory.open(state)
    await memory.apply("pods", Changes({Name("a", "p"): POD}, frozenset()), Position(Origin("c", "e"), 3))
    await memory.close()


@pytest.mark.parametrize("damage", [b"this is no database at all" * 100, b""])
async def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path, damage: bytes) -> None:
    await a_memory(tmp_path)
    (tmp_path / "memory.sqlite").write_bytes(damage)

    memory = await Memory.open(tmp_path)

    assert not memory.objects("pods")
    assert Path(memory.damaged).read_bytes() == damage if damage else memory.damaged == ""
    await memory.close()


async def test_pages_that_were_overwritten_are_noticed(tmp_path: Path) -> None:
    await a_memory(tmp_path)
    file = tmp_path / "memory.sqlite"
    data = bytearray(file.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 512] = b"\xa5" * 512
    file.write_bytes(bytes(data))

    memory = await Memory.open(tmp_path)

    assert memory.damaged
    assert not memory.objects("pods")
    await memory.close()


async def test_a_bit_that_flips_in_an_object_is_noticed_and_the_node_starts(tmp_path: Path) -> None:
    await a_memory(tmp_path)
    file = tmp_path / "memory.sqlite"
    data = file.read_bytes()
    assert data.count(b'"uid":"u"') == 1
    file.write_bytes(data.replace(b'"uid":"u"', b'"uid":"\xf5"'))

    memory = await Memory.open(tmp_path)

    assert memory.damaged
    await memory.close()


async def test_a_secret_that_is_forgotten_is_wiped_from_the_file(tmp_path: Path) -> None:
    """It stayed in free pages for as long as nothing else needed them (T3)."""
    secret = {"metadata": {"name": "s", "uid": "u"}, "data": {"a": "canary-of-the-mine" * 1000}}
    memory = await Memory.open(tmp_path)
    at = Position(Origin("c", "e"), 3)
    await memory.apply("secrets", Changes({Name("a", "s"): secret, Name("a", "t"): secret}, frozenset()), at)
    await memory.remember("token u", "canary-of-the-mine")
    await memory.close()
    assert b"canary" in (tmp_path / "memory.sqlite").read_bytes()

    memory = await Memory.open(tmp_path)
    await memory.apply("secrets", Changes({Name("a", "t"): POD}, frozenset({Name("a", "s")})), at)
    await memory.forget_fact("token u")
    await memory.close()

    assert b"canary" not in (tmp_path / "memory.sqlite").read_bytes()


async def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    await a_memory(tmp_path)
    db = apsw.Connection(str(tmp_path / "memory.sqlite"))
    db.execute("PRAGMA user_version=99")
    db.close()

    with pytest.raises(StoreFormatError):
        await Memory.open(tmp_path)
    assert (tmp_path / "memory.sqlite").exists()


async def test_a_disk_that_takes_no_writes_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy in RAM is used, and the next start with space has the disk's own again."""
    state, spare = tmp_path / "state", tmp_path / "ram"
    state.mkdir()
    spare.mkdir()
    await a_memory(state)
    before = (state / "memory.sqlite").read_bytes()
    real = Writer.open

    async def full(path: Path, migrations: Sequence[str], *, vfs: str | None = None) -> Writer:
        if path.is_relative_to(state):
            raise StoreFailedError(path, apsw.FullError("database or disk is full"))
        return await real(path, migrations, vfs=vfs)

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "open", full)
        memory = await Memory.open(state, spare=spare)
        await memory.apply("pods", Changes({Name("a", "q"): POD}, frozenset()), Position(Origin("c", "e"), 4))

        assert set(memory.objects("pods")) == {Name("a", "p"), Name("a", "q")}
        assert not memory.damaged
        assert "disk is full" in memory.trouble
        await memory.close()
        with pytest.raises(StoreFailedError):
            await Memory.open(state)

    assert (state / "memory.sqlite").read_bytes() == before
    memory = await Memory.open(state, spare=spare)
    assert set(memory.objects("pods")) == {Name("a", "p")}
    assert not memory.trouble
    await memory.close()


async def test_a_memory_that_failed_takes_writes_again_once_the_disk_does(tmp_path: Path) -> None:
    await a_memory(tmp_path)
    memory = await Memory.open(tmp_path)
    memory._writer._latch(apsw.IOError("disk I/O error"))
    assert "disk I/O error" in memory.trouble

    await memory.apply("pods", Changes({Name("a", "q"): POD}, frozenset()), Position(Origin("c", "e"), 4))
    trouble = memory.trouble
    await memory.close()
    memory = await Memory.open(tmp_path)

    assert trouble == ""
    assert set(memory.objects("pods")) == {Name("a", "p"), Name("a", "q")}
    await memory.close()


async def test_what_was_remembered_is_only_for_its_owner(tmp_path: Path) -> None:
    await a_memory(tmp_path)

    assert (tmp_path / "memory.sqlite").stat().st_mode & 0o777 == 0o600
