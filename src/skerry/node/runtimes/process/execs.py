"""A command inside a sandbox that runs already: its namespaces, its user, its environment; no more rights than it has."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Literal

import msgspec

from skerry.node.runtimes.contract import ExecSpec, RuntimeFailedError
from skerry.node.runtimes.process import journal
from skerry.node.runtimes.process.journal import Record
from skerry.node.runtimes.process.sandbox import DEFAULT_PATH

CHUNK_BYTES = 64 * 1024


class PipeSession:
    """Implements `ExecSession` over three pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def read(self, channel: Literal["stdout", "stderr"]) -> bytes:
        stream = self._process.stdout if channel == "stdout" else self._process.stderr
        assert stream is not None
        return await stream.read(CHUNK_BYTES)

    def resize(self, *, rows: int, columns: int) -> None:
        """There is no terminal to resize."""

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


class TerminalSession:
    """Implements `ExecSession` over a pseudo-terminal of which *master* is our end."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self._process = process
        self._master = master
        os.set_blocking(master, False)

    async def write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await _ready(self._master, write=True)
            except OSError:
                return

    async def close_stdin(self) -> None:
        await self.write(b"\x04")

    async def read(self, channel: Literal["stdout", "stderr"]) -> bytes:
        if channel == "stderr":
            return b""
        while True:
            try:
                return os.read(self._master, CHUNK_BYTES)
            except BlockingIOError:
                await _ready(self._master, write=False)
            except OSError:  # EIO: nobody has the other end any more
                return b""

    def resize(self, *, rows: int, columns: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1


async def _ready(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    (loop.add_writer if write else loop.add_reader)(fd, wake)
    try:
        await done
    finally:
        (loop.remove_writer if write else loop.remove_reader)(fd)


async def start_exec(spec: ExecSpec, *, sandbox: int, record: Record, cgroups: list[str], shim: str) -> PipeSession | TerminalSession:
    """Run *spec* beside the program of the sandbox whose first process is *sandbox*."""
    if not spec.argv or any("\0" in a for a in spec.argv):
        raise RuntimeFailedError("BadRequest", "the command is empty or contains a NUL byte")
    environment = _environment(journal.command_pid(sandbox))
    if spec.tty:
        environment.setdefault("TERM", "xterm")
    request = {
        "mode": "exec",
        "root": os.geteuid() == 0,
        "change": os.geteuid() == 0 or (record.uid, record.gid) != (os.geteuid(), os.getegid()),
        "pid": sandbox,
        "uid": record.uid,
        "gid": record.gid,
        "cgroups": cgroups,
        "argv": spec.argv,
        "env": environment,
        "workdir": record.workdir,
        "tty": spec.tty,
    }
    fd = os.memfd_create("request", os.MFD_CLOEXEC)
    try:
        os.write(fd, msgspec.json.encode(request))
        command = [sys.executable, "-I", "-S", "-B", shim, str(fd)]
        return await (_on_terminal if spec.tty else _on_pipes)(command, fd)
    finally:
        os.close(fd)


async def _on_pipes(command: list[str], fd: int) -> PipeSession:
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=(fd,), start_new_session=True, cwd="/", env={}, limit=CHUNK_BYTES
    )
    return PipeSession(process)


async def _on_terminal(command: list[str], fd: int) -> TerminalSession:
    master, slave = os.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=slave, stdout=slave, stderr=slave, pass_fds=(fd,), start_new_session=True, cwd="/", env={}
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return TerminalSession(process, master)


def _environment(pid: int) -> dict[str, str]:
    """Return the environment that the container's program was given."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {"PATH": DEFAULT_PATH}
    pairs = (entry.partition("=") for entry in data.decode("utf-8", "surrogateescape").split("\0") if "=" in entry)
    return {k: v for k, _, v in pairs}
