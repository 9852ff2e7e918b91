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
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
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
    RuntimeFailedError,
)
from skerry.node.runtimes.process import journal, logs
from skerry.node.runtimes.process.cgroups import Cgroups
from skerry.node.runtimes.process.ended import exit_of, exited_container, running_container, tail_of
from skerry.node.runtimes.process.host import find_problem, forget_images, host_layout
from skerry.node.runtimes.process.journal import Attempt, Record
from skerry.node.runtimes.process.owners import Owners
from skerry.node.runtimes.process.processes import begun, kill_sandbox, kill_titled, signal_command
from skerry.node.runtimes.process.programs import HOST, program_image, program_name
from skerry.node.runtimes.process.settings import ProcessSettings
from skerry.node.trees import remove_tree

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
"""From the fork to a program that runs: 0.1 s here, more on a small board under load."""
_POLL_S = 0.01
_GROUP_TRIES = 100
_POD_UID = re.compile(r"[A-Za-z0-9-]{1,64}")


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
        self.reserved = 0
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
                self._known[attempt.key, attempt.number] = exited_container(attempt, record, ended)
            elif attempt.lives():
                self._known[attempt.key, attempt.number] = running_container(attempt, record)
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
        from skerry.node.runtimes.process.launch import launch  # loaded with the first container

        living = _Living(attempt, record)
        try:
            living.child = launch(spec, attempt, record, (uid, gid), settings=self._settings, cgroups=self._cgroups, host=self._host)
        except OSError as error:
            attempt.forget()
            raise RuntimeFailedError("CreateContainerError", f"cannot start container {spec.key.name}: {error}") from error
        living.pid = living.child.pid
        self._living[spec.key] = living
        self._began.set()
        self._known[spec.key, spec.attempt] = running_container(attempt, record)
        self._watch(living)
        await self._until_begun(living)
        return self._known[spec.key, spec.attempt]

    def _inside(self, spec: ContainerSpec) -> tuple[int, int]:
        """Return (uid, gid) that the container's processes see."""
        uid, gid = self._owners.of(spec.key.pod_uid)
        return (uid if spec.run_as_user is None else spec.run_as_user, gid if spec.run_as_group is None else spec.run_as_group)

    async def _until_begun(self, living: _Living) -> None:
        """Wait until the container's own program runs in its sandbox, or the attempt ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while not living.ended.is_set() and not begun(living.attempt, living.record.id):  # noqa: ASYNC110  # the kernel does not tell
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
            kill_titled(living.record.id)
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
        found = exit_of(status, oom=self._cgroups.out_of_memory(record.id), output=tail_of(attempt.log), now=time.time())
        if not found.message:
            found = msgspec.structs.replace(found, message=tail_of(attempt.termination, 4096))
        if not found.message and record.message_from_log and found.exit_code:
            found = msgspec.structs.replace(found, message=tail_of(attempt.log, 2048))
        failpoints.reach("runtime.before_exit_record")
        with contextlib.suppress(OSError):  # a full disk: the next life will judge by what bubblewrap wrote
            attempt.write_exit(found)
        failpoints.reach("runtime.after_exit_record")
        self._cgroups.remove(record.id)
        self._known[attempt.key, attempt.number] = exited_container(attempt, record, found)

    # ------------------------------------------------------------ ending

    async def stop(self, key: ContainerKey, *, grace_s: float) -> None:
        living = self._living.get(key)
        if living is None:
            return
        if grace_s > 0:
            signal_command(living.attempt, living.record.id, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await living.ended.wait()
        while not living.ended.is_set():
            kill_sandbox(living.attempt, living.record.id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await living.ended.wait()

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
        await asyncio.to_thread(remove_tree, self._settings.pods / pod_uid, ignore_errors=True)
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
        from skerry.node.runtimes.process.launch import SHIM

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
                    if logs.reserve_due(size, living.reserved):
                        living.reserved = await asyncio.to_thread(logs.reserve, living.attempt.log, size)
                    living.times.note(size, time.time())
                    if size > 2 * self._settings.log_keep_bytes:
                        await asyncio.to_thread(logs.give_back, living.attempt.log, keep_bytes=self._settings.log_keep_bytes)
            await asyncio.sleep(1.0)


def _check_name(key: ContainerKey) -> None:
    """These become names of folders and of control groups."""
    if not _POD_UID.fullmatch(key.pod_uid):
        raise RuntimeFailedError("CreateContainerError", f"{key.pod_uid!r} is not the uid of a Pod")
    wrong = dns_label_error(key.name)
    if wrong:
        raise RuntimeFailedError("CreateContainerError", f"container name {key.name!r}: {wrong}")
