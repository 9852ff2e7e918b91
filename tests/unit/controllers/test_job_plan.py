"""One look at a Job as values: what is created and deleted, what is counted, and what it comes to."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.controllers.workloads.jobs.facts import INDEX, INDEX_FAILURES, TRACKING
from skerry.controllers.workloads.jobs.indexes import Indexes
from skerry.controllers.workloads.jobs.pacing import Failures, Stopwatch
from skerry.controllers.workloads.jobs.plan import Create, Delete, Facts, Look, look
from skerry.controllers.workloads.jobs.policies import judge, success
from skerry.model.conditions import is_true
from skerry.model.objects import Object, dig, metadata, uid_of
from tests.unit.controllers.test_job import a_job

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
INDEXED = {"completionMode": "Indexed"}


def a_pod(uid: str, state: str = "running", *, index: int | None = None, tracked: bool = True, code: int = 1, failures: int = 0) -> Object:
    """Return a Pod: running, succeeded, failed, ending (a node still has it) or gone (only its finalizer holds it)."""
    meta: Object = {"name": uid, "namespace": "team", "uid": uid, "resourceVersion": "1", "annotations": {}}
    if tracked:
        meta["finalizers"] = [TRACKING]
    if index is not None:
        meta["annotations"] = {INDEX: str(index), INDEX_FAILURES: str(failures)}
    if state in ("ending", "gone"):
        meta |= {"deletionTimestamp": "2026-01-05T10:00:00Z", "deletionGracePeriodSeconds": 30 if state == "ending" else 0}
    phase = {"succeeded": "Succeeded", "failed": "Failed"}.get(state, "Running")
    status: Object = {"phase": phase}
    if phase != "Running":
        exit_code = 0 if phase == "Succeeded" else code
        status["containerStatuses"] = [{"name": "main", "state": {"terminated": {"exitCode": exit_code}}}]
    return {"metadata": meta, "spec": {"nodeName": "a"}, "status": status}


def facts(**more: Any) -> Facts:
    return Facts(now=NOW, **more)


def words(found: Look) -> list[str]:
    """Return the steps as text: `+` or `+2` creates, `-x` deletes, `~x` deletes what is not needed."""
    return [
        f"+{'' if s.index is None else s.index}" if isinstance(s, Create) else f"{'~' if s.release else '-'}{uid_of(s.pod)}"
        for s in found.steps
        if isinstance(s, (Create, Delete))
    ]


ONE_DONE = {"status": {"succeeded": 1}}


@pytest.mark.parametrize(
    ("spec", "status", "pods", "expected"),
    [
        ({}, {}, [], ["+"]),
        ({}, {}, [a_pod("a")], []),
        ({"completions": 5, "parallelism": 3}, {}, [a_pod("a")], ["+", "+"]),
        ({"completions": 5, "parallelism": 3}, {"succeeded": 4}, [], ["+"]),
        ({"completions": 5, "parallelism": 3}, {"succeeded": 3}, [a_pod("a", "succeeded")], ["+"]),
        ({"completions": 5, "parallelism": 0}, {}, [a_pod("a")], ["~a"]),
        ({"completions": None, "parallelism": 2}, {}, [a_pod("a")], ["+"]),
        ({"completions": None, "parallelism": 2}, {"succeeded": 1}, [a_pod("a")], []),
        ({"suspend": True}, {}, [a_pod("a")], ["~a"]),
        ({"suspend": True}, {}, [], []),
        ({}, {}, [a_pod("a", "ending")], ["+"]),
        ({}, {}, [a_pod("a", "gone")], ["+"]),
        ({"podReplacementPolicy": "Failed"}, {}, [a_pod("a", "ending")], []),
        ({"podReplacementPolicy": "Failed"}, {}, [a_pod("a", "gone")], ["+"]),
        ({**INDEXED, "completions": 3, "parallelism": 3}, {}, [], ["+0", "+1", "+2"]),
        ({**INDEXED, "completions": 3, "parallelism": 3}, {"completedIndexes": "1"}, [a_pod("a", index=0)], ["+2"]),
        ({**INDEXED, "completions": 3, "parallelism": 3}, {}, [a_pod("a", "failed", index=1)], ["+0", "+1", "+2"]),
        ({**INDEXED, "completions": 2, "parallelism": 2}, {}, [a_pod("a", index=0), a_pod("b", index=0)], ["~a"]),
        ({**INDEXED, "completions": 2, "parallelism": 2}, {}, [a_pod("a", index=7), a_pod("b", index=0)], ["~a"]),
        ({**INDEXED, "completions": 2, "parallelism": 2}, {}, [a_pod("a")], ["~a"]),
        ({"backoffLimit": 0}, {}, [a_pod("a", "failed"), a_pod("b")], ["-b"]),
    ],
)
def test_what_is_created_and_deleted(spec: dict[str, Any], status: dict[str, Any], pods: list[Object], expected: list[str]) -> None:
    assert words(look({**a_job(**spec), "status": status}, pods, facts())) == expected


@pytest.mark.parametrize(
    ("spec", "status", "pods", "fact", "reason"),
    [
        ({}, {}, [a_pod("a", "succeeded")], {}, "CompletionsReached"),
        ({}, {"succeeded": 1}, [], {}, "CompletionsReached"),
        ({"completions": 2}, {"succeeded": 1}, [], {}, None),
        ({"completions": None}, {"succeeded": 1}, [a_pod("a")], {}, None),
        ({"completions": None}, {"succeeded": 1}, [], {}, "CompletionsReached"),
        ({"backoffLimit": 1}, {"failed": 1}, [a_pod("a", "failed")], {}, "BackoffLimitExceeded"),
        ({"backoffLimit": 2}, {"failed": 1}, [a_pod("a", "failed")], {}, None),
        ({"backoffLimit": 0}, {}, [a_pod("a", "gone")], {}, "BackoffLimitExceeded"),
        ({"backoffLimit": 0, "podReplacementPolicy": "Failed"}, {}, [a_pod("a", "ending")], {}, None),
        ({"backoffLimit": 0}, {}, [a_pod("a", "ending")], {"silent": frozenset({"a"})}, None),
        ({"activeDeadlineSeconds": 60}, {}, [a_pod("a")], {"running_s": 59.0}, None),
        ({"activeDeadlineSeconds": 60}, {}, [a_pod("a")], {"running_s": 60.0}, "DeadlineExceeded"),
        ({"activeDeadlineSeconds": 60, "suspend": True}, {}, [], {"running_s": 99.0}, None),
        ({**INDEXED, "completions": 2}, {"completedIndexes": "0"}, [a_pod("a", "succeeded", index=1)], {}, "CompletionsReached"),
        (
            {**INDEXED, "completions": 2, "backoffLimitPerIndex": 0, "maxFailedIndexes": 0},
            {},
            [a_pod("a", "failed", index=1)],
            {},
            "MaxFailedIndexesExceeded",
        ),
        (
            {**INDEXED, "completions": 2, "backoffLimitPerIndex": 0},
            {"completedIndexes": "0"},
            [a_pod("a", "failed", index=1)],
            {},
            "FailedIndexes",
        ),
    ],
)
def test_what_it_comes_to(
    spec: dict[str, Any], status: dict[str, Any], pods: list[Object], fact: dict[str, Any], reason: str | None
) -> None:
    found = look({**a_job(**spec), "status": status}, pods, facts(**fact)).status

    decided = [c for c in found.get("conditions", []) if c["type"] in ("SuccessCriteriaMet", "FailureTarget")]
    assert (decided[0]["reason"] if decided else None) == reason


def test_containers_that_restart_by_themselves_use_up_the_back_off_limit() -> None:
    job, pod = a_job(backoffLimit=2), a_pod("a")
    job["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    pod["status"]["containerStatuses"] = [{"name": "main", "restartCount": 2}]

    assert words(look(job, [pod], facts())) == ["-a"]


def test_a_back_off_holds_the_next_pod_back_and_says_for_how_long() -> None:
    found = look(a_job(), [a_pod("a", "failed")], facts(retry_s=7.5))

    assert (words(found), found.again_s) == ([], 7.5)


def test_a_pod_is_announced_then_let_go_then_counted() -> None:
    job = a_job(completions=2)

    first = look(job, [a_pod("a", "succeeded"), a_pod("b")], facts())
    second = look({**job, "status": first.status}, [a_pod("a", "succeeded", tracked=False), a_pod("b")], facts())

    assert (first.status["uncountedTerminatedPods"], first.status.get("succeeded")) == ({"succeeded": ["a"]}, None)
    assert [uid_of(p) for p in first.release] == ["a"]
    assert (second.status["uncountedTerminatedPods"], second.status["succeeded"], list(second.release)) == ({}, 1, [])


def test_a_failed_job_is_final_only_when_nothing_of_it_runs() -> None:
    status = look(a_job(backoffLimit=0), [a_pod("a", "failed"), a_pod("b")], facts()).status
    held = look({**a_job(backoffLimit=0), "status": status}, [a_pod("b", "ending")], facts(silent=frozenset({"a"}))).status
    free = look({**a_job(backoffLimit=0), "status": held}, [], facts()).status

    assert [is_true(s["conditions"], "FailureTarget") for s in (status, held, free)] == [True, True, True]
    assert [is_true(s["conditions"], "Failed") for s in (status, held, free)] == [False, False, True]


RULES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
    {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}},
]


@pytest.mark.parametrize(("code", "action"), [(42, "FailJob"), (1, "Count"), (7, "Count")])
def test_the_first_rule_that_holds_judges_a_failed_pod(code: int, action: str) -> None:
    found = judge(a_job(podFailurePolicy={"rules": RULES}), a_pod("a", "failed", code=code))

    assert found.action == action
    if action == "FailJob":
        assert found.message == "Container main for pod team/a failed with exit code 42 matching FailJob rule at index 1"


def test_a_disrupted_pod_is_ignored_and_a_fatal_exit_code_ends_the_job() -> None:
    job, disrupted = a_job(backoffLimit=0, podFailurePolicy={"rules": RULES}), a_pod("a", "failed", code=42)
    disrupted["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]

    ignored = look(job, [disrupted], facts())
    fatal = look(job, [a_pod("b", "failed", code=42), a_pod("c")], facts())

    assert (words(ignored), ignored.status["uncountedTerminatedPods"], len(ignored.release)) == (["+"], {}, 1)
    assert fatal.status["conditions"][0]["reason"] == "PodFailurePolicy"
    assert words(fatal) == ["-c"]


@pytest.mark.parametrize(
    ("rule", "completed", "met"),
    [
        ({"succeededIndexes": "0,2-3"}, "0,2,3", True),
        ({"succeededIndexes": "0,2-3"}, "0-2", False),
        ({"succeededIndexes": "0-4", "succeededCount": 2}, "1,4", True),
        ({"succeededCount": 3}, "0,9", False),
        ({"succeededCount": 2}, "0,9", True),
    ],
)
def test_the_success_policy(rule: dict[str, Any], completed: str, met: bool) -> None:
    found = success(a_job(successPolicy={"rules": [rule]}), Indexes.parse(completed, limit=10), 10)

    assert found == ("Matched rules at index 0" if met else "")


@pytest.mark.parametrize(
    ("text", "shown"), [("0-2,5", "0-2,5"), ("5,0,1", "0,1,5"), ("1-2", "1,2"), ("x,3-1,4", "4"), ("8-12", "8,9"), (None, "")]
)
def test_sets_of_indexes_are_written_as_kubernetes_does(text: str | None, shown: str) -> None:
    assert str(Indexes.parse(text, limit=10)) == shown


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_sets_of_indexes_are_sets(a: set[int], b: set[int]) -> None:
    union = Indexes.of(a) | Indexes.of(b)

    assert list(union) == sorted(a | b)
    assert len(union) == len(a | b)
    assert Indexes.parse(str(union), limit=61) == union
    assert list(union.missing(61)) == sorted(set(range(61)) - a - b)


def test_the_back_off_doubles_and_a_success_ends_it() -> None:
    failures = Failures()
    failures.observe("j", {"a": False}, monotonic_s=0)
    one = failures.left_s("j", monotonic_s=4)
    failures.observe("j", {"a": False, "b": False}, monotonic_s=20)
    two = failures.left_s("j", monotonic_s=20)
    failures.observe("j", {"a": False, "b": False, "c": True}, monotonic_s=30)

    assert (one, two, failures.left_s("j", monotonic_s=30)) == (6, 20, 0)


def test_a_clock_that_jumps_lets_no_time_pass() -> None:
    watch = Stopwatch()
    watch.elapsed_s("j", "2026-01-05T09:59:50Z", now=NOW, monotonic_s=100)

    assert watch.elapsed_s("j", "2026-01-05T09:59:50Z", now=NOW.replace(year=2099), monotonic_s=105) == 15
    assert Stopwatch().elapsed_s("j", "2027-01-05T09:59:50Z", now=NOW, monotonic_s=100) == 0


STATES = st.sampled_from(["running", "succeeded", "failed", "ending", "gone"])
POD = st.tuples(STATES, st.integers(0, 4), st.booleans())


@given(
    st.lists(POD, max_size=8), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 5)), st.booleans(), st.integers(0, 3), st.booleans()
)
def test_after_a_few_looks_there_is_nothing_left_to_do(
    pods: list[tuple[str, int, bool]], parallelism: int, completions: int | None, indexed: bool, done: int, limited: bool
) -> None:
    mode: dict[str, Any] = {**INDEXED, "completions": completions or 1} if indexed else {"completions": completions}
    if indexed and limited:
        mode |= {"backoffLimitPerIndex": 1, "maxFailedIndexes": 3}
    status: Object = {"succeeded": done} if not indexed else {}
    job: Object = {**a_job(parallelism=parallelism, **mode), "status": status}
    there = [a_pod(f"p{i}", s, index=n if indexed else None, tracked=t) for i, (s, n, t) in enumerate(pods)]

    for _ in range(3):  # what is too much goes first, then the rest follows
        found = look(job, there, facts())
        there, job = carried_out(there, found), {**job, "status": found.status}

    assert words(look(job, there, facts())) == []
    active = [p for p in there if dig(p, "status", "phase") == "Running" and not metadata(p).get("deletionTimestamp")]
    assert len(active) <= parallelism or completions is None
    if indexed:
        indexes = [p["metadata"]["annotations"][INDEX] for p in active]
        assert len(set(indexes)) == len(indexes)


def carried_out(pods: list[Object], found: Look) -> list[Object]:
    """Return the Pods after the steps and the release of a look."""
    after = copy.deepcopy(pods)
    by_uid = {uid_of(p): p for p in after}
    for number, step in enumerate(found.steps):
        if isinstance(step, Create):
            after.append(a_pod(f"new{number}", index=step.index))
        else:
            meta = by_uid[uid_of(step.pod)]["metadata"]
            meta |= {"deletionTimestamp": "2026-01-05T10:00:00Z", "deletionGracePeriodSeconds": 30}
            if step.release:
                meta.pop("finalizers", None)
    for pod in found.release:
        by_uid[uid_of(pod)]["metadata"].pop("finalizers", None)
    return after
