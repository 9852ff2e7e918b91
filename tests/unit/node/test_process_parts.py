"""The small parts of the process runtime: control groups on paper, owners, records, titles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skerry.node.runtimes.contract import ContainerKey, ImageError, Limits, RuntimeFailedError
from skerry.node.runtimes.process import Program, detect
from skerry.node.runtimes.process.cgroups import limit_files
from skerry.node.runtimes.process.ended import exit_of
from skerry.node.runtimes.process.journal import Attempt, Record, Status, attempts, read_status
from skerry.node.runtimes.process.owners import Owners, choose_uid
from skerry.node.runtimes.process.programs import parse_program, program_image

RECORD = Record(id="i", namespace="d", pod="p", image="x", image_id="y", workdir="/", uid=1, gid=1, started_at=1.0)


def test_limits_become_files_of_either_version() -> None:
    limits = Limits(memory_bytes=64 * 2**20, cpu_millis=250)

    assert limit_files(2, limits, pids=9) == {
        "pids": {"pids.max": "9"},
        "memory": {"memory.max": "67108864", "memory.swap.max": "0"},
        "cpu": {"cpu.max": "25000 100000"},
    }
    assert limit_files(1, limits, pids=9)["cpu"] == {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "25000"}
    assert limit_files(1, Limits(), pids=9) == {"pids": {"pids.max": "9"}}


def a_v2_host(root: Path, *, delegated: bool = True) -> Path:
    """A folder that looks like a version 2 hierarchy; the kernel's files are played by plain ones."""
    for group in (root, root / "unit", root / "skerry", root / "unit" / "skerry"):
        group.mkdir(exist_ok=True)
        (group / "cgroup.controllers").write_text("cpuset cpu io memory pids")
        (group / "cgroup.procs").write_text("1\n2\n")
        if group == root / "unit" and not delegated:
            (group / "cgroup.subtree_control").mkdir()  # cannot be written
    own = root / "own"
    own.write_text("0::/unit\n")
    return own


def test_a_host_without_control_groups_says_what_to_do(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("")

    found = detect("skerry", root=tmp_path / "nowhere", own=own)

    assert not found.enforcement.complete
    assert "Delegate=yes" in found.enforcement.message
    assert found.create("x", Limits(), pids=1) == []
    assert not found.out_of_memory("x")


def test_version_2_in_a_unit_that_delegates(tmp_path: Path) -> None:
    found = detect("skerry", root=tmp_path, own=a_v2_host(tmp_path))

    assert found.enforcement.complete
    assert set(found.parents.values()) == {tmp_path / "unit" / "skerry"}
    assert found.create("x", Limits(memory_bytes=4096), pids=7) == [str(tmp_path / "unit" / "skerry" / "x" / "cgroup.procs")]
    assert (tmp_path / "unit" / "skerry" / "x" / "memory.max").read_text() == "4096"
    assert (tmp_path / "unit" / "skerry" / "x" / "pids.max").read_text() == "7"
    (tmp_path / "unit" / "skerry" / "x" / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert found.out_of_memory("x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make groups beside the others")
def test_version_2_in_a_session_that_does_not_delegate(tmp_path: Path) -> None:
    found = detect("skerry", root=tmp_path, own=a_v2_host(tmp_path, delegated=False))

    assert found.enforcement.complete
    assert set(found.parents.values()) == {tmp_path / "skerry"}


@pytest.mark.parametrize("data", [b"", b"{", b'{"child-pid": 7', b"\xff\xfe\n", b"[1]\n", b"null\n"])
def test_a_status_that_was_cut_or_is_nonsense_says_nothing(data: bytes) -> None:
    assert read_status(data, 5.0) == Status(0, None, 5.0)


def test_a_status_tells_pid_and_exit() -> None:
    assert read_status(b'{ "child-pid": 7, "x": 1 }\n{ "exit-code": 3 }\n', 5.0) == Status(7, 3, 5.0)


@pytest.mark.parametrize(
    ("status", "oom", "output", "code", "reason"),
    [
        (Status(7, 0, 5.0), False, "", 0, "Completed"),
        (Status(7, 1, 5.0), False, "", 1, "Error"),
        (Status(7, 137, 5.0), True, "", 137, "OOMKilled"),
        (Status(7, 0, 5.0), True, "", 0, "Completed"),
        (Status(7, None, 5.0), False, "bwrap: execvp /x: No such file\n", 128, "StartError"),
        (Status(0, None, 0.0), False, "skerry: cannot start: no\n", 128, "StartError"),
        (Status(7, None, 5.0), False, "hello\n", 137, "ContainerStatusUnknown"),
        (Status(7, None, 5.0), True, "hello\n", 137, "OOMKilled"),
    ],
)
def test_how_an_attempt_ended(status: Status, oom: bool, output: str, code: int, reason: str) -> None:
    found = exit_of(status, oom=oom, output=output, now=9.0)

    assert (found.exit_code, found.reason) == (code, reason)
    assert found.finished_at in (5.0, 9.0)


def test_an_attempt_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "u" / "containers" / "app" / "0", ContainerKey("u", "app"), 0)
    attempt.create(RECORD)

    with pytest.raises(FileExistsError):
        attempt.create(RECORD)

    assert [(a.key, a.number, a.record()) for a in attempts(tmp_path)] == [(attempt.key, 0, RECORD)]
    (attempt.folder / "record").write_bytes(b"{")
    assert attempt.record() is None


def test_a_lock_says_who_lives(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "u" / "containers" / "app" / "0", ContainerKey("u", "app"), 0)
    attempt.create(RECORD)
    assert not attempt.lives()
    held = attempt.take_lock()

    assert held is not None
    assert attempt.lives()
    assert attempt.take_lock() is None
    os.close(held)
    assert not attempt.lives()


def test_each_pod_gets_a_free_user_and_keeps_it(tmp_path: Path) -> None:
    taken: set[int] = set()
    for i in range(50):
        taken.add(choose_uid(f"pod-{i}", taken, first=1000, count=50))

    assert taken == set(range(1000, 1050))
    with pytest.raises(RuntimeFailedError, match="all 50 user ids"):
        choose_uid("one-more", taken, first=1000, count=50)
    first = Owners(tmp_path, first=1000, count=50).of("pod-1")
    assert Owners(tmp_path, first=1000, count=50).of("pod-1") == first


def test_a_program_shows_what_it_links_to_and_no_more(tmp_path: Path) -> None:
    real = tmp_path / "versions" / "app"
    real.parent.mkdir()
    real.touch(mode=0o755)
    link = tmp_path / "app"
    link.symlink_to(real)

    plain = program_image("host.skerry.invalid/app", {"app": Program(str(link))})
    bound = program_image("host.skerry.invalid/app", {"app": Program(str(link), (str(tmp_path),))})
    system = program_image("host.skerry.invalid/true", {"true": Program("/usr/bin/true")})

    assert plain.binds == (str(link), str(real))
    assert bound.binds == (str(tmp_path),)
    assert system.binds == ()


@pytest.mark.parametrize(
    "reference", ["host.skerry.invalid/", "host.skerry.invalid/a:latest", "host.skerry.invalid/a/b", "host.skerry.invalid/a@sha256:0"]
)
def test_a_program_has_no_tag_and_no_digest(reference: str) -> None:
    with pytest.raises(ImageError, match="no tag and no digest") as caught:
        program_image(reference, {"a": Program("/usr/bin/true")})
    assert caught.value.reason == "InvalidImageName"


def test_a_program_that_is_no_executable_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not an executable file"):
        program_image("host.skerry.invalid/a", {"a": Program(str(tmp_path / "gone"))})


@pytest.mark.parametrize("text", ["", "a", "=b", "a=relative", "a:b=/x", "a/b=/x"])
def test_an_allowed_program_is_a_name_and_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="NAME=/absolute/path"):
        parse_program(text)
