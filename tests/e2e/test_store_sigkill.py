"""SIGKILL under load at random moments: no acknowledged write is lost (F1). `test_hub_kills.py` kills at every named point.

A real process writes; this one reads its pipe, kills it and then looks into the file itself. SKERRY_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

CHILD = ("-m", "tests.e2e.store_child")
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@dataclass
class Life:
    """What one process said before it was killed."""

    code: int = 0
    ready_at: int = -1
    epoch: str = ""
    asked: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    acknowledged: list[int] = field(default_factory=list)

    def hear(self, line: str) -> None:
        match line.split(" "):
            case ["ready", revision, epoch]:
                self.ready_at, self.epoch = int(revision), epoch
            case ["asked", revision, kind, name, text]:
                self.asked[int(revision)] = (kind, name, text)
            case ["acknowledged", revision]:
                self.acknowledged.append(int(revision))
            case _:
                raise AssertionError(f"the child said {line!r}")


def live(path: Path, *, seed: int, kill_after_s: float) -> Life:
    """Run a child until it is killed, so long after it was ready."""
    life, killer = Life(), None
    with subprocess.Popen([sys.executable, *CHILD, str(path), str(seed)], stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        for raw in child.stdout:
            if not raw.endswith(b"\n"):
                break  # the kill came in the middle of a line
            life.hear(raw[:-1].decode())
            if life.ready_at >= 0 and killer is None:
                killer = threading.Timer(kill_after_s, child.send_signal, [signal.SIGKILL])
                killer.start()
        life.code = child.wait()
    return life


class Truth:
    """What the file must hold, from the pipes alone."""

    def __init__(self) -> None:
        self.state: dict[str, str] = {}
        self.newest = 0

    def faults(self, life: Life, path: Path) -> list[str]:
        """Compare the file with what *life* said, and take over what it did."""
        copy = path.with_name("copy.sqlite")  # SQLite as it comes knows nothing of page checksums: it may not write to the file itself
        for end in ("", "-wal"):
            copy.with_name(copy.name + end).write_bytes(path.with_name(path.name + end).read_bytes())
        db = apsw.Connection(str(copy))
        found = [f"integrity: {row[0]}" for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        rows = list(db.execute("SELECT revision, name, change, value FROM revisions ORDER BY revision"))
        floors = [row[0] for row in db.execute("SELECT revision FROM floors")]
        db.close()
        newest = max([row[0] for row in rows] + floors + [0])
        if life.acknowledged and newest < max(life.acknowledged):
            found.append(f"revision {max(life.acknowledged)} was acknowledged, the file ends at {newest}")
        if newest < self.newest:
            found.append(f"the file ended at {self.newest} once, now at {newest}")
        self._replay(life, newest)
        held: dict[str, str] = {}
        for _, name, change, value in rows:
            held.pop(name, None) if change == 2 else held.update({name: value.decode()})
        wrong = sorted(name for name in held.keys() | self.state.keys() if held.get(name) != self.state.get(name))
        return found + [f"{name} is not what it was at revision {newest}" for name in wrong]

    def _replay(self, life: Life, newest: int) -> None:
        for revision, (kind, name, text) in sorted(life.asked.items()):
            if revision <= newest and kind == "DELETED":
                self.state.pop(name, None)
            elif revision <= newest:
                self.state[name] = text
        self.newest = newest


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("SKERRY_SEED") or secrets.randbelow(10**9))
    print(f"repeat with SKERRY_SEED={seed}")
    return seed


def test_sigkill_under_load_loses_no_acknowledged_write(tmp_path: Path, seed: int) -> None:
    rng, truth, path = random.Random(seed), Truth(), tmp_path / "hub.sqlite"
    acknowledged, epochs = 0, set()
    for number in range(8):
        life = live(path, seed=seed + 100 * number, kill_after_s=rng.uniform(0.0, 0.4))

        assert life.code == -signal.SIGKILL
        assert life.ready_at >= truth.newest, f"SKERRY_SEED={seed}"
        assert truth.faults(life, path) == [], f"SKERRY_SEED={seed}, life {number}"
        acknowledged += len(life.acknowledged)
        epochs.add(life.epoch)
    assert acknowledged > 100
    assert len(epochs) == 1
