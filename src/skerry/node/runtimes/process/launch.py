"""Starts one attempt: its intent on disk, its lock taken, its files made, then the first process.

What stays true: the lock is taken before the fork and passes to the child with it, so there is no moment at which
something runs that the next life of the node would not find.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from skerry.durable import failpoints
from skerry.node.runtimes.contract import ContainerSpec, Mount, RuntimeFailedError
from skerry.node.runtimes.process.cgroups import Cgroups
from skerry.node.runtimes.process.journal import Attempt, Record
from skerry.node.runtimes.process.places import NOWHERE, places
from skerry.node.runtimes.process.processes import title_of
from skerry.node.runtimes.process.sandbox import HostLayout, bwrap_arguments
from skerry.node.runtimes.process.settings import ProcessSettings

SHIM = str(Path(__file__).with_name("_shim.py"))


def launch(
    spec: ContainerSpec,
    attempt: Attempt,
    record: Record,
    owner: tuple[int, int],
    *,
    settings: ProcessSettings,
    cgroups: Cgroups,
    host: HostLayout,
) -> subprocess.Popen[bytes]:
    """Start the attempt; *owner* is its user of the host. Raises RuntimeFailedError, and OSError when nothing was started."""
    small = small_files(spec, record)
    with_mounts = replace(spec, mounts=_mounts(spec, attempt, small))
    where = places(spec.image.root, (m.target for m in with_mounts.mounts)) if spec.image.root else NOWHERE
    arguments = bwrap_arguments(with_mounts, host=host, uid=record.uid, gid=record.gid, where=where)
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
        for path, text in small.items():
            made = attempt.folder / _file_name(path)
            made.write_text(text)
            made.chmod(0o644)
        request = {
            "mode": "start",
            "root": os.geteuid() == 0,
            "lock": lock,
            "status": status,
            "bwrap": settings.bwrap,
            "title": title_of(record.id),
            "arguments": arguments,
            "command": spec.argv,
            "uid": owner[0],
            "gid": owner[1],
            "cgroups": cgroups.create(record.id, spec.limits, pids=settings.pids),
            "rlimits": _rlimits(settings),
        }
        child = _run_shim(files, request, keep=(lock, status), output=output)
        failpoints.reach("runtime.after_fork")
        return child


def small_files(spec: ContainerSpec, record: Record) -> dict[str, str]:
    """Return the small files of the container by path; an image with an /etc of its own keeps it."""
    if spec.image.root and "etc" in spec.image.binds:
        return {}
    passwd = f"root:x:0:0:root:/root:/usr/sbin/nologin\npod:x:{record.uid}:{record.gid}:{spec.pod}:/tmp:/bin/sh\n"
    return {"/etc/passwd": passwd, "/etc/group": f"root:x:0:\npod:x:{record.gid}:\n", **spec.files}


def _mounts(spec: ContainerSpec, attempt: Attempt, small: dict[str, str]) -> tuple[Mount, ...]:
    found = (*(Mount(str(attempt.folder / _file_name(p)), p) for p in small), *spec.mounts)
    if not spec.termination_path:
        return found
    return (*found, Mount(str(attempt.termination), spec.termination_path, read_only=False))


def _rlimits(settings: ProcessSettings) -> dict[str, int]:
    found = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": settings.files}
    if os.geteuid() == 0:  # a user of its own: the limit counts this Pod's processes only
        found["RLIMIT_NPROC"] = settings.pids
    return found


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
