"""The checker itself is tried: a server with any one of the seeded faults is found out, one without is not accused."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.consistency import trial
from tests.consistency.checker import Violation, check
from tests.consistency.faults import FAULTS

OPERATIONS, HELD, KILLS = 600, 60, 2
SEEN_AFTER_A_KILL = frozenset(("", "a_write_is_not_on_the_disk", "a_deletion_is_not_on_the_disk"))
TRIES = 3
TOGETHER = 3

pytestmark = pytest.mark.slow


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("SKERRY_SEED") or secrets.randbelow(10**9))
    print(f"repeat with SKERRY_SEED={seed}")
    return seed


def plan(seed: int, fault: str = "") -> trial.Plan:
    patience_s = 1.5 if fault else 30.0
    kills = KILLS if fault in SEEN_AFTER_A_KILL else 0
    return trial.Plan(seed, OPERATIONS, kills, held=HELD, fault=fault, patience_s=patience_s)


def judged(faults: list[str], seed: int, folder: Path) -> dict[str, list[Violation]]:
    """Return what is found wrong with a server that has each of the faults."""
    plans = [plan(seed + i, fault) for i, fault in enumerate(faults)]
    histories = trial.run_all(plans, folder, together=TOGETHER)
    return {fault: check(history) for fault, history in zip(faults, histories, strict=True)}


def test_every_seeded_fault_is_found_in_a_short_history(tmp_path: Path, seed: int) -> None:
    missed = list(FAULTS)
    for attempt in range(TRIES):  # which writes meet is chance: a fault may hide once in a hundred trials
        (folder := tmp_path / str(attempt)).mkdir()
        found = judged(missed, seed + 1000 * attempt, folder)
        missed = [fault for fault in missed if not found[fault]]
        for fault, violations in found.items():
            print(f"{fault}: {len(violations)} violations, the first {violations[0] if violations else 'missing'}")
        if not missed:
            break

    assert len(FAULTS) >= 12
    assert missed == [], f"SKERRY_SEED={seed}"


def test_the_same_short_histories_of_a_sound_server_are_found_sound(tmp_path: Path, seed: int) -> None:
    assert judged([""], seed, tmp_path) == {"": []}, f"SKERRY_SEED={seed}"
