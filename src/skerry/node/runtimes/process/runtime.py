"""The `process` runtime: a container is a bubblewrap sandbox on the host's own kernel, network and programs.

Nothing of a container hangs on the node software: it has a session of its own, writes its own log, and its lock and
bubblewrap's status file tell a later life of the node what became of it. Before an attempt starts its intent is on disk
and its lock is taken; the lock passes to the first process at fork, so that a kill at any point can start nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from skerry.durable import failpoints
from skerry.model.names import dns_label_error
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
    Mount,
    RuntimeFailedError,
)
from skerry.node.runtimes.process import journal, logs
from skerry.node.runtimes.process.cgroups import Cgroups
from skerry.node.runtimes.process.journal import Attempt, Exit, Record
from skerry.node.runtimes.process.owners import Owners
from skerry.node.runtimes.process.programs import HOST, Program, program_image, program_name
from skerry.node.runtimes.process.sandbox import HOST_READABLE, HostLayout, bwrap_arguments

log = logging.getLogger(__name__)

SHIM = str(Path(__file__).with_name("_shim.py"))
START_TIMEOUT_S = 30.0
"""From the fork to a sandbox: 0.1 s here, more on a small board under load."""
_POLL_S = 0.01
_GROUP_TRIES = 100
_POD_UID = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """`pods` is the folder of all Pods. Every bound has its reason beside it."""

    pods: Path
    programs: Mapping[str, Program] = field(default_factory=dict)
    layouts: Path | None = None
    bwrap: str = "/usr/bin/bwrap"
    first_uid: int = 2_000_000_000
    """Above what people, systemd (to 1,879,048,191) and subuid ranges usually use."""
    uids: int = 1_000_000
    log_keep_bytes: int = 10 * 2**20
    """Kept of each log; twice this on disk at most. What the kubelet keeps in one file."""
    pids: int = 1024
    """Processes and threads of one container: a fork bomb stays small."""
    files: int = 65_536
    """Open files of one process."""


class _Living:
    """An attempt that runs: how to hear of its end, and who waits for it."""

    def __init__(self, attempt: Attempt, record: Record) -> None:
        self.attempt = attempt
        self.record = record
        self.pid = 0
        self.pidfd = -1
        self.child: subprocess.Popen[bytes] | None = None
        self.ended = asyncio.Event()
        self.times = logs.Times(attempt.folder / "log.times")
        self.stopping = False


class ProcessRuntime:
    """Implements `Runtime`."""

    name = "process"

    def __init__(self, settings: ProcessSettings, cgroups: Cgroups) -> None:
        self._settings = settings
        self._cgroups = cgroups
        self._owners = Owners(settings.pods, first=settings.first_uid, count=settings.uids)
        self._host = host_layout()
        self._known: dict[tuple[ContainerKey, int], Container] = {}
        self._living: dict[ContainerKey, _Living] = {}
        self._changed: list[Callable[[str], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = False
        self._began = asyncio.Event()
        self.problem = ""

    @property
    def enforcement(self) -> Enforcement:
        return self._cgroups.enforcement

    # ------------------------------------------------------------ life

    async def open(self) -> None:
        self._settings.pods.mkdir(parents=True, exist_ok=True, mode=0o700)
        for attempt in journal.attempts(self._settings.pods):
            record = attempt.record()
            if record is None or (not attempt.lives() and attempt.first_process() is None and attempt.exit() is None):
                attempt.forget()  # the intent only: no process was ever made
                continue
            ended = attempt.exit()
            if ended is not None:
                self._known[attempt.key, attempt.number] = _exited(attempt, record, ended)
            elif attempt.lives():
                self._known[attempt.key, attempt.number] = _running(attempt, record)
                living = self._living[attempt.key] = _Living(attempt, record)
                self._spawn_task(self._adopt(living))
            else:
                self._end(attempt, record)
        used = {c.image_id for c in self._known.values()}
        await asyncio.to_thread(forget_images, self._settings.pods.parent / "images", used)
        self._opened = True
        self.problem = await find_problem(self._settings.bwrap)
        self._began.set()
        self._spawn_task(self._keep_logs())

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for living in self._living.values():
            self._unwatch(living)
            if living.child is not None:
                living.child.returncode = 0  # it lives on, and is somebody else's child soon
        self._living.clear()

    def _spawn_task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ asking

    def containers(self) -> Sequence[Container]:
        return [self._known[k] for k in sorted(self._known)]

    def on_change(self, changed: Callable[[str], None]) -> None:
        self._changed.append(changed)

    async def image(self, reference: str, *, pull: str) -> Image:
        if program_name(reference) is not None:
            return program_image(reference, self._settings.programs)
        if self._settings.layouts is None:
            message = (
                f"cannot run image {reference!r}: this node runs {HOST}/PROGRAM (see --allow-program) "
                "and images by digest from a folder of OCI layouts (see --oci-layouts), and no folder is set"
            )
            raise ImageError("ImageNotAllowed", message)
        from skerry.node.runtimes.process.oci import open_image

        return await asyncio.to_thread(open_image, reference, self._settings.layouts, self._settings.pods.parent / "images")

    async def pod_owner(self, pod_uid: str) -> tuple[int, int]:
        _check_name(ContainerKey(pod_uid, "x"))
        return self._owners.of(pod_uid)

    # ------------------------------------------------------------ starting

    async def start(self, spec: ContainerSpec) -> Container:
        _check_name(spec.key)
        if not self._opened:
            raise RuntimeFailedError("CreateContainerError", "the runtime was not opened")
        if spec.key in self._living:
            raise RuntimeFailedError(
                "CreateContainerError", f"attempt {self._living[spec.key].attempt.number} of {spec.key.name} still runs"
            )
        uid, gid = self._owners.of(spec.key.pod_uid)
        inside = self._inside(spec)
        attempt = journal.attempt(self._settings.pods, spec.key, spec.attempt)
        record = Record(
            id=f"{spec.key.pod_uid}-{spec.key.name}-{spec.attempt}",
            namespace=spec.namespace,
            pod=spec.pod,
            image=spec.image.reference,
            image_id=spec.image.digest,
            workdir=spec.workdir,
            uid=inside[0],
            gid=inside[1],
            started_at=time.time(),
            message_from_log=spec.message_from_log,
        )
        arguments = bwrap_arguments(replace(spec, mounts=self._mounts(spec, attempt)), host=self._host, uid=inside[0], gid=inside[1])
        try:
            living = self._launch(spec, attempt, record, arguments, (uid, gid))
        except OSError as error:
            attempt.forget()
            raise RuntimeFailedError("CreateContainerError", f"cannot start container {spec.key.name}: {error}") from error
        self._living[spec.key] = living
        self._began.set()
        self._known[spec.key, spec.attempt] = _running(attempt, record)
        self._watch(living)
        await self._until_begun(living)
        return self._known[spec.key, spec.attempt]

    def _mounts(self, spec: ContainerSpec, attempt: Attempt) -> tuple[Mount, ...]:
        found = (*(Mount(str(attempt.folder / _file_name(p)), p) for p in self._files(spec)), *spec.mounts)
        if not spec.termination_path:
            return found
        return (*found, Mount(str(attempt.termination), spec.termination_path, read_only=False))

    def _files(self, spec: ContainerSpec) -> dict[str, str]:
        """Return the small files of the container by path; an image with an /etc of its own keeps it."""
        if spec.image.root and "etc" in spec.image.binds:
            return {}
        uid, gid = self._inside(spec)
        passwd = f"root:x:0:0:root:/root:/usr/sbin/nologin\npod:x:{uid}:{gid}:{spec.pod}:/tmp:/bin/sh\n"
        return {"/etc/passwd": passwd, "/etc/group": f"root:x:0:\npod:x:{gid}:\n", **spec.files}

    def _inside(self, spec: ContainerSpec) -> tuple[int, int]:
        """Return (uid, gid) that the container's processes see."""
        uid, gid = self._owners.of(spec.key.pod_uid)
        return (uid if spec.run_as_user is None else spec.run_as_user, gid if spec.run_as_group is None else spec.run_as_group)

    def _launch(self, spec: ContainerSpec, attempt: Attempt, record: Record, arguments: list[Any], owner: tuple[int, int]) -> _Living:
        try:
            attempt.create(record)
        except FileExistsError as error:
            raise RuntimeFailedError("CreateContainerError", f"attempt {spec.attempt} of {spec.key.name} was made before") from error
        failpoints.reach("runtime.after_intent")
        with contextlib.ExitStack() as files:
            lock = attempt.take_lock()
            assert lock is not None, "nobody else can hold the lock of a folder that was just made"
            files.callback(os.close, lock)
            output = _new_file(files, attempt.log, owner, os.O_APPEND)
            status = _new_file(files, attempt.folder / "status", (-1, -1), os.O_APPEND)
            _new_file(files, attempt.termination, owner, 0)
            for path, text in self._files(spec).items():
                made = attempt.folder / _file_name(path)
                made.write_text(text)
                made.chmod(0o644)
            request = {
                "mode": "start",
                "root": os.geteuid() == 0,
                "lock": lock,
                "status": status,
                "bwrap": self._settings.bwrap,
                "title": f"skerry:{record.id}",
                "arguments": arguments,
                "command": spec.argv,
                "uid": owner[0],
                "gid": owner[1],
                "cgroups": self._cgroups.create(record.id, spec.limits, pids=self._settings.pids),
                "rlimits": self._rlimits(),
            }
            living = _Living(attempt, record)
            living.child = _run_shim(files, request, keep=(lock, status), output=output)
            living.pid = living.child.pid
            failpoints.reach("runtime.after_fork")
            return living

    def _rlimits(self) -> dict[str, int]:
        found = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": self._settings.files}
        if os.geteuid() == 0:  # a user of its own: the limit counts this Pod's processes only
            found["RLIMIT_NPROC"] = self._settings.pids
        return found

    async def _until_begun(self, living: _Living) -> None:
        """Wait until the container's own program runs in its sandbox, or the attempt ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while not living.ended.is_set() and not _begun(living):  # noqa: ASYNC110  # the kernel does not tell
                    await asyncio.sleep(_POLL_S)

    # ------------------------------------------------------------ watching

    async def _adopt(self, living: _Living) -> None:
        """Find the processes of an attempt that an earlier life of the node started, and watch them."""
        attempt = living.attempt
        while (first := attempt.first_process()) is None and attempt.lives():  # noqa: ASYNC110  # another process writes it
            await asyncio.sleep(_POLL_S)
        if first is not None and journal.start_time(first[0]) == first[1]:
            living.pid = first[0]
            self._watch(living)
            log.info("container adopted", extra={"container": living.record.id, "pid": living.pid})
            return
        await self._finish(living)

    def _watch(self, living: _Living) -> None:
        try:
            living.pidfd = os.pidfd_open(living.pid)
        except ProcessLookupError:
            self._spawn_task(self._finish(living))
            return
        asyncio.get_running_loop().add_reader(living.pidfd, self._on_exit, living)

    def _unwatch(self, living: _Living) -> None:
        if living.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(living.pidfd)
            os.close(living.pidfd)
            living.pidfd = -1

    def _on_exit(self, living: _Living) -> None:
        self._unwatch(living)
        self._spawn_task(self._finish(living))

    async def _finish(self, living: _Living) -> None:
        """Clear away what is left of an attempt, then say that it ended."""
        if living.child is not None:
            living.child.poll()
        while living.attempt.lives():
            _kill_titled(f"skerry:{living.record.id}")
            await asyncio.sleep(_POLL_S)
        with contextlib.suppress(OSError):
            living.times.note(living.attempt.log.stat().st_size, time.time())
        self._end(living.attempt, living.record)
        for _ in range(_GROUP_TRIES):
            if self._cgroups.remove(living.record.id):
                break
            await asyncio.sleep(_POLL_S)
        self._living.pop(living.attempt.key, None)
        living.ended.set()
        for changed in self._changed:
            changed(living.attempt.key.pod_uid)

    def _end(self, attempt: Attempt, record: Record) -> None:
        status = attempt.status()
        found = exit_of(status, oom=self._cgroups.out_of_memory(record.id), output=_tail(attempt.log), now=time.time())
        if not found.message:
            found = msgspec.structs.replace(found, message=_tail(attempt.termination, 4096))
        if not found.message and record.message_from_log and found.exit_code:
            found = msgspec.structs.replace(found, message=_tail(attempt.log, 2048))
        failpoints.reach("runtime.before_exit_record")
        with contextlib.suppress(OSError):  # a full disk: the next life will judge by what bubblewrap wrote
            attempt.write_exit(found)
        failpoints.reach("runtime.after_exit_record")
        self._cgroups.remove(record.id)
        self._known[attempt.key, attempt.number] = _exited(attempt, record, found)

    # ------------------------------------------------------------ ending

    async def stop(self, key: ContainerKey, *, grace_s: float) -> None:
        living = self._living.get(key)
        if living is None:
            return
        if grace_s > 0:
            self._signal_command(living, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await living.ended.wait()
        while not living.ended.is_set():
            self._kill(living)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await living.ended.wait()

    def _signal_command(self, living: _Living, number: int) -> None:
        """Signal the container's own program, as Kubernetes signals process 1."""
        sandbox = living.attempt.status().child
        if sandbox and journal.title(sandbox) == f"skerry:{living.record.id}":
            command = journal.command_pid(sandbox)
            if command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(command, number)

    def _kill(self, living: _Living) -> None:
        """Kill the sandbox's first process: the kernel takes everything else in it along."""
        sandbox, name = living.attempt.status().child, f"skerry:{living.record.id}"
        if sandbox and journal.title(sandbox) == name:
            with contextlib.suppress(ProcessLookupError):
                os.kill(sandbox, signal.SIGKILL)
        else:
            _kill_titled(name)

    async def remove(self, key: ContainerKey, attempt: int) -> None:
        living = self._living.get(key)
        if living is not None and living.attempt.number == attempt:
            raise RuntimeFailedError("RemoveContainerError", f"attempt {attempt} of {key.name} still runs")
        self._known.pop((key, attempt), None)
        journal.attempt(self._settings.pods, key, attempt).forget()

    async def remove_pod(self, pod_uid: str) -> None:
        for key, number in [k for k in self._known if k[0].pod_uid == pod_uid]:
            await self.remove(key, number)
        _check_name(ContainerKey(pod_uid, "x"))
        await asyncio.to_thread(shutil.rmtree, self._settings.pods / pod_uid, ignore_errors=True)
        self._owners.forget(pod_uid)

    def forget_groups(self) -> None:
        """Remove the node's own control groups; nothing may run in them any more."""
        self._cgroups.remove("")

    # ------------------------------------------------------------ streams

    def logs(self, key: ContainerKey, attempt: int, options: LogOptions) -> AsyncIterator[bytes]:
        found = journal.attempt(self._settings.pods, key, attempt)

        def lives() -> bool:
            living = self._living.get(key)
            return living is not None and living.attempt.number == attempt

        return logs.read_log(found.log, found.folder / "log.times", options, lives=lives)

    async def exec(self, key: ContainerKey, spec: ExecSpec) -> ExecSession:
        living = self._living.get(key)
        sandbox = living.attempt.status().child if living is not None else 0
        if living is None or not sandbox:
            raise RuntimeFailedError("ContainerNotRunning", f"container {key.name} is not running")
        from skerry.node.runtimes.process.execs import start_exec

        record = living.record
        return await start_exec(spec, sandbox=sandbox, record=record, cgroups=self._cgroups.files(record.id), shim=SHIM)

    async def _keep_logs(self) -> None:
        """Once a second note how long the logs are, and give back what is too old."""
        while True:
            if not self._living:  # an idle node sleeps
                self._began.clear()
                await self._began.wait()
            for living in list(self._living.values()):
                with contextlib.suppress(OSError):
                    size = living.attempt.log.stat().st_size
                    living.times.note(size, time.time())
                    if size > 2 * self._settings.log_keep_bytes:
                        await asyncio.to_thread(logs.give_back, living.attempt.log, keep_bytes=self._settings.log_keep_bytes)
            await asyncio.sleep(1.0)


def exit_of(status: journal.Status, *, oom: bool, output: str, now: float) -> Exit:
    """Return how an attempt ended, from what bubblewrap wrote and what the log's end says."""
    at = status.finished_at or now
    if status.exit_code is not None:
        reason = "OOMKilled" if oom and status.exit_code else "Error" if status.exit_code else "Completed"
        return Exit(exit_code=status.exit_code, finished_at=at, reason=reason)
    last = output.strip().rpartition("\n")[2]
    if last.startswith(("bwrap: ", "skerry: ")):
        return Exit(exit_code=128, finished_at=at, reason="StartError", message=last[:1024])
    if oom:
        return Exit(exit_code=137, finished_at=at, reason="OOMKilled")
    message = "nobody saw how it ended: it was killed from outside, or the machine restarted"
    return Exit(exit_code=137, finished_at=at, reason="ContainerStatusUnknown", message=message)


def forget_images(store: Path, used: set[str]) -> None:
    """Remove the unpacked images that no attempt was started from, and what was left half unpacked."""
    for folder in store.iterdir() if store.is_dir() else ():
        if f"sha256:{folder.name}" not in used:
            shutil.rmtree(folder, ignore_errors=True)


async def find_problem(bwrap: str) -> str:
    """Try an empty sandbox, as a user without rights; return why it cannot be had, "" when it can."""
    if not os.access(bwrap, os.X_OK):
        return f"{bwrap} is not there: install bubblewrap (apt-get install bubblewrap)"
    command = [bwrap, "--unshare-user", "--unshare-pid", "--disable-userns", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--proc", "/proc"]
    who: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    quiet = asyncio.subprocess.DEVNULL
    tried = await asyncio.create_subprocess_exec(
        *command, "/usr/bin/true", stdin=quiet, stdout=quiet, stderr=asyncio.subprocess.PIPE, cwd="/", env={}, **who
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            _, said = await tried.communicate()
    except TimeoutError:
        tried.kill()
        await tried.wait()
        return f"bubblewrap made no sandbox within {START_TIMEOUT_S:.0f} s"
    if tried.returncode == 0:
        return ""
    why = said.decode(errors="replace").strip()[:500] or f"exit code {tried.returncode}"
    return f"bubblewrap cannot make a sandbox here ({why}): allow user namespaces (sysctl user.max_user_namespaces) to every user"


def host_layout() -> HostLayout:
    """Read what this host's root looks like."""
    links, folders = {}, ["/usr"]
    for path in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if Path(path).is_symlink():
            links[path] = str(Path(path).readlink())
        elif Path(path).is_dir():
            folders.append(path)
    return HostLayout(links, tuple(folders), tuple(p for p in HOST_READABLE if Path(p).exists()))


def _check_name(key: ContainerKey) -> None:
    """These become names of folders and of control groups."""
    if not _POD_UID.fullmatch(key.pod_uid):
        raise RuntimeFailedError("CreateContainerError", f"{key.pod_uid!r} is not the uid of a Pod")
    wrong = dns_label_error(key.name)
    if wrong:
        raise RuntimeFailedError("CreateContainerError", f"container name {key.name!r}: {wrong}")


def _begun(living: _Living) -> bool:
    sandbox = living.attempt.status().child
    command = journal.command_pid(sandbox) if sandbox else 0
    return command > 0 and journal.title(command) not in ("", f"skerry:{living.record.id}")


def _file_name(path: str) -> str:
    return "file" + path.replace("/", "-")


def _new_file(files: contextlib.ExitStack, path: Path, owner: tuple[int, int], flags: int) -> int:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    files.callback(os.close, fd)
    if os.geteuid() == 0 and owner[0] >= 0:
        os.fchown(fd, *owner)
    return fd


def _run_shim(files: contextlib.ExitStack, request: dict[str, Any], *, keep: tuple[int, ...], output: int) -> subprocess.Popen[bytes]:
    fd = os.memfd_create("request", os.MFD_CLOEXEC)
    files.callback(os.close, fd)
    os.write(fd, msgspec.json.encode(request))
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", SHIM, str(fd)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        close_fds=True,
        pass_fds=(fd, *keep),
        start_new_session=True,
        cwd="/",
        env={},
    )


def _kill_titled(name: str) -> None:
    """Kill every process that carries the title of one attempt; the title is unique and only we give it."""
    wanted = name.encode()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if Path(entry.path, "cmdline").read_bytes().split(b"\0", 1)[0] == wanted:
                    os.kill(int(entry.name), signal.SIGKILL)


def _tail(path: Path, size: int = 1024) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size).decode(errors="replace")
    except OSError:
        return ""


def _running(attempt: Attempt, record: Record) -> Container:
    pid = 0
    return Container(attempt.key, attempt.number, record.id, "running", record.started_at, record.image, record.image_id, pid)


def _exited(attempt: Attempt, record: Record, ended: Exit) -> Container:
    return Container(
        attempt.key,
        attempt.number,
        record.id,
        "exited",
        record.started_at,
        record.image,
        record.image_id,
        exit_code=ended.exit_code,
        finished_at=ended.finished_at,
        reason=ended.reason,
        message=ended.message,
    )
