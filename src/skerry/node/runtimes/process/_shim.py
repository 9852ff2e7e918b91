"""The few steps between the node and a sandbox, in a process of their own that ends by becoming bubblewrap.

Run as `python -I -S -B _shim.py FD`: FD holds the request as JSON. It imports the standard library only, so that it
starts in milliseconds and nothing of it stays. As root it enters a mount namespace of its own first and collects
there, opened by root, what the sandbox will see: the Pod's uid need not be able to walk to it. Links below a volume
(subPath) are never followed. The lock it inherits is what says that this attempt lives.
"""

# pathlib costs this process more time than all else, and to become another program is its purpose.
# ruff: noqa: PTH102, PTH110, PTH112, PTH116, PTH123, S606

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_SLAVE = 0x1, 0x2, 0x4, 0x1000, 0x4000, 0x80000
_CLONE_NEWNS = 0x20000
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_O_PATH, _TIOCSCTTY, _NS_GET_PARENT = 0x200000, 0x540E, 0xB702
_STAGES = ("/mnt", "/media", "/srv", "/opt")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _open_inside(source: str, inside: str) -> int:
    """Open *source*, then walk *inside* below it without following a link."""
    fd = os.open(source, _O_PATH | os.O_CLOEXEC)
    for part in [p for p in inside.split("/") if p]:
        if part in (".", ".."):
            raise OSError(f"subPath {inside!r} may not contain {part!r}")
        nearer = os.open(part, _O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        os.close(fd)
        fd = nearer
        if (os.fstat(fd).st_mode & 0o170000) == 0o120000:
            raise OSError(f"subPath {inside!r} goes through a link")
    return fd


def _stage(binds: list[dict[str, Any]]) -> list[str]:
    """As root: gather the sources in a mount namespace of our own; return where each now is."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare mount namespace")
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "make mounts ours")
    opened = [_open_inside(b["source"], b["inside"]) for b in binds]
    stage = next(p for p in _STAGES if os.path.isdir(p))
    _check(_libc.mount(b"tmpfs", stage.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755,size=1m"), f"mount on {stage}")
    paths = []
    for i, fd in enumerate(opened):
        path = f"{stage}/{i}"
        if (os.fstat(fd).st_mode & 0o170000) == 0o040000:
            os.mkdir(path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        _check(_libc.mount(b"/proc/self/fd/%d" % fd, path.encode(), None, _MS_BIND | _MS_REC, None), f"bind {binds[i]['source']}")
        os.close(fd)
        paths.append(path)
    return paths


def _bind_arguments(bind: dict[str, Any], staged: str | None) -> list[str]:
    flag = "--ro-bind" if bind["read_only"] else "--bind"
    if staged is not None:
        return [flag, staged, bind["target"]]
    if bind["inside"]:
        fd = _open_inside(bind["source"], bind["inside"])
        os.set_inheritable(fd, True)
        return [f"{flag}-fd", str(fd), bind["target"]]
    return [flag, bind["source"], bind["target"]]


def _enter_cgroups(files: list[str]) -> None:
    for path in files:
        with open(path, "w") as file:
            file.write(str(os.getpid()))


def _set_limits(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (wanted, wanted))


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _memory_file(data: bytes) -> int:
    fd = os.memfd_create("arguments", 0)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _start(request: dict[str, Any]) -> NoReturn:
    with open("/proc/self/stat") as file:
        stat = file.read()
    os.pwrite(request["lock"], f"{os.getpid()} {stat.rpartition(')')[2].split()[19]}\n".encode(), 0)
    _enter_cgroups(request["cgroups"])
    binds = [a for a in request["arguments"] if isinstance(a, dict)]
    staged = iter(_stage(binds) if request["root"] else [None] * len(binds))
    arguments: list[str] = []
    for a in request["arguments"]:
        arguments += [a] if isinstance(a, str) else _bind_arguments(a, next(staged))
    _set_limits(request["rlimits"])
    if request["root"]:
        _become(request["uid"], request["gid"])
    arguments += ["--sync-fd", str(request["lock"]), "--json-status-fd", str(request["status"])]
    for fd in (request["lock"], request["status"]):
        os.set_inheritable(fd, True)
    hidden = _memory_file(b"\0".join(a.encode("utf-8", "surrogateescape") for a in arguments) + b"\0")
    os.execve(request["bwrap"], [request["title"], "--args", str(hidden), "--", *request["command"]], {"PATH": "/usr/bin:/bin"})


def _join_namespaces(pid: int) -> None:
    """Enter the sandbox. Its user namespace comes last: with it the rights to enter the others are gone.

    bubblewrap nests two user namespaces, and the outer one owns the rest; without root we enter that one first.
    """
    names = [n for n in ("mnt", "pid", "ipc", "uts", "cgroup") if os.path.exists(f"/proc/{pid}/ns/{n}")]
    opened = [(n, os.open(f"/proc/{pid}/ns/{n}", os.O_RDONLY | os.O_CLOEXEC)) for n in names]
    inner = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    ours = os.stat("/proc/self/ns/user").st_ino
    if os.fstat(inner).st_ino != ours:
        opened.append(("inner user", inner))
        outer = _libc.ioctl(inner, _NS_GET_PARENT)
        if os.geteuid() != 0 and outer >= 0 and os.fstat(outer).st_ino != ours:
            opened.insert(0, ("outer user", outer))
        elif os.geteuid() != 0:
            opened.insert(0, opened.pop())
    for name, fd in opened:
        _check(_libc.setns(fd, 0), f"enter {name} namespace of {pid}")


def _drop_all(uid: int, gid: int, change: bool) -> None:
    for capability in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if change:
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "die with the session")


def _exec(request: dict[str, Any]) -> NoReturn:
    _enter_cgroups(request["cgroups"])
    if request["root"]:
        os.setgroups([])
    _join_namespaces(request["pid"])
    child = os.fork()
    if child:
        for fd in (0, 1, 2):
            os.close(fd)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
    try:
        _drop_all(request["uid"], request["gid"], request["change"])
        if request["tty"]:
            os.setsid()
            fcntl.ioctl(0, _TIOCSCTTY, 0)
        os.chdir(request["workdir"])
        os.execvpe(request["argv"][0], request["argv"], request["env"])
    except OSError as error:
        os.write(2, f"cannot run {request['argv'][0]!r}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def main() -> None:
    fd = int(sys.argv[1])
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        request = json.loads(file.read())
    try:
        (_start if request["mode"] == "start" else _exec)(request)
    except OSError as error:
        os.write(2, f"skerry: cannot start: {error}\n".encode())
        os._exit(125)


main()
