"""A memory that cannot be read (F13, F14): it is put aside, nothing that runs is harmed, and a person can look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.durable import StoreFormatError
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


async def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    await a_memory(tmp_path)
    import apsw

    db = apsw.Connection(str(tmp_path / "memory.sqlite"))
    db.execute("PRAGMA user_version=99")
    db.close()

    with pytest.raises(StoreFormatError):
        await Memory.open(tmp_path)
    assert (tmp_path / "memory.sqlite").exists()


async def test_what_was_remembered_is_only_for_its_owner(tmp_path: Path) -> None:
    await a_memory(tmp_path)

    assert (tmp_path / "memory.sqlite").stat().st_mode & 0o777 == 0o600
