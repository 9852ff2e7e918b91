"""A runtime without processes: containers understand a few verbs and end when a test says so.

It passes `tests/contract/runtime.py`. What runs lives in a `FakeHost`, which outlasts the runtime as processes do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from skerry.node.runtimes.contract import (
    Container,
    ContainerKey,
    ContainerSpec,
    Enforcement,
    ExecSession,
    ExecSpec,
    Image,
    ImageError,
    LogOptions,
    RefusedError,
    RuntimeFailedError,
)

Clock = Callable[[], float]


class FakeContainer(msgspec.Struct):
    """One attempt. `obstinate` ones ignore the polite signal."""

    spec: ContainerSpec
    seen: Container
    log: bytes = b""
    obstinate: bool = False
    timer: asyncio.TimerHandle | None = None


class FakeHost(msgspec.Struct):
    """What outlasts the node: containers by (key, attempt), and who wants to hear of an exit."""

    containers: dict[tuple[ContainerKey, int], FakeContainer] = msgspec.field(default_factory=dict)
    listeners: list[Callable[[str], None]] = msgspec.field(default_factory=list)
    now: Clock = time.time
    starts: list[tuple[str, int]] = msgspec.field(default_factory=list)
    """Every start so far: container name and attempt."""

    def living(self, key: ContainerKey) -> FakeContainer | None:
        return next((c for (k, _), c in self.containers.items() if k == key and c.seen.state == "running"), None)

    def exit(self, key: ContainerKey, code: int, reason: str = "") -> None:
        """End the living attempt of *key* from within."""
        found = self.living(key)
        if found is None:
            raise LookupError(f"{key} does not run")
        if found.timer is not None:
            found.timer.cancel()
        word = reason or ("Error" if code else "Completed")
        found.seen = replace(found.seen, state="exited", exit_code=code, finished_at=self.now(), reason=word)
        for listener in list(self.listeners):
            listener(key.pod_uid)


class FakeRuntime:
    """Implements `Runtime` on a FakeHost. `images` besides `host.skerry.invalid/busy` are refused unless added."""

    name = "process"

    def __init__(self, host: FakeHost, *, enforcement: Enforcement | None = None) -> None:
        self.host = host
        self.enforcement = enforcement or Enforcement(memory=True, cpu=True, pids=True)
        self.problem = ""
        self.images = {"host.skerry.invalid/busy"}
        self.fail_next: list[RuntimeFailedError] = []
        """Errors that the next starts raise."""
        self._listeners: list[Callable[[str], None]] = []

    async def open(self) -> None:
        self.host.listeners = self._listeners

    async def close(self) -> None:
        self._listeners.clear()

    def containers(self) -> Sequence[Container]:
        return [self.host.containers[k].seen for k in sorted(self.host.containers)]

    def on_change(self, changed: Callable[[str], None]) -> None:
        self._listeners.append(changed)

    async def image(self, reference: str, *, pull: str) -> Image:
        if reference not in self.images:
            name = reference.rpartition("/")[2]
            raise ImageError("ImageNotAllowed", f"{reference} is not allowed: start the node with --allow-program {name}=/path/to/it")
        return Image(reference=reference, digest=f"{reference}@fake", entrypoint=("/busy",), fixed_entrypoint=True)

    async def pod_owner(self, pod_uid: str) -> tuple[int, int]:
        return (-1, -1)

    async def start(self, spec: ContainerSpec) -> Container:
        if any("\0" in t for t in (*spec.argv, *spec.env, *spec.env.values())):
            raise RefusedError("InvalidContainer", f"container {spec.key.name} has a NUL byte")
        if self.fail_next:
            raise self.fail_next.pop(0)
        if self.host.living(spec.key) is not None:
            raise RuntimeFailedError("CreateContainerError", f"{spec.key.name} still runs")
        if (spec.key, spec.attempt) in self.host.containers:
            raise RuntimeFailedError("CreateContainerError", f"attempt {spec.attempt} of {spec.key.name} was made before")
        identity = f"{spec.key.pod_uid}-{spec.key.name}-{spec.attempt}"
        seen = Container(spec.key, spec.attempt, identity, "running", self.host.now(), spec.image.reference, spec.image.digest, pid=1)
        self.host.containers[spec.key, spec.attempt] = made = FakeContainer(spec, seen)
        self.host.starts.append((spec.key.name, spec.attempt))
        self._behave(made)
        return made.seen

    def _behave(self, made: FakeContainer) -> None:
        verb, *words = made.spec.argv[1:] or ["wait"]
        loop = asyncio.get_running_loop()
        match verb:
            case "exit":
                loop.call_soon(self._exit, made.spec.key, int(words[0]))
            case "exit-after":
                made.timer = loop.call_later(float(words[0]), self._exit, made.spec.key, int(words[1]))
            case "print":
                made.log = "".join(f"{w}\n" for w in words).encode()
                loop.call_soon(self._exit, made.spec.key, 0)
            case "env":
                made.log = f"{made.spec.env[words[0]]}\n".encode()
                loop.call_soon(self._exit, made.spec.key, 0)
            case "print-then-wait":
                made.log = "".join(f"{w}\n" for w in words).encode()
            case "ignore-term":
                made.obstinate, made.log = True, b"ignoring\n"
            case _:
                made.log = b"waiting\n"

    def _exit(self, key: ContainerKey, code: int) -> None:
        if self.host.living(key) is not None:
            self.host.exit(key, code)

    async def stop(self, key: ContainerKey, *, grace_s: float) -> None:
        living = self.host.living(key)
        if living is None:
            return
        if living.obstinate and grace_s > 0:
            await asyncio.sleep(grace_s)
        self._exit(key, 143 if grace_s > 0 and not living.obstinate else 137)

    async def remove(self, key: ContainerKey, attempt: int) -> None:
        found = self.host.containers.get((key, attempt))
        if found is not None and found.seen.state == "running":
            raise RuntimeFailedError("RemoveContainerError", f"attempt {attempt} of {key.name} still runs")
        self.host.containers.pop((key, attempt), None)

    async def remove_pod(self, pod_uid: str) -> None:
        for key, attempt in [k for k in self.host.containers if k[0].pod_uid == pod_uid]:
            await self.remove(key, attempt)

    async def logs(self, key: ContainerKey, attempt: int, options: LogOptions) -> AsyncIterator[bytes]:
        found = self.host.containers.get((key, attempt))
        if found is None:
            return
        lines = found.log.splitlines(keepends=True)
        if options.tail_lines is not None:
            lines = lines[-options.tail_lines :] if options.tail_lines else []
        if options.timestamps:
            stamp = datetime.fromtimestamp(found.seen.started_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ ").encode()
            lines = [stamp + line for line in lines]
        data = b"".join(lines)
        if data:
            yield data if options.limit_bytes is None else data[: options.limit_bytes]
        while options.follow and found.seen.state == "running":  # noqa: ASYNC110  # a fake may poll
            await asyncio.sleep(0.01)

    async def exec(self, key: ContainerKey, spec: ExecSpec) -> ExecSession:
        living = self.host.living(key)
        if living is None:
            raise RuntimeFailedError("ContainerNotRunning", f"container {key.name} is not running")
        return FakeExec(spec, living)


class FakeExec:
    """Implements `ExecSession` for `env NAME`, `upper-then-exit CODE` and `exit CODE`."""

    def __init__(self, spec: ExecSpec, container: FakeContainer) -> None:
        self._verb, *self._words = spec.argv[1:] or spec.argv
        self._container = container
        self._typed = b""
        self._closed = asyncio.Event()
        self._read = False

    async def write(self, data: bytes) -> None:
        self._typed += data

    async def close_stdin(self) -> None:
        self._closed.set()

    async def read(self, channel: Literal["stdout", "stderr"]) -> bytes:
        if channel == "stderr" or self._read:
            return b""
        self._read = True
        if self._verb == "env":
            return f"{self._container.spec.env[self._words[0]]}\n".encode()
        await self._closed.wait()
        return self._typed.upper() if self._verb == "upper-then-exit" else b""

    def resize(self, *, rows: int, columns: int) -> None:
        """A fake terminal has every size."""

    async def wait(self) -> int:
        return int(self._words[0]) if self._verb in ("upper-then-exit", "exit") else 0

    async def kill(self) -> None:
        self._closed.set()
