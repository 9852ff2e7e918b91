"""How many connections the open files of this process allow: each is a file, and the hub's own must never be short of one."""

from __future__ import annotations

import logging
import resource

from skerry.hub.frontdoor import DoorSettings

log = logging.getLogger(__name__)

MAX_FILES = 16384
OWN_FILES = 256
"""The hub's own: its databases and their logs, the audit log, a backup, the worker's pipes, other servers' hooks; with room."""


def allow_many() -> int:
    """Take as many open files as we may, and return how many: the usual 1,024 are too few for a thousand nodes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MAX_FILES if soft == resource.RLIM_INFINITY else soft


def door_settings(host: str, port: int, *, files: int) -> DoorSettings:
    """Return a front door that lets in as many as *files* allow; says so, and what to do, where that is fewer than usual."""
    usual = DoorSettings(host=host, port=port)
    room = max(files - OWN_FILES, OWN_FILES)
    connections = min(usual.max_connections, room * 3 // 4)
    if connections == usual.max_connections:
        return usual
    facts = {"open_files": files, "connections": connections, "wanted": usual.max_connections}
    log.warning("few connections are possible: raise the hard limit of open files (LimitNOFILE=16384, ulimit -Hn)", extra=facts)
    strangers, handshakes = min(usual.max_strangers, connections // 4), min(usual.max_handshakes, room // 4)
    return DoorSettings(host, port, connections, strangers, handshakes)
