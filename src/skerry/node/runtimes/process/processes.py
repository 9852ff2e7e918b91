"""The processes of a sandbox, found by the title that only we give: `skerry:` and the attempt's id."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from skerry.node.runtimes.process import journal
from skerry.node.runtimes.process.journal import Attempt


def title_of(container_id: str) -> str:
    return f"skerry:{container_id}"


def sandbox_pid(attempt: Attempt, container_id: str) -> int:
    """Return the sandbox's first process, 0 when it is not there (any more)."""
    pid = attempt.status().child
    return pid if pid and journal.title(pid) == title_of(container_id) else 0


def begun(attempt: Attempt, container_id: str) -> bool:
    """Whether the container's own program runs: the sandbox's child has become another program."""
    sandbox = attempt.status().child
    command = journal.command_pid(sandbox) if sandbox else 0
    return command > 0 and journal.title(command) not in ("", title_of(container_id))


def signal_command(attempt: Attempt, container_id: str, number: int) -> None:
    """Signal the container's own program, as Kubernetes signals process 1."""
    sandbox = sandbox_pid(attempt, container_id)
    command = journal.command_pid(sandbox) if sandbox else 0
    if command:
        with contextlib.suppress(ProcessLookupError):
            os.kill(command, number)


def kill_sandbox(attempt: Attempt, container_id: str) -> None:
    """Kill the sandbox's first process: the kernel takes everything else in it along."""
    sandbox = sandbox_pid(attempt, container_id)
    if not sandbox:
        kill_titled(container_id)
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(sandbox, signal.SIGKILL)


def kill_titled(container_id: str) -> None:
    """Kill every process that carries the title of one attempt."""
    wanted = title_of(container_id).encode()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if Path(entry.path, "cmdline").read_bytes().split(b"\0", 1)[0] == wanted:
                    os.kill(int(entry.name), signal.SIGKILL)
