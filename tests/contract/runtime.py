"""What every runtime must keep. Subclass `RuntimeContract`, provide `runtime` and `again`, inherit the tests.

`runtime` is open; `again()` gives the same runtime as a new life of the node would find it after the old was killed.
`program` says how to make it run something: the process and the fake both understand the few verbs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from skerry.node.runtimes.contract import (
    Container,
    ContainerKey,
    ContainerSpec,
    ExecSpec,
    ImageError,
    Limits,
    LogOptions,
    Mount,
    RefusedError,
    Runtime,
    RuntimeFailedError,
)

POD = "0b6d7c1e-0000-4000-8000-000000000001"
Again = Callable[[], Awaitable[Runtime]]


async def a_spec(
    runtime: Runtime,
    *argv: str,
    name: str = "app",
    attempt: int = 0,
    env: dict[str, str] | None = None,
    mounts: tuple[Mount, ...] = (),
    limits: Limits | None = None,
) -> ContainerSpec:
    image = await runtime.image("host.skerry.invalid/busy", pull="IfNotPresent")
    return ContainerSpec(
        key=ContainerKey(POD, name),
        attempt=attempt,
        namespace="default",
        pod="pod-1",
        image=image,
        argv=(*image.entrypoint, *argv),
        env=env or {},
        workdir="/",
        hostname="pod-1",
        mounts=mounts,
        limits=limits or Limits(),
    )


async def until_exited(runtime: Runtime, *, name: str = "app", attempt: int = 0) -> Container:
    async with asyncio.timeout(60):
        while True:
            found = the(runtime, name=name, attempt=attempt)
            if found is not None and found.state == "exited":
                return found
            await asyncio.sleep(0.01)


def the(runtime: Runtime, *, name: str = "app", attempt: int = 0) -> Container | None:
    return next((c for c in runtime.containers() if c.key == (POD, name) and c.attempt == attempt), None)


async def the_log(runtime: Runtime, options: LogOptions | None = None, *, name: str = "app", attempt: int = 0) -> str:
    async with asyncio.timeout(60):
        return b"".join([b async for b in runtime.logs(ContainerKey(POD, name), attempt, options or LogOptions())]).decode()


async def until_printed(runtime: Runtime, *names: str) -> None:
    """Wait until each has printed something: its program runs, and not only its sandbox."""
    async with asyncio.timeout(60):
        for name in names:
            while not await the_log(runtime, name=name):
                await asyncio.sleep(0.01)


class RuntimeContract:
    async def test_a_container_runs_until_it_ends_and_its_exit_code_is_known(self, runtime: Runtime) -> None:
        told: list[str] = []
        runtime.on_change(told.append)

        started = await runtime.start(await a_spec(runtime, "exit", "7"))
        ended = await until_exited(runtime)

        assert (started.key, started.attempt) == (ended.key, ended.attempt)
        assert (ended.exit_code, ended.reason) == (7, "Error")
        assert ended.finished_at >= ended.started_at > 1_600_000_000
        assert told == [POD]

    async def test_exit_code_zero_is_completed(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "exit", "0"))

        assert (await until_exited(runtime)).reason == "Completed"

    async def test_what_it_prints_is_its_log(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "print", "one", "two", "three"))
        await until_exited(runtime)

        assert await the_log(runtime) == "one\ntwo\nthree\n"
        assert await the_log(runtime, LogOptions(tail_lines=2)) == "two\nthree\n"
        assert await the_log(runtime, LogOptions(tail_lines=0)) == ""
        assert await the_log(runtime, LogOptions(limit_bytes=5)) == "one\nt"

    async def test_following_a_log_ends_with_the_container(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "print-then-wait", "first"))
        reading = runtime.logs(ContainerKey(POD, "app"), 0, LogOptions(follow=True))
        first = await anext(reading)

        await runtime.stop(ContainerKey(POD, "app"), grace_s=0)

        assert (first, [b async for b in reading]) == (b"first\n", [])

    async def test_timestamps_go_before_each_line(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "print", "one", "two"))
        await until_exited(runtime)

        lines = (await the_log(runtime, LogOptions(timestamps=True))).splitlines()

        assert [line.partition(" ")[2] for line in lines] == ["one", "two"]
        assert all(line[4] == "-" and line[10] == "T" and line.split()[0].endswith("Z") for line in lines)

    async def test_environment_and_arguments_arrive_untouched(self, runtime: Runtime) -> None:
        odd = "a b;$(touch /x)|`id`\n\"'"
        await runtime.start(await a_spec(runtime, "env", "ODD", env={"ODD": odd}))
        await until_exited(runtime)

        assert await the_log(runtime) == odd + "\n"

    async def test_a_nul_byte_is_refused(self, runtime: Runtime) -> None:
        for spec in (await a_spec(runtime, "print", "a\0b"), await a_spec(runtime, "exit", "0", env={"A": "b\0c"})):
            with pytest.raises(RefusedError, match="NUL"):
                await runtime.start(spec)

    async def test_stop_asks_and_then_insists(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "wait", name="polite"))
        await runtime.start(await a_spec(runtime, "ignore-term", name="stubborn"))
        await until_printed(runtime, "polite", "stubborn")

        async with asyncio.timeout(60):
            await runtime.stop(ContainerKey(POD, "polite"), grace_s=10)
            await runtime.stop(ContainerKey(POD, "stubborn"), grace_s=0.3)

        assert (await until_exited(runtime, name="polite")).exit_code == 143
        assert (await until_exited(runtime, name="stubborn")).exit_code == 137

    async def test_stopping_what_is_gone_succeeds(self, runtime: Runtime) -> None:
        await runtime.stop(ContainerKey(POD, "never"), grace_s=1)
        await runtime.remove(ContainerKey(POD, "never"), 0)
        await runtime.remove_pod(POD)

        assert list(runtime.containers()) == []

    async def test_a_second_attempt_beside_a_living_one_is_refused(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "wait"))

        with pytest.raises(RuntimeFailedError, match="still runs"):
            await runtime.start(await a_spec(runtime, "wait", attempt=1))
        with pytest.raises(RuntimeFailedError, match="still runs"):
            await runtime.remove(ContainerKey(POD, "app"), 0)

    async def test_an_attempt_is_made_once_only(self, runtime: Runtime) -> None:
        await runtime.start(await a_spec(runtime, "exit", "0"))
        await until_exited(runtime)

        with pytest.raises(RuntimeFailedError, match="made before"):
            await runtime.start(await a_spec(runtime, "exit", "0"))

    async def test_the_next_life_finds_what_runs_and_what_ended(self, runtime: Runtime, again: Again) -> None:
        await runtime.start(await a_spec(runtime, "exit", "3", name="done"))
        await runtime.start(await a_spec(runtime, "print-then-wait", "hello", name="app"))
        await until_exited(runtime, name="done")

        await until_printed(runtime, "app")

        later = await again()

        app, done = the(later, name="app"), the(later, name="done")
        assert app is not None
        assert done is not None
        assert (app.state, done.state, done.exit_code) == ("running", "exited", 3)
        with pytest.raises(RuntimeFailedError):
            await later.start(await a_spec(later, "wait", attempt=1))
        await later.stop(ContainerKey(POD, "app"), grace_s=5)
        assert (await until_exited(later, name="app")).exit_code == 143
        assert await the_log(later) == "hello\n"

    async def test_the_next_life_hears_of_an_exit(self, runtime: Runtime, again: Again) -> None:
        await runtime.start(await a_spec(runtime, "exit-after", "0.8", "5"))
        later = await again()

        assert (await until_exited(later)).exit_code == 5

    async def test_an_image_that_is_not_allowed_says_what_to_do(self, runtime: Runtime) -> None:
        with pytest.raises(ImageError, match="--allow-program rm=") as caught:
            await runtime.image("host.skerry.invalid/rm", pull="Always")
        assert caught.value.reason == "ImageNotAllowed"
        with pytest.raises(ImageError):
            await runtime.image("docker.io/library/nginx:latest", pull="Always")

    async def test_exec_runs_beside_the_program(self, runtime: Runtime) -> None:
        spec = await a_spec(runtime, "wait", env={"COLOUR": "blue"})
        await runtime.start(spec)
        await until_printed(runtime, "app")

        session = await runtime.exec(ContainerKey(POD, "app"), ExecSpec((*spec.image.entrypoint, "env", "COLOUR")))
        await session.close_stdin()

        assert await session.read("stdout") == b"blue\n"
        assert await session.wait() == 0
        await session.kill()

    async def test_exec_passes_standard_input_and_the_exit_code(self, runtime: Runtime) -> None:
        spec = await a_spec(runtime, "wait")
        await runtime.start(spec)

        session = await runtime.exec(ContainerKey(POD, "app"), ExecSpec((*spec.image.entrypoint, "upper-then-exit", "9"), stdin=True))
        await session.write(b"quiet")
        await session.close_stdin()

        assert await session.read("stdout") == b"QUIET"
        assert await session.wait() == 9
        await session.kill()

    async def test_exec_in_what_does_not_run_is_an_error(self, runtime: Runtime) -> None:
        with pytest.raises(RuntimeFailedError, match="not running"):
            await runtime.exec(ContainerKey(POD, "app"), ExecSpec(("true",)))

    async def test_remove_forgets(self, runtime: Runtime, again: Again) -> None:
        await runtime.start(await a_spec(runtime, "exit", "0"))
        await until_exited(runtime)

        await runtime.remove(ContainerKey(POD, "app"), 0)

        assert the(runtime) is None
        assert the(await again()) is None
