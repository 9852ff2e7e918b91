"""What a Job may say, in Kubernetes' words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from skerry.apiserver.schema.rules.batch import cron_job
from skerry.apiserver.schema.rules.jobs import job_fields, job_selector, restart_policy
from skerry.model.errors import Cause


def a_spec(*, restart: str = "Never", **more: Any) -> dict[str, Any]:
    pod = {"restartPolicy": restart, "containers": [{"name": "main", "image": "host.skerry.invalid/work"}]}
    return {"template": {"metadata": {"labels": {"job": "x"}}, "spec": pod}, "selector": {"matchLabels": {"job": "x"}}, **more}


INDEXED = {"completionMode": "Indexed", "completions": 3}


def rule(**more: Any) -> dict[str, Any]:
    return {"podFailurePolicy": {"rules": [more]}}


def codes(*values: int, operator: str = "In", **more: Any) -> dict[str, Any]:
    return {"onExitCodes": {"operator": operator, "values": list(values), **more}}


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"completionMode": "Often"}, "completionMode", "Unsupported value"),
        ({"completionMode": "Indexed"}, "completions", "Required value: when completion mode is Indexed"),
        ({**INDEXED, "parallelism": 100_001}, "parallelism", "less than or equal to 100000 when completion mode is Indexed"),
        ({"backoffLimitPerIndex": 1}, "backoffLimitPerIndex", "requires indexed completion mode"),
        ({**INDEXED, "maxFailedIndexes": 1}, "backoffLimitPerIndex", "when maxFailedIndexes is specified"),
        ({**INDEXED, "backoffLimitPerIndex": 1, "maxFailedIndexes": 4}, "maxFailedIndexes", "less than or equal to completions"),
        ({**INDEXED, "backoffLimitPerIndex": -1}, "backoffLimitPerIndex", "greater than or equal to 0"),
        (
            {**INDEXED, "completions": 100_001, "backoffLimitPerIndex": 1},
            "maxFailedIndexes",
            "must be specified when completions is above 100000",
        ),
        ({"podReplacementPolicy": "Soon"}, "podReplacementPolicy", 'supported values: "Failed", "TerminatingOrFailed"'),
        (
            {**rule(action="Ignore", **codes(1)), "podReplacementPolicy": "TerminatingOrFailed"},
            "podReplacementPolicy",
            'supported values: "Failed"',
        ),
        (rule(action="Ignore"), "podFailurePolicy.rules[0]", "specifying one of OnExitCodes and OnPodConditions is required"),
        (rule(action="FailIndex", **codes(1)), "podFailurePolicy.rules[0].action", "requires the backoffLimitPerIndex to be set"),
        (rule(action="Ignore", **codes(0)), "podFailurePolicy.rules[0].onExitCodes.values[0]", "must not be 0 for the In operator"),
        (rule(action="Ignore", **codes(2, 1)), "podFailurePolicy.rules[0].onExitCodes.values", "must be ordered"),
        (rule(action="Ignore", **codes(1, 1)), "podFailurePolicy.rules[0].onExitCodes.values[1]", "Duplicate value: 1"),
        (
            rule(action="Ignore", **codes(1, containerName="x")),
            "podFailurePolicy.rules[0].onExitCodes.containerName",
            "initContainer names",
        ),
        ({"successPolicy": {"rules": [{"succeededCount": 1}]}}, "successPolicy", "requires indexed completion mode"),
        ({**INDEXED, "successPolicy": {"rules": []}}, "successPolicy.rules", "at least one rules must be specified"),
        (
            {**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 3}]}},
            "successPolicy.rules[0].succeededCount",
            "must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
        ),
        *(
            ({**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": text}]}}, "successPolicy.rules[0].succeededIndexes", words)
            for text, words in (
                ("0-1-2", "can have at most two parts separated by '-'"),
                ("a", 'cannot convert string to integer for index: "a"'),
                ("1,3", 'too large index: "3"'),
                ("2,1", "non-increasing order, previous: 2, current: 1"),
            )
        ),
        (
            {**INDEXED, "successPolicy": {"rules": [{"succeededCount": 9}]}},
            "successPolicy.rules[0].succeededCount",
            "less than or equal to 3",
        ),
        ({"restart": "Always"}, "template.spec.restartPolicy", "Required value"),
        ({**rule(action="Ignore", **codes(1)), "restart": "OnFailure"}, "template.spec.restartPolicy", 'only "Never" is supported'),
    ],
)
def test_what_is_refused(spec: dict[str, Any], field: str, words: str) -> None:
    causes: list[Cause] = []
    found = a_spec(**copy.deepcopy(spec))

    job_fields(found, "spec", causes)
    restart_policy(found, "spec.template.spec.restartPolicy", causes)

    assert [c.field for c in causes] == [f"spec.{field}"]
    assert words in causes[0].message


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {**INDEXED, "backoffLimitPerIndex": 1, "maxFailedIndexes": 3},
        {**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "0", "succeededCount": 1}]}},
        rule(action="FailJob", onPodConditions=[{"type": "DisruptionTarget"}]),
        rule(action="Count", **codes(0, 1, operator="NotIn")),
        {"restart": "OnFailure", "podReplacementPolicy": "Failed"},
    ],
)
def test_what_is_allowed(spec: dict[str, Any]) -> None:
    causes: list[Cause] = []

    job_fields(a_spec(**copy.deepcopy(spec)), "spec", causes)
    job_selector(a_spec(), causes)

    assert causes == []


def test_a_job_that_would_not_know_its_own_pods_is_refused() -> None:
    causes: list[Cause] = []

    job_selector({**a_spec(), "selector": {"matchLabels": {"job": "y"}}}, causes)

    assert [c.field for c in causes] == ["spec.template.metadata.labels"]


@pytest.mark.parametrize(("zone", "words"), [("", "non-empty"), ("Local", "explicit"), ("Mars/Olympus", "unknown time zone Mars/Olympus")])
def test_a_time_zone_has_to_exist(zone: str, words: str) -> None:
    causes: list[Cause] = []
    spec = {"schedule": "* * * * *", "timeZone": zone, "concurrencyPolicy": "Allow", "jobTemplate": {"spec": a_spec()}}

    cron_job({"spec": spec}, None, causes, "")

    (found,) = [c.message for c in causes if c.field == "spec.timeZone"]
    assert words in found
