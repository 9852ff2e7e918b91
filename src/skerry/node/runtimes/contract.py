"""What a runtime does for a node: one contract, and `tests/contract/runtime.py` holds every runtime to it.

A container is identified by (pod uid, name, attempt), and of one (pod uid, name) at most one attempt ever lives. A
runtime remembers what it started by itself: after the node software was killed, `containers` finds everything again.
Containers outlive the node software. Nothing here knows of the Kubernetes API: callers hand in decided values.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec


class ContainerKey(NamedTuple):
    """Which container of which Pod."""

    pod_uid: str
    name: str


class RuntimeFailedError(Exception):
    """The runtime could not do it; trying again later may help. `reason` is a word for a container's waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ImageError(RuntimeFailedError):
    """The image is not to be had: `reason` is ErrImagePull, InvalidImageName, ErrImageNeverPull or ImageNotAllowed."""


class RefusedError(RuntimeFailedError):
    """This Pod asks for what this runtime cannot keep: it fails for good, with the reason and the field named."""


class Image(msgspec.Struct, frozen=True):
    """Something that can be run. `root` is the folder of its files, or "" for the host's own programs.

    `binds` is what of it is shown: names in `root`, or paths of the host.
    """

    reference: str
    digest: str
    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    workdir: str = "/"
    root: str = ""
    binds: tuple[str, ...] = ()
    fixed_entrypoint: bool = False
    """True when `command` may only name the entrypoint itself: the node allowed this program and no other."""


class Mount(msgspec.Struct, frozen=True):
    """*source* (an absolute path of the host) at *target* in the container; `inside` is a path below *source* that
    is opened without following links (subPath)."""

    source: str
    target: str
    read_only: bool = True
    inside: str = ""


class Limits(msgspec.Struct, frozen=True):
    """What a container may use at most; None is no limit. `memory_bytes`, `cpu_millis` (1000 is one core)."""

    memory_bytes: int | None = None
    cpu_millis: int | None = None


class ContainerSpec(msgspec.Struct, frozen=True):
    """All that is needed to start one attempt of one container. Every value is decided and checked."""

    key: ContainerKey
    attempt: int
    namespace: str
    pod: str
    image: Image
    argv: tuple[str, ...]
    env: Mapping[str, str]
    workdir: str
    hostname: str
    mounts: tuple[Mount, ...] = ()
    limits: Limits = msgspec.field(default_factory=Limits)
    run_as_user: int | None = None
    run_as_group: int | None = None
    termination_path: str = "/dev/termination-log"
    """Where the program may leave a last message, "" for nowhere."""
    message_from_log: bool = False
    """Whether the log's end stands in for that message when the program failed without one."""
    files: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Small files that the container gets, by absolute path: `/etc/hosts` and the like."""


State = Literal["running", "exited"]


class Container(msgspec.Struct, frozen=True):
    """One attempt as the runtime knows it. Times are seconds since 1970; `exit_code` and `finished_at` once it exited."""

    key: ContainerKey
    attempt: int
    id: str
    state: State
    started_at: float
    image: str
    image_id: str
    pid: int = 0
    exit_code: int = 0
    finished_at: float = 0.0
    reason: str = ""
    message: str = ""


class LogOptions(msgspec.Struct, frozen=True):
    """As `kubectl logs` asks. `since_at` is seconds since 1970; `tail_lines` None means all that is kept."""

    follow: bool = False
    tail_lines: int | None = None
    since_at: float | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


class ExecSession(Protocol):
    """One command that runs inside a container. With a terminal, standard error comes with standard output."""

    async def write(self, data: bytes) -> None: ...

    async def close_stdin(self) -> None: ...

    async def read(self, channel: Literal["stdout", "stderr"]) -> bytes:
        """Return the next bytes, b"" at the end."""
        ...

    def resize(self, *, rows: int, columns: int) -> None: ...

    async def wait(self) -> int:
        """Return the exit code; 128 + N after signal N."""
        ...

    async def kill(self) -> None: ...


class ExecSpec(msgspec.Struct, frozen=True):
    argv: tuple[str, ...]
    tty: bool = False
    stdin: bool = False


class Enforcement(msgspec.Struct, frozen=True):
    """Which limits this host lets the runtime keep; `message` says what is missing and what to do about it."""

    memory: bool
    cpu: bool
    pids: bool
    message: str = ""

    @property
    def complete(self) -> bool:
        return self.memory and self.cpu and self.pids


class Runtime(Protocol):
    """Runs containers. Raises RuntimeFailedError and its kinds only; `stop` and `remove` of what is gone succeed."""

    @property
    def name(self) -> str:
        """The handler's name, as RuntimeClass objects call it."""
        ...

    @property
    def enforcement(self) -> Enforcement: ...

    @property
    def problem(self) -> str:
        """Why this host cannot run anything with this runtime and what to do about it; "" when it can."""
        ...

    async def open(self) -> None:
        """Find everything that an earlier life started; must be called first."""
        ...

    def containers(self) -> Sequence[Container]:
        """Return every attempt that is known, oldest first; attempts that ended stay until `remove`."""
        ...

    def on_change(self, changed: Callable[[str], None]) -> None:
        """Have *changed* called with a Pod's uid, on the loop, when one of its containers exits by itself."""
        ...

    async def image(self, reference: str, *, pull: str) -> Image:
        """Return the image; *pull* is the imagePullPolicy. Raises ImageError."""
        ...

    async def start(self, spec: ContainerSpec) -> Container:
        """Start an attempt. Returns when it runs, or ran and exited; an attempt that lives already is an error."""
        ...

    async def stop(self, key: ContainerKey, *, grace_s: float) -> None:
        """Ask the living attempt to end, insist after *grace_s*; returns when nothing of it is left."""
        ...

    async def remove(self, key: ContainerKey, attempt: int) -> None:
        """Forget an attempt that ended, with its log."""
        ...

    async def remove_pod(self, pod_uid: str) -> None:
        """Forget all of a Pod; every container must have ended."""
        ...

    def logs(self, key: ContainerKey, attempt: int, options: LogOptions) -> AsyncIterator[bytes]: ...

    async def exec(self, key: ContainerKey, spec: ExecSpec) -> ExecSession: ...

    async def pod_owner(self, pod_uid: str) -> tuple[int, int]:
        """Return (uid, gid) of the host that this Pod's files should belong to."""
        ...

    async def close(self) -> None:
        """Stop watching. Containers live on."""
        ...
