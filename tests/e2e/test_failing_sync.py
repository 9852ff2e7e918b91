"""One fsync that fails with EIO, with all that follow succeeding, is never followed by an acknowledged write (F6)."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROUNDS = 200 if os.environ.get("SKERRY_SOAK") else 8


def run(folder: Path, number: int) -> list[list[str]]:
    command = [sys.executable, "-m", "tests.e2e.failing_sync_child", str(folder), str(number)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if "refused a seccomp listener" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0 or ["opened"] not in lines, done.stderr
    return lines


def test_after_one_failed_fsync_nothing_is_acknowledged_until_the_next_start(tmp_path: Path) -> None:
    seed = int(os.environ.get("SKERRY_SEED") or secrets.randbelow(10**9))
    rng, acknowledged, faults_after_opening = random.Random(seed), set[str](), 0
    for _ in range(ROUNDS):
        number = rng.randrange(1, 80)

        lines = run(tmp_path, number)

        words = [line[0] for line in lines]
        assert words.count("fault") == 1, f"SKERRY_SEED={seed}: sync {number} never came"
        after = lines[words.index("fault") :]
        late = {line[1] for line in after if line[0] == "asked"}
        assert late & {line[1] for line in after if line[0] == "acknowledged"} == set(), f"SKERRY_SEED={seed}, sync {number}"
        acknowledged |= {line[1] for line in lines if line[0] == "acknowledged"}
        faults_after_opening += words.index("fault") > words.index("opened") if "opened" in words else 0
        held = {line[1] for line in run(tmp_path, -1) if line[0] == "held"}
        assert acknowledged <= held, f"SKERRY_SEED={seed}, sync {number}"
    assert faults_after_opening > 0
    assert acknowledged


def test_a_folder_that_cannot_be_synced_is_no_place_for_a_store(tmp_path: Path) -> None:
    """SQLite passes over that error: a power cut would take the write-ahead log's name, and with it all that was acknowledged."""
    run(tmp_path, -1)
    (tmp_path / "empty").mkdir()

    for folder in (tmp_path, tmp_path / "empty"):
        lines = run(folder, 0)

        assert ["fault"] in lines
        assert ["opened"] not in lines
        assert "acknowledged" not in {line[0] for line in lines}
