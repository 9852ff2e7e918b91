"""A user of the host for each Pod: one that nothing else on the machine has, remembered as long as the Pod's folder is.

Only root can become somebody else; without root every Pod runs as the node's own user.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from skerry.node.runtimes.contract import RuntimeFailedError


def choose_uid(pod_uid: str, taken: set[int], *, first: int, count: int) -> int:
    """Return a free uid of the range; where to look first follows from the Pod, so that nodes of one host rarely meet."""
    start = int.from_bytes(hashlib.blake2b(pod_uid.encode(), digest_size=8).digest()) % count
    for i in range(count):
        uid = first + (start + i) % count
        if uid not in taken:
            return uid
    raise RuntimeFailedError("CreateContainerError", f"all {count} user ids from {first} on are taken by other Pods")


class Owners:
    """Hands out the users; `first` and `count` bound the range."""

    def __init__(self, pods: Path, *, first: int, count: int) -> None:
        self._pods = pods
        self._first = first
        self._count = count
        self._known: dict[str, int] = {}

    def of(self, pod_uid: str) -> tuple[int, int]:
        """Return (uid, gid) of the Pod, choosing and writing it down the first time."""
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        uid = self._known.get(pod_uid) or self._read(pod_uid)
        if uid is None:
            taken = {u for p in self._pods.glob("*/uid") if (u := self._read(p.parent.name)) is not None}
            uid = choose_uid(pod_uid, taken | set(self._known.values()), first=self._first, count=self._count)
            folder = self._pods / pod_uid
            folder.mkdir(parents=True, exist_ok=True)
            fresh = folder / "uid.new"
            fresh.write_text(str(uid))
            fresh.replace(folder / "uid")
        self._known[pod_uid] = uid
        return uid, uid

    def forget(self, pod_uid: str) -> None:
        self._known.pop(pod_uid, None)

    def _read(self, pod_uid: str) -> int | None:
        try:
            return int((self._pods / pod_uid / "uid").read_text())
        except (OSError, ValueError):
            return None
