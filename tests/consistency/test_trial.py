"""What a trial leaves behind when it cannot be carried out: nothing but the reason."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tests.consistency import trial
from tests.consistency.trial import Plan


@pytest.mark.slow
def test_a_server_that_does_not_start_ends_all_trials_with_one_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    goes_on, makes_room, fails = Plan(1, 100_000, 0), Plan(2, 10, 0), Plan(3, 10, 0, fault="none of ours")

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match=r"did not start(.|\n)*none of ours")):
        trial.run_all([goes_on, makes_room, fails], tmp_path, together=2)

    gc.collect()
    assert caplog.text == ""
