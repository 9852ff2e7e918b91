"""A container's log read as `kubectl logs` asks, and kept from filling the disk without losing a line."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.node.runtimes.contract import LogOptions
from skerry.node.runtimes.process.logs import MAX_NOTES, Times, give_back, offset_since, read_log, tail_offset, time_at


async def read(log: Path, *, lives: Callable[[], bool] = lambda: False, now: float = 1000.0, **options: object) -> bytes:
    found = read_log(log, log.with_suffix(".times"), LogOptions(**options), lives=lives, now=lambda: now)  # type: ignore[arg-type]
    return b"".join([data async for data in found])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three lines, written at 10, 20 and 30 seconds."""
    path, times = tmp_path / "log", Times(tmp_path / "log.times")
    for second, line in ((10.0, b"one\n"), (20.0, b"two\n"), (30.0, b"three\n")):
        with path.open("ab") as file:
            file.write(line)
        times.note(path.stat().st_size, second)
    return path


async def test_since_a_time(log: Path) -> None:
    assert await read(log, since_at=5.0) == b"one\ntwo\nthree\n"
    assert await read(log, since_at=15.0) == b"two\nthree\n"
    assert await read(log, since_at=20.0) == b"three\n"
    assert await read(log, since_at=99.0) == b""


async def test_each_line_carries_when_it_was_written(log: Path) -> None:
    lines = (await read(log, timestamps=True)).decode().splitlines()

    assert [line.split(" ")[0][17:19] for line in lines] == ["10", "20", "30"]
    assert lines[0] == "1970-01-01T00:00:10.000000000Z one"


async def test_a_last_line_without_an_end_is_not_lost(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b"half")

    assert (await read(log, timestamps=True, tail_lines=1)).endswith(b" half")
    assert await read(log, tail_lines=2) == b"three\nhalf"


async def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert await read(tmp_path / "nowhere", follow=True) == b""


async def test_following_gets_what_is_written_until_the_container_ends(log: Path) -> None:
    alive = True

    async def write() -> None:
        nonlocal alive
        for i in range(3):
            await asyncio.sleep(0.01)
            with log.open("ab") as file:
                file.write(b"more %d\n" % i)
        alive = False

    writing = asyncio.create_task(write())
    found = await read(log, follow=True, tail_lines=0, lives=lambda: alive)
    await writing

    assert found == b"more 0\nmore 1\nmore 2\n"


@given(st.lists(st.binary(min_size=0, max_size=40).map(lambda b: b.replace(b"\n", b"x")), max_size=30), st.integers(0, 40), st.booleans())
def test_the_tail_is_the_last_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], count: int, ended: bool) -> None:
    text = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    path = tmp_path_factory.mktemp("tail") / "log"
    path.write_bytes(text)
    fd = os.open(path, os.O_RDONLY)
    try:
        start = tail_offset(fd, 0, len(text), count)
    finally:
        os.close(fd)

    whole = text.splitlines(keepends=True) if b"\r" not in text and not any(c in text for c in b"\x0b\x0c\x1c\x1d\x1e\x85") else None
    if whole is not None:
        assert text[start:] == b"".join(whole[-count:] if count else [])


def test_old_lines_are_given_back_while_the_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    line = b"x" * 99 + b"\n"
    for _ in range(4000):
        os.write(writer, line)

    give_back(path, keep_bytes=100_000)
    os.write(writer, b"last\n")
    os.close(writer)

    on_disk = path.stat().st_blocks * 512
    found = asyncio.run(read(path))
    assert on_disk <= 110_000
    assert found.endswith(line + b"last\n")
    assert set(found.splitlines()) == {line[:-1], b"last"}
    assert 95_000 <= len(found) <= 110_000


def test_the_notes_are_bounded(tmp_path: Path) -> None:
    times = Times(tmp_path / "t")
    (tmp_path / "t").write_bytes(b"\1" * 16 * MAX_NOTES)

    times.note(10, 1.0)

    assert (tmp_path / "t").stat().st_size <= 16 * MAX_NOTES // 2


def test_a_log_that_does_not_grow_writes_nothing(tmp_path: Path) -> None:
    times = Times(tmp_path / "t")
    for second in range(100):
        times.note(5, float(second))

    assert times.read() == [(0.0, 5)]


def test_times_and_offsets_round_to_the_notes() -> None:
    notes = [(10.0, 4), (20.0, 8)]

    assert [offset_since(notes, t) for t in (9.0, 10.0, 15.0, 20.0)] == [0, 4, 4, 8]
    assert [time_at(notes, o, 99.0) for o in (0, 3, 4, 8)] == [10.0, 10.0, 20.0, 99.0]


async def test_a_log_that_its_container_made_endless_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A Pod that stretches its own log by ftruncate had the whole node search terabytes of nothing for a line (T11)."""
    path = tmp_path / "log"
    path.write_bytes(b"first\n")
    os.truncate(path, 1 << 43)
    with path.open("ab") as file:
        file.write(b"the\nlast\n")
    began = time.monotonic()

    one = await read(path, tail_lines=1)
    more = await read(path, tail_lines=100)
    os.truncate(path, 1 << 43)  # nothing but a hole within reach
    holes = await read(path, tail_lines=100, limit_bytes=1000)

    assert (one, more) == (b"last\n", b"last\n")
    assert holes == b"\0" * 1000
    assert time.monotonic() - began < 30
