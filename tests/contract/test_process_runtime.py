"""The process runtime on this host: the contract, and what only sandboxes have to keep."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from skerry.node.runtimes.contract import ContainerKey, ExecSpec, Limits, Mount, Runtime
from skerry.node.runtimes.process import ProcessRuntime, ProcessSettings, Program, detect
from tests.contract.runtime import POD, Again, RuntimeContract, a_spec, the_log, until_exited, until_printed
from tests.unit.node.test_oci import Layout, a_tar

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")]

BUSY = Path(__file__).with_name("busy.py")


@pytest.fixture
def settings(tmp_path: Path) -> ProcessSettings:
    program = tmp_path / "busy"
    program.write_text(f"#!/usr/bin/python3 -I\n{BUSY.read_text()}")
    program.chmod(0o755)
    return ProcessSettings(pods=tmp_path / "pods", programs={"busy": Program(str(program))})


@pytest.fixture
async def lives(settings: ProcessSettings) -> AsyncIterator[list[ProcessRuntime]]:
    cgroups = detect(f"skerry-test-{os.getpid()}")
    found = [ProcessRuntime(settings, cgroups)]
    await found[0].open()
    yield found
    for key in {c.key for c in found[-1].containers()}:
        await found[-1].stop(key, grace_s=0)
    await found[-1].close()
    for parent in cgroups.parents.values():
        parent.rmdir()


@pytest.fixture
def runtime(lives: list[ProcessRuntime]) -> Runtime:
    return lives[-1]


@pytest.fixture
def again(lives: list[ProcessRuntime], settings: ProcessSettings) -> Again:
    async def next_life() -> Runtime:
        await lives[-1].close()
        lives.append(ProcessRuntime(settings, detect(f"skerry-test-{os.getpid()}")))
        await lives[-1].open()
        return lives[-1]

    return next_life


class TestProcessRuntime(RuntimeContract):
    pass


class TestSandbox:
    """What a program of a Pod sees and cannot do (T11)."""

    async def run(self, runtime: Runtime, expression: str, **more: Any) -> str:
        await runtime.start(await a_spec(runtime, "eval", expression, **more))
        await until_exited(runtime)
        return (await the_log(runtime)).strip()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    async def test_as_root_each_pod_is_a_user_of_its_own(self, runtime: Runtime) -> None:
        uid = int(await self.run(runtime, "__import__('os').getuid()"))

        assert uid >= 2_000_000_000
        assert (uid, uid) == await runtime.pod_owner(POD)
        assert (uid, uid) != await runtime.pod_owner("another-pod")

    async def test_it_has_no_capability_and_gains_none(self, runtime: Runtime) -> None:
        status = await self.run(runtime, "open('/proc/self/status').read()")

        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert {facts[k] for k in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
        assert facts["NoNewPrivs"] == "1"

    async def test_it_sees_no_process_but_its_own(self, runtime: Runtime) -> None:
        pids = await self.run(runtime, "sorted(int(p) for p in __import__('os').listdir('/proc') if p.isdigit())")

        assert len(pids.split(",")) <= 3

    async def test_the_root_is_read_only_and_the_hosts_files_are_not_there(self, runtime: Runtime, tmp_path: Path) -> None:
        script = "[__import__('os').access(p, __import__('os').W_OK) for p in ('/', '/usr', '/etc', '/tmp')]"
        assert await self.run(runtime, script) == "[False, False, False, True]"

        await runtime.start(await a_spec(runtime, "eval", f"__import__('os').path.exists({str(tmp_path / 'pods')!r})", attempt=1))
        await until_exited(runtime, attempt=1)
        assert (await the_log(runtime, attempt=1)).strip() == "False"

    async def test_secrets_are_on_no_command_line(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "wait", env={"PASSWORD": "c4n4ry"}))
        await until_printed(runtime, "app")

        lines = _command_lines().values()

        assert any(b"skerry:" in line for line in lines)
        assert not any(b"c4n4ry" in line for line in lines)

    async def test_the_environment_is_only_what_was_given(self, runtime: Runtime) -> None:
        found = await self.run(runtime, "sorted(__import__('os').environ)", env={"PATH": "/usr/bin", "LD_PRELOAD": "/tmp/x.so"})

        complaints, _, found = found.rpartition("\n")
        assert complaints.count("LD_PRELOAD") == 1  # of the program inside; bubblewrap outside never saw it
        assert set(found.strip("[]").replace("'", "").split(", ")) <= {"LC_CTYPE", "LD_PRELOAD", "PATH", "PWD"}

    async def test_a_volume_is_shared_and_a_read_only_one_is_not_written(self, runtime: Runtime, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            (tmp_path / name).chmod(0o777)
        (tmp_path / "two" / "given").write_text("from the host")
        mounts = (Mount(str(tmp_path / "one"), "/one", read_only=False), Mount(str(tmp_path / "two"), "/two"))

        await runtime.start(await a_spec(runtime, "write", "/one/made", "by the pod", mounts=mounts))
        first = await until_exited(runtime)
        await runtime.start(await a_spec(runtime, "write", "/two/made", "x", mounts=mounts, attempt=1))
        second = await until_exited(runtime, attempt=1)

        assert (first.exit_code, (tmp_path / "one" / "made").read_text()) == (0, "by the pod")
        assert second.exit_code != 0
        assert sorted(p.name for p in (tmp_path / "two").iterdir()) == ["given"]

    async def test_a_sub_path_that_goes_through_a_link_is_refused(self, runtime: Runtime, tmp_path: Path) -> None:
        (tmp_path / "volume").mkdir()
        (tmp_path / "volume" / "out").symlink_to("/etc")
        mount = Mount(str(tmp_path / "volume"), "/v", inside="out")

        await runtime.start(await a_spec(runtime, "exit", "0", mounts=(mount,)))
        ended = await until_exited(runtime)

        assert (ended.exit_code, ended.reason) == (128, "StartError")
        assert "through a link" in ended.message

    async def test_a_last_message_is_kept(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "write", "/dev/termination-log", "the tank is empty"))

        assert (await until_exited(runtime)).message == "the tank is empty"

    async def test_a_program_that_is_not_there_says_so(self, runtime: Runtime) -> None:
        spec = await a_spec(runtime, "exit", "0")

        await runtime.start(replace(spec, argv=("/usr/bin/no-such-program",)))
        ended = await until_exited(runtime)

        assert (ended.exit_code, ended.reason) == (128, "StartError")
        assert "no-such-program" in ended.message

    async def test_memory_is_limited_and_the_kill_is_named(self, runtime: Runtime) -> None:
        if not runtime.enforcement.memory:
            pytest.skip(runtime.enforcement.message)
        hungry = "len(bytearray(256 * 2**20))"

        await runtime.start(await a_spec(runtime, "eval", hungry, limits=Limits(memory_bytes=32 * 2**20)))
        ended = await until_exited(runtime)

        assert (ended.exit_code, ended.reason) == (137, "OOMKilled")

    async def test_a_fork_bomb_stays_small(self, settings: ProcessSettings, lives: list[ProcessRuntime]) -> None:
        await lives[-1].close()
        lives.append(ProcessRuntime(replace(settings, pids=20), detect(f"skerry-test-{os.getpid()}")))
        runtime = lives[-1]
        await runtime.open()
        if not runtime.enforcement.pids and os.geteuid() != 0:
            pytest.skip(runtime.enforcement.message)

        bomb = "[__import__('os').fork() or __import__('time').sleep(60) for _ in range(200)]"
        await runtime.start(await a_spec(runtime, "eval", bomb))
        ended = await until_exited(runtime)

        assert ended.exit_code == 1
        assert "BlockingIOError" in await the_log(runtime)

    async def test_what_a_program_leaves_behind_ends_with_it(self, runtime: Runtime) -> None:
        mark = f"{os.getpid()}0000"
        await runtime.start(
            await a_spec(runtime, "eval", f"__import__('subprocess').Popen(['sleep', '{mark}'], start_new_session=True).pid > 0")
        )
        await until_exited(runtime)

        assert f"sleep\0{mark}\0".encode() not in _command_lines().values()

    async def test_a_monitor_that_was_killed_takes_its_sandbox_along(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "wait"))
        await until_printed(runtime, "app")
        titled = {pid for pid, line in _command_lines().items() if line.startswith(f"skerry:{POD}".encode())}
        [monitor] = [pid for pid in titled if psutil.Process(pid).ppid() not in titled]

        os.kill(monitor, signal.SIGKILL)
        ended = await until_exited(runtime)

        assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")
        async with asyncio.timeout(60):
            while titled & _command_lines().keys():
                await asyncio.sleep(0.01)

    async def test_a_terminal_is_a_terminal(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "wait"))
        await until_printed(runtime, "app")

        session = await runtime.exec(ContainerKey(POD, "app"), ExecSpec(("/usr/bin/tty",), tty=True, stdin=True))
        session.resize(rows=30, columns=100)
        output = b""
        while data := await session.read("stdout"):
            output += data

        assert await session.wait() in (0, 1)
        assert b"not a tty" in output or b"/dev/" in output
        await session.kill()

    async def test_exec_has_no_more_rights_than_the_program(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "wait"))
        await until_printed(runtime, "app")

        session = await runtime.exec(ContainerKey(POD, "app"), ExecSpec(("cat", "/proc/self/status")))
        status = b""
        while data := await session.read("stdout"):
            status += data

        facts = dict(line.split(":\t", 1) for line in status.decode().splitlines() if ":\t" in line)
        assert {facts[k] for k in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
        assert facts["NoNewPrivs"] == "1"
        assert await session.wait() == 0
        await session.kill()

    async def test_the_folder_of_a_pod_goes_with_it(self, runtime: Runtime, settings: ProcessSettings) -> None:
        await runtime.start(await a_spec(runtime, "exit", "0"))
        await until_exited(runtime)

        await runtime.remove_pod(POD)

        assert list(settings.pods.iterdir()) == []


async def test_a_host_without_bubblewrap_says_what_to_install(settings: ProcessSettings) -> None:
    runtime = ProcessRuntime(replace(settings, bwrap="/usr/bin/no-bwrap"), detect(f"skerry-test-{os.getpid()}"))
    await runtime.open()

    assert "apt-get install bubblewrap" in runtime.problem
    await runtime.close()


async def test_bubblewrap_that_may_not_make_namespaces_says_so(settings: ProcessSettings, tmp_path: Path) -> None:
    forbidden = tmp_path / "bwrap"
    forbidden.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    forbidden.chmod(0o755)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    runtime = ProcessRuntime(replace(settings, bwrap=str(forbidden)), detect(f"skerry-test-{os.getpid()}"))
    await runtime.open()

    assert "No permissions to create new namespace" in runtime.problem
    await runtime.close()


class TestOciImage:
    async def test_an_image_by_digest_runs_on_its_own_files(
        self, settings: ProcessSettings, lives: list[ProcessRuntime], tmp_path: Path
    ) -> None:
        layout = Layout(tmp_path / "layouts" / "cat")
        linked = subprocess.run(["ldd", "/usr/bin/cat"], capture_output=True, text=True, check=True).stdout
        files = {m: Path(m).read_bytes() for m in re.findall(r"(/\S+) \(0x", linked)}
        layer = a_tar(("bin/cat", Path("/usr/bin/cat").read_bytes()), ("etc/hello", b"hello\n"), *((k[1:], v) for k, v in files.items()))
        reference = layout.image(layer, Entrypoint=["/bin/cat"], Cmd=["/etc/hello"])
        await lives[-1].close()
        lives.append(ProcessRuntime(replace(settings, layouts=tmp_path / "layouts"), detect(f"skerry-test-{os.getpid()}")))
        runtime = lives[-1]
        await runtime.open()
        image = await runtime.image(reference, pull="IfNotPresent")
        (tmp_path / "volume").mkdir()
        mounts = (Mount(str(tmp_path / "volume"), "/volume", read_only=False),)

        for attempt, argv in enumerate(((*image.entrypoint, *image.arguments), ("/bin/cat", "/usr/bin/python3"))):
            spec = await a_spec(runtime, attempt=attempt, mounts=mounts)
            await runtime.start(replace(spec, image=image, argv=argv))
            await until_exited(runtime, attempt=attempt)

        assert await the_log(runtime) == "hello\n"
        assert "No such file" in await the_log(runtime, attempt=1)

    async def test_a_mount_finds_its_place_in_an_image_that_has_none(
        self, settings: ProcessSettings, lives: list[ProcessRuntime], tmp_path: Path
    ) -> None:
        layout = Layout(tmp_path / "layouts" / "cat")
        linked = subprocess.run(["ldd", "/usr/bin/cat"], capture_output=True, text=True, check=True).stdout
        files = {m: Path(m).read_bytes() for m in re.findall(r"(/\S+) \(0x", linked)}
        own = (("run/own", b"kept\n"), ("var/lib/x", b"x"))
        layer = a_tar(("bin/cat", Path("/usr/bin/cat").read_bytes()), *own, *((k[1:], v) for k, v in files.items()))
        reference = layout.image(layer, Entrypoint=["/bin/cat"])
        await lives[-1].close()
        lives.append(ProcessRuntime(replace(settings, layouts=tmp_path / "layouts"), detect(f"skerry-test-{os.getpid()}")))
        runtime = lives[-1]
        await runtime.open()
        image = await runtime.image(reference, pull="IfNotPresent")
        (tmp_path / "volume").mkdir(mode=0o755)
        (tmp_path / "volume" / "token").write_text("hush\n")
        (tmp_path / "volume" / "token").chmod(0o644)
        (Path(image.root) / "var" / "run").symlink_to("/run")
        mount = Mount(str(tmp_path / "volume"), "/var/run/secrets/kubernetes.io/serviceaccount")

        read = ("/var/run/secrets/kubernetes.io/serviceaccount/token", "/run/own", "/var/lib/x")
        await runtime.start(replace(await a_spec(runtime, mounts=(mount,)), image=image, argv=("/bin/cat", *read)))
        await until_exited(runtime)

        assert await the_log(runtime) == "hush\nkept\nx"


def _command_lines() -> dict[int, bytes]:
    """Return the command line of every process that lives, by pid."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            found[int(path.parent.name)] = path.read_bytes()
    return {pid: line for pid, line in found.items() if line}
