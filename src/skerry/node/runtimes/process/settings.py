"""What the process runtime is told: its folders, its programs, and its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from skerry.node.runtimes.process.programs import Program


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`pods` is the folder of all Pods. Every bound has its reason beside it."""

    pods: Path
    programs: Mapping[str, Program] = msgspec.field(default_factory=dict)
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
