"""Writers, watchers and listers against one server that is killed again and again: nothing they saw contradicts the API's promises.

CI runs a share with rotating seeds; SKERRY_SOAK=1 runs 50,000 operations. SKERRY_SEED repeats what the clients choose.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.consistency import trial
from tests.consistency.checker import check, told

SOAK = bool(os.environ.get("SKERRY_SOAK"))
OPERATIONS, KILLS = (51_000, 40) if SOAK else (6_000, 8)

pytestmark = pytest.mark.slow


def test_histories_under_kills_and_compaction_break_no_promise(tmp_path: Path) -> None:
    seed = int(os.environ.get("SKERRY_SEED") or secrets.randbelow(10**9))
    print(f"repeat with SKERRY_SEED={seed}")

    history = trial.run(trial.Plan(seed, OPERATIONS, KILLS, failpoints=trial.failpoints()), tmp_path)
    found = check(history)

    print(told(history))
    assert not found, f"SKERRY_SEED={seed}: {len(found)} violations, such as:\n" + "\n".join(map(str, found[:20]))
    assert history.operations >= OPERATIONS * 0.9
    assert history.kills >= KILLS
    assert len(trial.manners()) >= 20
    assert {s.end for s in history.sessions} >= {"closed", "left", "lost", "expired"}
