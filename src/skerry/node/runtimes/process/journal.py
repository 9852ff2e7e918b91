"""What the runtime writes down about each attempt, and how it reads it after it was killed.

`<pods>/<uid>/containers/<name>/<attempt>/` holds `record` (what was started, written before it starts), `lock` (held by
every process of the attempt, inherited before the first exists; its text is the first one's pid and start time),
`status` (bubblewrap's own: the sandbox's pid, then the exit code), `log` and, once it ended, `exit`. The lock alone
says what lives: it survives neither a reboot nor the last process, and needs nobody to write it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from skerry.model.unreadable import NOT_JSON
from skerry.node.runtimes.contract import ContainerKey
from skerry.node.trees import remove_tree

MAX_FILE_BYTES = 1 << 20


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was started; no environment, which may hold secrets. Times are seconds since 1970."""

    id: str
    namespace: str
    pod: str
    image: str
    image_id: str
    workdir: str
    uid: int
    gid: int
    started_at: float
    message_from_log: bool = False


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    exit_code: int
    finished_at: float
    reason: str
    message: str = ""


class Status(msgspec.Struct, frozen=True):
    """What bubblewrap has said so far; `finished_at` is when it last said something."""

    child: int = 0
    exit_code: int | None = None
    finished_at: float = 0.0


class Attempt(msgspec.Struct, frozen=True):
    """The folder of one attempt."""

    folder: Path
    key: ContainerKey
    number: int

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def termination(self) -> Path:
        return self.folder / "termination-log"

    def create(self, record: Record) -> None:
        """Write down the intent; raises FileExistsError when this attempt was made before."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.folder.with_name(f".{self.number}.new")
        remove_tree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        (fresh / "record").write_bytes(msgspec.json.encode(record))
        if self.folder.exists():
            remove_tree(fresh)
            raise FileExistsError(str(self.folder))
        fresh.rename(self.folder)

    def record(self) -> Record | None:
        try:
            return msgspec.json.decode((self.folder / "record").read_bytes(), type=Record)
        except (OSError, *NOT_JSON):
            return None

    def take_lock(self) -> int | None:
        """Return the locked file for the first process to inherit, or None when somebody lives."""
        fd = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        return fd

    def lives(self) -> bool:
        """Whether any process of this attempt is left."""
        try:
            fd = self.take_lock()
        except OSError:
            return False
        if fd is None:
            return True
        os.close(fd)
        return False

    def first_process(self) -> tuple[int, str] | None:
        """Return (pid, start time) of the sandbox's monitor once it has written them."""
        try:
            pid, start = (self.folder / "lock").read_text().split()
            return int(pid), start
        except (OSError, ValueError):
            return None

    def status(self) -> Status:
        path = self.folder / "status"
        try:
            data, at = path.read_bytes()[:MAX_FILE_BYTES], path.stat().st_mtime
        except OSError:
            return Status()
        return read_status(data, at)

    def exit(self) -> Exit | None:
        try:
            return msgspec.json.decode((self.folder / "exit").read_bytes(), type=Exit)
        except (OSError, *NOT_JSON):
            return None

    def write_exit(self, found: Exit) -> None:
        fresh = self.folder / "exit.new"
        fresh.write_bytes(msgspec.json.encode(found))
        fresh.replace(self.folder / "exit")

    def forget(self) -> None:
        remove_tree(self.folder, ignore_errors=True)


def read_status(data: bytes, at: float) -> Status:
    """Read bubblewrap's lines of JSON; a line that was cut is as if it were not there."""
    child, code = 0, None
    for line in data.splitlines():
        try:
            doc = msgspec.json.decode(line)
        except NOT_JSON:
            continue
        if isinstance(doc, dict):
            child = doc.get("child-pid", child)
            code = doc.get("exit-code", code)
    return Status(child, code, at)


def attempts(pods: Path) -> Iterator[Attempt]:
    """Yield every attempt on disk; an attempt whose intent was not wholly written was never started."""
    for container in sorted(pods.glob("*/containers/*")):
        key = ContainerKey(container.parent.parent.name, container.name)
        numbers = sorted(int(p.name) for p in container.iterdir() if p.name.isdigit())
        for number in numbers:
            yield Attempt(container / str(number), key, number)


def attempt(pods: Path, key: ContainerKey, number: int) -> Attempt:
    return Attempt(pods / key.pod_uid / "containers" / key.name / str(number), key, number)


def start_time(pid: int) -> str:
    """Return when *pid* started, in the kernel's ticks since boot, or "" when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def title(pid: int) -> str:
    """Return the first word of the command line of *pid*."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0].decode(errors="replace")
    except OSError:
        return ""


def command_pid(sandbox: int) -> int:
    """Return the pid of the container's own program: the sandbox's first child; 0 when there is none."""
    try:
        children = Path(f"/proc/{sandbox}/task/{sandbox}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0
