"""The last of the disk is kept for writes that free space (F7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.durable import Space, StoreFullError, space


class Disk:
    """A disk with so much left, and a clock."""

    def __init__(self) -> None:
        self.free = 100 << 20
        self.asked = 0
        self.time_s = 0.0

    def free_bytes(self, _: Path) -> int:
        self.asked += 1
        return self.free


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(space, "free_bytes", disk.free_bytes)
    return disk


@pytest.fixture
def kept(disk: Disk) -> Space:
    return Space(Path("hub.sqlite"), reserve_bytes=10 << 20, now=lambda: disk.time_s)


def test_growth_is_refused_below_the_reserve_and_taken_again_above_it(disk: Disk, kept: Space) -> None:
    kept.require(1)
    disk.free, disk.time_s = 9 << 20, 1.0
    with pytest.raises(StoreFullError, match=r"no space left for hub\.sqlite \(the last 10 MiB of the disk are kept for deleting\)"):
        kept.require(1)
    disk.free, disk.time_s = 11 << 20, 2.0

    kept.require(1)


def test_the_disk_is_asked_a_few_times_a_second_at_most(disk: Disk, kept: Space) -> None:
    for _ in range(1_000):
        kept.require(1)
        disk.time_s += 0.001

    assert disk.asked == 4


def test_the_disk_is_asked_again_after_so_many_bytes(disk: Disk, kept: Space) -> None:
    kept.require(0)
    disk.free = 0

    kept.require(space.LOOK_EVERY_BYTES - 1)
    with pytest.raises(StoreFullError):
        kept.require(1)


def test_shortness_is_reported_when_it_begins_and_when_it_ends(disk: Disk, kept: Space, caplog: pytest.LogCaptureFixture) -> None:
    disk.free = 0
    for _ in range(3):
        with pytest.raises(StoreFullError):
            kept.require(1)
        disk.time_s += 1
    disk.free = 100 << 20
    kept.require(1)

    assert [r.message for r in caplog.records] == ["disk nearly full, only deletes are taken", "disk has space again"]


def test_the_real_disk_has_some_space(tmp_path: Path) -> None:
    assert space.free_bytes(tmp_path / "x") > 0
