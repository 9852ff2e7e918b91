"""How an attempt ended, from what was written down: pure but for reading the end of a log."""

from __future__ import annotations

import os
from pathlib import Path

from skerry.node.runtimes.contract import Container
from skerry.node.runtimes.process.journal import Attempt, Exit, Record, Status


def exit_of(status: Status, *, oom: bool, output: str, now: float) -> Exit:
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


def tail_of(path: Path, size: int = 1024) -> str:
    """Return the last bytes of a file as text, "" when it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size).decode(errors="replace")
    except OSError:
        return ""


def running_container(attempt: Attempt, record: Record) -> Container:
    """Return the attempt as one that runs."""
    return Container(attempt.key, attempt.number, record.id, "running", record.started_at, record.image, record.image_id)


def exited_container(attempt: Attempt, record: Record, ended: Exit) -> Container:
    """Return the attempt as one that ended."""
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
