"""The hub's data folder: one process has it, and a store that was lost is not begun anew without a word (F14, F31)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skerry.durable import hold
from skerry.hub.data_folder import (
    BACKUP_LOCK,
    RESTORED,
    DataFolderError,
    remember_store,
    remove_leftovers,
    require_store,
    restored_from,
    take,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder whose keys know the store `a1`."""
    (tmp_path / "pki").mkdir()
    (tmp_path / "hub.sqlite").write_bytes(b"something")
    remember_store(tmp_path, "a1")
    return tmp_path


def test_a_second_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    lock = take(tmp_path)

    with pytest.raises(DataFolderError, match=rf"another hub runs with .* \(process {os.getpid()}\)"):
        take(tmp_path)

    lock.release()
    take(tmp_path).release()


def test_a_folder_without_a_store_may_begin_one(tmp_path: Path) -> None:
    require_store(tmp_path)


def test_a_store_that_is_where_it_was_is_taken(data: Path) -> None:
    require_store(data)
    remember_store(data, "a1")


def test_a_missing_store_is_refused(data: Path) -> None:
    (data / "hub.sqlite").unlink()

    with pytest.raises(DataFolderError, match=r"hub.sqlite is missing, and .*pki/store says that there was a store"):
        require_store(data)


def test_an_empty_store_is_refused(data: Path) -> None:
    (data / "hub.sqlite").write_bytes(b"")

    with pytest.raises(DataFolderError, match="is empty"):
        require_store(data)


def test_another_hubs_store_is_refused(data: Path) -> None:
    with pytest.raises(DataFolderError, match="is the store b2, and these keys belong to the store a1"):
        remember_store(data, "b2")


def test_what_a_killed_backup_left_is_removed_and_what_one_under_way_needs_is_not(tmp_path: Path) -> None:
    (tmp_path / ".backup-x").mkdir()
    (tmp_path / ".backup-x" / "hub.sqlite").write_bytes(b"a copy")
    under_way = hold(tmp_path / BACKUP_LOCK)

    remove_leftovers(tmp_path)
    kept = (tmp_path / ".backup-x").exists()
    under_way.release()
    remove_leftovers(tmp_path)

    assert kept
    assert not (tmp_path / ".backup-x").exists()


@pytest.mark.parametrize("text", [b"", b"17x", b"1\xb7"])
def test_a_damaged_note_of_a_restore_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / RESTORED).write_bytes(text)

    with pytest.raises(DataFolderError, match="restored is damaged"):
        restored_from(tmp_path)
