"""Failpoints: nothing in production, SIGKILL where a test asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from skerry.durable import failpoints


def test_a_failpoint_names_a_point_and_a_count() -> None:
    assert failpoints.parse("store.before_publish:3") == ("store.before_publish", 3)
    assert failpoints.parse("store.before_publish") == ("store.before_publish", 1)


@pytest.mark.parametrize("text", ["", ":1", "a:", "a:0", "a:-1", "a:x"])
def test_a_failpoint_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not NAME or NAME:COUNT"):
        failpoints.parse(text)


def test_without_the_variable_a_point_does_nothing() -> None:
    failpoints.reach("durable.before_commit")


@pytest.mark.slow
def test_the_process_is_killed_at_the_count_given() -> None:
    program = "from skerry.durable.failpoints import reach\nfor n in range(5): print(n, flush=True); reach('here'); reach('there')"

    ended = subprocess.run([sys.executable, "-c", program], env={"SKERRY_FAILPOINT": "here:3"}, capture_output=True, check=False)

    assert (ended.returncode, ended.stdout) == (-9, b"0\n1\n2\n")
