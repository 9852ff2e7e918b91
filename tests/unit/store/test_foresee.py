"""Who foresees is told of a write before its commit, and that it is lost when it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.apiserver.store import ChangeType, Index, Key, Record, Store

KEY = Key("things", "", "a")


class _Foreseer:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def staged(self, change: ChangeType, record: Record) -> None:
        self.seen.append((change, record.key.name))

    def dropped(self) -> None:
        self.seen.append(("DROPPED", ""))


async def test_a_write_is_foreseen_before_it_is_committed(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "store", index=lambda key, value: Index())
    foreseer = _Foreseer()
    store.foresee(foreseer)

    waiting = store.create(KEY, lambda revision: b"{}")
    assert foreseer.seen == []  # nothing was asked of the store yet
    record = await waiting
    await store.delete(KEY, lambda revision: b"{}", expected=record.revision)

    assert foreseer.seen == [("ADDED", "a"), ("DELETED", "a")]
    await store.close()


async def test_a_lost_commit_is_told(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "store", index=lambda key, value: Index())
    foreseer = _Foreseer()
    store.foresee(foreseer)

    def fail(db: object, rows: object) -> None:
        raise OSError("no disk")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skerry.apiserver.store.store.insert", fail)
        with pytest.raises(Exception, match="no disk"):
            await store.create(KEY, lambda revision: b"{}")

    assert foreseer.seen[-1] == ("DROPPED", "")
    await store.close()
