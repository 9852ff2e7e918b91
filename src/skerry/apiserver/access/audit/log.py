"""Writes the chain: a thread takes what was noted, writes it in batches, and syncs each batch before the head moves.

What stays true: an entry is on the disk within a second or so, or counted as dropped, or waits because the disk takes none;
the folder never grows beyond its limit; the loop never waits for the disk.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections import deque
from pathlib import Path

from skerry.apiserver.access.audit.chain import link
from skerry.apiserver.access.audit.events import Entry, encode
from skerry.apiserver.access.audit.files import Head, Position, file_of, files_in, open_head, recover, write_head
from skerry.apiserver.http.message import User

log = logging.getLogger(__name__)

BATCH_S = 0.5
"""How long what was noted may wait for more to be synced with it."""
RETRY_S = 2.0
MAX_WAITING = 20_000
"""Entries that wait for the disk; more are counted and dropped (or refused, where the log is required)."""
MAX_FILE_BYTES = 32 << 20
MAX_FILES = 8
_SELF = User("system:apiserver", ("system:masters",))


class AuditLog:
    """`note` entries from the loop; `close` writes what waits. `trouble` says why the disk takes nothing, "" when it does."""

    def __init__(self, folder: Path, *, max_file_bytes: int = MAX_FILE_BYTES, max_files: int = MAX_FILES, batch_s: float = BATCH_S) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._folder, self._max_file_bytes, self._max_files, self._batch_s = folder, max_file_bytes, max_files, batch_s
        self._head = open_head(folder)
        self._at: Position = recover(folder, self._head)
        self._waiting: deque[Entry] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._fd = -1
        self.dropped = 0
        self._told_dropped = 0
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="audit log", daemon=True)
        self._thread.start()

    @property
    def head(self) -> tuple[int, str]:
        """The number and hash of the last synced line: note them elsewhere, and a rewritten log is found too."""
        return self._head.sequence, self._head.hash

    @property
    def full(self) -> bool:
        """Whether what is noted now would be dropped."""
        return len(self._waiting) >= MAX_WAITING

    def note(self, entry: Entry) -> None:
        """Take an entry; never waits."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(entry)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, and end."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._closing.wait(self._batch_s)
            if not self._write_all():
                self._closing.wait(RETRY_S)
                self._wake.set()
            if self._closing.is_set() and (not self._waiting or self.trouble):
                break
        if self._fd >= 0:
            os.close(self._fd)

    def _write_all(self) -> bool:
        """Write and sync what waits; False when the disk takes nothing now."""
        try:
            self._tell_dropped()
            while self._waiting:
                self._write_batch([self._waiting[i] for i in range(min(len(self._waiting), 1024))])
        except OSError as error:
            if not self.trouble:
                log.error("the audit log cannot be written", extra={"folder": str(self._folder), "reason": str(error)})
            self.trouble = f"the audit log cannot be written: {error.strerror or error}"
            return False
        if self.trouble:
            log.info("the audit log is written again", extra={"dropped": self.dropped})
            self.trouble = ""
        return True

    def _tell_dropped(self) -> None:
        """Leave a line that says how many entries were lost."""
        lost = self.dropped - self._told_dropped
        if not lost:
            return
        now = time.time()
        note = f"{lost} entries were dropped because the disk took none"
        entry = Entry(f"dropped-{self.dropped}", now, now, "dropped", "/", "", _SELF, None, "", "", None, 0, note)
        self._write_batch([entry], drop=0)
        self._told_dropped += lost

    def _write_batch(self, batch: list[Entry], *, drop: int | None = None) -> None:
        if self._at.size >= self._max_file_bytes:
            self._rotate()
        self._open()
        at, lines = self._at, []
        sequence, previous = at.sequence, at.hash
        for entry in batch:
            sequence += 1
            line, previous = link(previous, encode(entry, sequence))
            lines.append(line)
        data = b"".join(lines)
        try:
            _write_whole(self._fd, data)
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, at.size)  # a half line would break the chain
            raise
        self._at = Position(sequence, previous, at.path, at.size + len(data))
        for _ in range(len(batch) if drop is None else drop):
            self._waiting.popleft()
        self._move_head(Head(sequence, previous, self._head.first, self._head.first_previous))

    def _open(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self._at.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _move_head(self, head: Head) -> None:
        write_head(self._folder, head)
        self._head = head

    def _rotate(self) -> None:
        """Begin a new file, and remove the oldest beyond the limit; the head says where the chain begins now."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        at = self._at
        self._at = Position(at.sequence, at.hash, file_of(self._folder, at.sequence + 1), 0)
        files = [*files_in(self._folder), self._at.path]
        log.info("the audit log goes on in a new file", extra={"file": self._at.path.name, "sequence": at.sequence, "hash": at.hash})
        for old, following in itertools.pairwise(files[: max(0, len(files) - self._max_files) + 1]):
            first = int(following.stem.rpartition("-")[2])
            self._move_head(Head(self._head.sequence, self._head.hash, first, _last_hash(old)))
            old.unlink()


def _write_whole(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _last_hash(path: Path) -> str:
    """Return the hash at the end of a file that is whole."""
    with path.open("rb") as file:
        file.seek(-67, os.SEEK_END)
        return file.read(64).decode("ascii", "replace")
