"""SIGKILL at every named point of a hub's durable paths, under load: ready within 3 s, nothing acknowledged is lost (F1, F3, F46).

A real process writes, rotates keys, makes backups and scrubs, all at once; this one reads its pipe, kills it, and compares what the next
life says it holds with a model of its own. SKERRY_SEED repeats a run; SKERRY_SOAK=1 makes 500 kills and more.
"""

from __future__ import annotations

import http.client
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from skerry.durable.failpoints import POINTS
from skerry.hub.backup import inspect, read_key_file
from tests.e2e.edge import slowness
from tests.e2e.hub_process import HubProcess

pytestmark = pytest.mark.slow

CHILD = ("-m", "tests.e2e.hub_life")
ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "skerry"
OF_THE_NODE = ("outbox.", "uploader.", "runtime.")
HUB_POINTS = [name for name in POINTS if not name.startswith(OF_THE_NODE)]
FRESH = [name for name in HUB_POINTS if name.startswith("durable.migration") or name == "durable.file_created"]
OLDER = [name for name in HUB_POINTS if name.startswith("store.rebuild")]
RESTORING = [name for name in HUB_POINTS if name.startswith("restore.")]
UNDER_LOAD = [name for name in HUB_POINTS if name not in (*FRESH, *OLDER, *RESTORING)]
ROUNDS = 500 // len(UNDER_LOAD) + 1 if os.environ.get("SKERRY_SOAK") else 1
READY_S = 3.0
OVER_HTTP = (
    *("durable.before_commit", "durable.after_commit", "durable.before_acknowledge", "store.before_publish"),
    *("rotation.key_saved", "rotation.before_rewrite", "rotation.rows_rewritten", "rotation.keys_retired"),
)
HUB_KILLS = 60 if os.environ.get("SKERRY_SOAK") else 3
FIRST_FORMAT = """
CREATE TABLE revisions(revision INTEGER PRIMARY KEY, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    change INTEGER NOT NULL, value BLOB NOT NULL) STRICT;
CREATE TABLE floors(resource TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE epochs(revision INTEGER PRIMARY KEY, epoch TEXT NOT NULL) STRICT;
INSERT INTO epochs VALUES (0, 'feed0000feed0000');
PRAGMA application_id=0x736B7279; PRAGMA user_version=1;
"""


@dataclass
class Life:
    """What one process said before it was killed."""

    code: int = 0
    ready_at: int = -1
    ready_after_s: float = 0.0  # of its own CPU: what it takes with a core to itself, however busy the machine is
    epoch: str = ""
    mark: int = 0
    held: dict[str, str] = field(default_factory=dict)
    asked: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    acknowledged: int = 0
    stored: int = 0
    backups: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        match line.split(" "):
            case ["ready", revision, epoch]:
                self.ready_at, self.epoch = int(revision), epoch
            case ["held", name, text]:
                self.held[name] = text
            case ["mark", mark]:
                self.mark = int(mark)
            case ["asked", revision, kind, name, text]:
                self.asked[int(revision)] = (kind, name, text)
            case ["acknowledged", revision]:
                self.acknowledged = max(self.acknowledged, int(revision))
            case ["stored", mark]:
                self.stored = int(mark)
            case ["backed-up", name]:
                self.backups.append(name)
            case _:
                raise AssertionError(f"the child said {line!r}")


def cpu_s(pid: int) -> float:
    """Return the CPU that the process has had, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def live(folder: Path, *, seed: int, failpoint: str = "", restore: str = "", kill_after_s: float | None = None) -> Life:
    """Run a child until it is killed: by itself at the failpoint, or by us so long after it was ready."""
    env = {**os.environ, **({"SKERRY_FAILPOINT": failpoint} if failpoint else {})}
    life = Life()
    command = [sys.executable, *CHILD, str(folder), str(seed), *([restore] if restore else [])]
    with (
        (folder / "stderr").open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=env, cwd=ROOT) as child,
    ):
        assert child.stdout is not None
        limit = threading.Timer(60, child.kill)  # a failpoint that is never reached
        limit.start()
        for raw in child.stdout:
            if not raw.endswith(b"\n"):
                break  # the kill came in the middle of a line
            life.hear(raw[:-1].decode())
            if life.ready_at >= 0 and not life.ready_after_s and child.poll() is None:
                life.ready_after_s = cpu_s(child.pid)
                if kill_after_s is not None:
                    threading.Timer(kill_after_s, child.send_signal, [signal.SIGKILL]).start()
        life.code = child.wait()
        assert limit.is_alive(), f"{failpoint} was not reached within 60 s"
        limit.cancel()
    assert life.code == -signal.SIGKILL, (folder / "stderr").read_text()[-3000:]
    return life


class Truth:
    """What the next life must hold, from the pipes alone."""

    def __init__(self) -> None:
        self.state: dict[str, str] = {}
        self.newest = 0
        self.mark = 0
        self.asked: dict[int, tuple[str, str, str]] = {}
        self.slowest_s = 0.0

    def faults(self, life: Life) -> list[str]:
        """Compare what *life* held when it was ready with everything before it."""
        found = []
        if life.ready_at < self.newest:
            found.append(f"revision {self.newest} was acknowledged, the store is back at {life.ready_at}")
        if life.mark < self.mark:
            found.append(f"event {self.mark} was acknowledged, the log is back at {life.mark}")
        for revision, (kind, name, text) in sorted(self.asked.items()):
            if revision <= life.ready_at:
                self.state.pop(name, None) if kind == "DELETED" else self.state.update({name: text})
        self.asked = {}
        wrong = sorted(name for name in life.held.keys() | self.state.keys() if life.held.get(name) != self.state.get(name))
        self.slowest_s = max(self.slowest_s, life.ready_after_s)
        return found + [f"{name} is not what it was at revision {life.ready_at}" for name in wrong]

    def learn(self, life: Life) -> None:
        """Take over what *life* did; one that never was ready did nothing."""
        if life.ready_at >= 0:
            self.newest = max(self.newest, life.ready_at, life.acknowledged)
            self.mark = max(self.mark, life.mark, life.stored)
            self.asked = life.asked


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("SKERRY_SEED") or secrets.randbelow(10**9))
    print(f"repeat with SKERRY_SEED={seed}")
    return seed


def test_every_point_in_the_source_is_in_the_list_and_the_other_way_round() -> None:
    used = {part.split('"')[0] for path in SOURCE.rglob("*.py") for part in path.read_text().split('reach("')[1:]}

    assert used == set(POINTS)
    assert len(HUB_POINTS) >= 40


def test_a_kill_at_every_point_under_load_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    rng, truth = random.Random(seed), Truth()
    points = [point for _ in range(ROUNDS) for point in rng.sample(UNDER_LOAD, len(UNDER_LOAD))]
    for number, point in enumerate(points):
        at = rng.randrange(1, 30) if point.startswith(("durable.", "store.", "hublog.")) else rng.randrange(1, 3)

        life = live(tmp_path, seed=seed + number, failpoint=f"{point}:{at}")

        if life.ready_at >= 0:
            assert truth.faults(life) == [], f"SKERRY_SEED={seed}, before {point}, kill {number}"
        truth.learn(life)
    last = live(tmp_path, seed=seed, kill_after_s=0.0)
    assert truth.faults(last) == [], f"SKERRY_SEED={seed}, at the end"
    assert truth.newest > 10 * len(points)
    assert truth.slowest_s < READY_S * slowness()
    made = list(tmp_path.glob("backup-*"))
    assert made, "no backup was made"
    for path in made:  # whatever has its name is whole
        assert inspect(path, read_key_file(tmp_path / "key")).objects


@pytest.mark.parametrize("point", FRESH)
def test_a_kill_in_the_first_moments_of_a_hub_is_made_good_by_the_next_start(tmp_path: Path, point: str) -> None:
    for number in range(1, 10):
        shutil.rmtree(tmp_path / "hub", ignore_errors=True)
        first = live(tmp_path, seed=number, failpoint=f"{point}:{number}", kill_after_s=0.0)

        again = live(tmp_path, seed=number, kill_after_s=0.0)

        assert again.ready_at >= first.ready_at
        if first.ready_at >= 0:
            return  # the point is not reached that often
    raise AssertionError(f"{point} is reached in every start")


@pytest.mark.parametrize("point", OLDER)
def test_a_kill_while_an_older_file_is_rebuilt_leaves_the_old_or_the_new(tmp_path: Path, point: str) -> None:
    truth = Truth()
    (tmp_path / "hub" / "pki").mkdir(parents=True)
    db = apsw.Connection(str(tmp_path / "hub" / "hub.sqlite"))
    list(db.execute("PRAGMA journal_mode=WAL"))
    db.execute(FIRST_FORMAT)
    for revision in range(1, 1001):
        name, text = f"p{revision % 15}", f"{revision}".rjust(200, "c")
        kind = 0 if f"pods/{name}" not in truth.state else 1
        db.execute(
            "INSERT INTO revisions VALUES (?,?,?,?,?,?)", (revision, "pods" if revision % 2 else "secrets", "n", name, kind, text.encode())
        )
        truth.state[f"{'pods' if revision % 2 else 'secrets'}/{name}"] = text
    db.close()
    truth.newest = 1000

    for count in (1, 2, 3):
        killed = live(tmp_path, seed=count, failpoint=f"{point}:{count}", kill_after_s=0.0)
        assert killed.ready_at < 0 or truth.faults(killed) == []
        truth.learn(killed)

    after = live(tmp_path, seed=9, kill_after_s=0.0)
    assert truth.faults(after) == []
    assert after.epoch == "feed0000feed0000"
    assert (b"c" * 100 + b"1000") not in (tmp_path / "hub" / "hub.sqlite").read_bytes()  # the Secret of revision 1000


@pytest.mark.parametrize("point", RESTORING)
def test_a_kill_in_a_restore_leaves_no_folder_or_the_whole_hub(tmp_path: Path, point: str, seed: int) -> None:
    truth = Truth()
    before = live(tmp_path, seed=seed, failpoint="backup.done:1")
    (backup,) = tmp_path.glob("backup-*")
    (tmp_path / "hub").rename(tmp_path / "gone")

    live(tmp_path, seed=seed, failpoint=f"{point}:1", restore=backup.name)
    there = (tmp_path / "hub").exists()
    after = live(tmp_path, seed=seed, restore="" if there else backup.name, kill_after_s=0.0)

    assert there == (point == "restore.renamed")
    assert after.ready_at > max(before.acknowledged, *before.asked)
    assert after.epoch != before.epoch
    for revision, (kind, name, text) in sorted(before.asked.items()):
        if kind == "DELETED":
            truth.state.pop(name, None)
        else:
            truth.state[name] = text
        if truth.state == after.held:
            break
        truth.newest = revision
    assert truth.state == after.held  # the state at one moment of the first life


def write_until_killed(hub: HubProcess, prefix: str) -> list[tuple[str, int]]:
    """Create Secrets over HTTP, rotating the key that seals them, until the hub is gone; returns what it acknowledged."""
    made: list[tuple[str, int]] = []
    try:
        for number in range(2_000):
            body = {"metadata": {"name": f"{prefix}-{number}"}, "stringData": {"number": str(number)}}
            answer = hub.request("POST", "/api/v1/namespaces/default/secrets", body)
            assert answer.status == 201, answer.body
            made.append((f"{prefix}-{number}", int(answer.json["metadata"]["resourceVersion"])))
            if number % 10 == 9:
                assert hub.request("POST", "/skerry/keys").status == 200
    except (OSError, http.client.HTTPException):
        return made
    raise AssertionError("the point was not reached")


def live_until_killed(hub: HubProcess, prefix: str) -> list[tuple[str, int]]:
    """Start the hub and write; it may die before it is ready, since a start writes, too."""
    try:
        hub.start()
        return write_until_killed(hub, prefix)
    except AssertionError:
        assert hub.process is not None
        if hub.process.poll() != -signal.SIGKILL:
            raise
        return []
    finally:
        hub.stop()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path)
    hub.start()
    yield hub
    if hub.process is not None and hub.process.poll() is None:
        hub.stop()


def test_a_hub_that_is_killed_at_a_point_is_ready_again_within_3_s_with_all_it_acknowledged(
    hub: HubProcess, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, newest, acknowledged, slowest_s = random.Random(seed), 0, 0, 0.0
    hub.stop()
    for number in range(HUB_KILLS):
        point = rng.choice(OVER_HTTP)
        count = rng.randrange(1, 3) if point.startswith("rotation.") else rng.randrange(40, 90)  # a start makes some writes, too
        monkeypatch.setenv("SKERRY_FAILPOINT", f"{point}:{count}")
        made = live_until_killed(hub, f"k{number}")
        monkeypatch.delenv("SKERRY_FAILPOINT")

        hub.start()

        slowest_s = max(slowest_s, cpu_s(hub.pid))
        told = hub.request("GET", "/api/v1/namespaces/default/secrets", limit_bytes=16 << 20).json
        held = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in told["items"]}
        newest = max([newest, *(revision for _, revision in made)])
        assert [(name, revision) for name, revision in made if held.get(name) != revision] == [], f"SKERRY_SEED={seed}, {point}"
        assert int(told["metadata"]["resourceVersion"]) >= newest
        acknowledged += len(made)
        hub.stop()
    assert acknowledged > HUB_KILLS
    assert slowest_s < READY_S * slowness()
