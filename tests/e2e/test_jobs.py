"""Jobs on a real edge: processes that end, each told its index, each counted once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from demo.stage import Stage

pytestmark = pytest.mark.slow


@pytest.fixture
def space(stage: Stage) -> Iterator[str]:
    name = f"jobs-{time.monotonic_ns()}"
    stage.kubectl("create", "namespace", name)
    yield name
    stage.kubectl("delete", "namespace", name, timeout_s=120)


def told(stage: Stage, space: str, *words: str, stdin: str | None = None) -> str:
    return stage.kubectl("-n", space, *words, stdin=stdin, timeout_s=120).stdout


def a_job(name: str, code: str, **spec: Any) -> str:
    container = {"name": "work", "image": "host.skerry.invalid/python", "args": ["-c", code]}
    pod = {"runtimeClassName": "process", "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    found = {"template": {"spec": pod}, **spec}
    return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": found})


def test_each_process_knows_its_index_and_the_job_counts_them(stage: Stage, space: str) -> None:
    code = "import os; print(os.environ['JOB_COMPLETION_INDEX'])"
    told(stage, space, "create", "-f", "-", stdin=a_job("parts", code, completions=3, parallelism=2, completionMode="Indexed"))

    told(stage, space, "wait", "--for=condition=complete", "job/parts", "--timeout=90s")

    status = json.loads(told(stage, space, "get", "job", "parts", "-o", "json"))["status"]
    printed = told(stage, space, "logs", "-l", "job-name=parts", "--tail=-1")
    assert (status["succeeded"], status["completedIndexes"], status["uncountedTerminatedPods"]) == (3, "0-2", {})
    assert sorted(printed.split()) == ["0", "1", "2"]


def test_an_exit_code_that_the_policy_names_ends_the_job_and_its_pods_go_with_it(stage: Stage, space: str) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    told(stage, space, "create", "-f", "-", stdin=a_job("fatal", "raise SystemExit(42)", podFailurePolicy={"rules": [rule]}))

    told(stage, space, "wait", "--for=condition=failed", "job/fatal", "--timeout=90s")

    job = json.loads(told(stage, space, "get", "job", "fatal", "-o", "json"))
    reasons = {c["type"]: c["reason"] for c in job["status"]["conditions"]}
    assert reasons == {"FailureTarget": "PodFailurePolicy", "Failed": "PodFailurePolicy"}
    assert "deleted" in told(stage, space, "delete", "job", "fatal", "--cascade=foreground", "--timeout=90s")
    assert json.loads(told(stage, space, "get", "pods", "-o", "json"))["items"] == []
