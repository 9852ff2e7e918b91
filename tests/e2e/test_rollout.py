"""What kubectl's rollout commands, DaemonSets and cascades do on a real edge, with Pods that really run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.stage import NODES, Stage

pytestmark = pytest.mark.slow

WAIT = "--timeout=90s"


def template(version: str) -> dict[str, Any]:
    container = {
        "name": "app",
        "image": "host.skerry.invalid/python",
        "args": ["-c", "import time; time.sleep(10**6)"],
        "env": [{"name": "VERSION", "value": version}],
    }
    spec = {"runtimeClassName": "process", "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


def workload(kind: str, version: str, **spec: Any) -> str:
    found = {"selector": {"matchLabels": {"app": "web"}}, "template": template(version), **spec}
    return json.dumps({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": found})


@pytest.fixture
def space(stage: Stage) -> Iterator[str]:
    name = f"roll-{time.monotonic_ns()}"
    stage.kubectl("create", "namespace", name)
    yield name
    stage.kubectl("delete", "namespace", name, timeout_s=120)


def told(stage: Stage, space: str, *words: str, stdin: str | None = None) -> str:
    return stage.kubectl("-n", space, *words, stdin=stdin, timeout_s=120).stdout


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def versions(stage: Stage, space: str) -> list[str]:
    pods = json.loads(told(stage, space, "get", "pods", "-o", "json"))["items"]
    living = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
    return sorted(p["spec"]["containers"][0]["env"][0]["value"] for p in living)


def test_a_deployment_is_rolled_out_looked_back_at_and_undone(stage: Stage, space: str) -> None:
    told(stage, space, "apply", "-f", "-", stdin=workload("Deployment", "1", replicas=2))
    assert "successfully rolled out" in told(stage, space, "rollout", "status", "deployment/web", WAIT)
    told(stage, space, "wait", "--for=condition=Available", "deployment/web", WAIT)

    told(stage, space, "set", "env", "deployment/web", "VERSION=2")
    told(stage, space, "annotate", "deployment/web", "kubernetes.io/change-cause=the second")
    assert "successfully rolled out" in told(stage, space, "rollout", "status", "deployment/web", WAIT)
    assert versions(stage, space) == ["2", "2"]

    history = told(stage, space, "rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["1", "2"]
    assert "the second" in history
    assert "VERSION:\t1" in told(stage, space, "rollout", "history", "deployment/web", "--revision=1")

    told(stage, space, "rollout", "undo", "deployment/web")
    told(stage, space, "rollout", "status", "deployment/web", WAIT)
    assert versions(stage, space) == ["1", "1"]
    described = told(stage, space, "describe", "deployment", "web")
    assert "NewReplicaSet:" in described
    assert "ScalingReplicaSet" in described


def test_a_paused_deployment_waits_and_a_restart_replaces_every_pod(stage: Stage, space: str) -> None:
    told(stage, space, "apply", "-f", "-", stdin=workload("Deployment", "1", replicas=2))
    told(stage, space, "rollout", "status", "deployment/web", WAIT)

    told(stage, space, "rollout", "pause", "deployment/web")
    told(stage, space, "set", "env", "deployment/web", "VERSION=2")
    told(stage, space, "scale", "deployment/web", "--replicas=3")
    until(lambda: versions(stage, space) == ["1", "1", "1"], "three Pods of the old version")
    told(stage, space, "rollout", "resume", "deployment/web")
    told(stage, space, "rollout", "status", "deployment/web", WAIT)
    assert versions(stage, space) == ["2", "2", "2"]

    before = set(told(stage, space, "get", "pods", "-o", "name").split())
    told(stage, space, "rollout", "restart", "deployment/web")
    told(stage, space, "rollout", "status", "deployment/web", WAIT)
    until(lambda: not before & set(told(stage, space, "get", "pods", "-o", "name").split()), "new Pods only")


def test_a_daemonset_runs_on_every_node_and_rolls(stage: Stage, space: str) -> None:
    told(stage, space, "apply", "-f", "-", stdin=workload("DaemonSet", "1"))
    assert "successfully rolled out" in told(stage, space, "rollout", "status", "daemonset/web", WAIT)
    placed = told(stage, space, "get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert sorted(placed) == sorted(p.name for p in NODES)

    told(stage, space, "set", "env", "daemonset/web", "VERSION=2")
    told(stage, space, "rollout", "status", "daemonset/web", WAIT)

    assert versions(stage, space) == ["2", "2"]


@pytest.mark.parametrize(("cascade", "left"), [("background", 0), ("foreground", 0), ("orphan", 2)])
def test_a_deleted_deployment_takes_along_what_it_should(stage: Stage, space: str, cascade: str, left: int) -> None:
    told(stage, space, "apply", "-f", "-", stdin=workload("Deployment", "1", replicas=1))
    told(stage, space, "rollout", "status", "deployment/web", WAIT)

    told(stage, space, "delete", "deployment", "web", f"--cascade={cascade}")

    until(lambda: len(told(stage, space, "get", "pods,replicasets", "-o", "name").split()) == left, f"{left} objects left")
    time.sleep(1)
    assert len(told(stage, space, "get", "pods,replicasets", "-o", "name").split()) == left
    if left:
        told(stage, space, "apply", "-f", "-", stdin=workload("Deployment", "1", replicas=1))
        told(stage, space, "rollout", "status", "deployment/web", WAIT)
        assert len(told(stage, space, "get", "pods,replicasets", "-o", "name").split()) == left


def test_a_class_that_no_node_offers_is_said_in_an_event(stage: Stage, space: str) -> None:
    stage.kubectl("apply", "-f", "-", stdin=json.dumps(_runtime_class()))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {**template("1")["spec"], "runtimeClassName": "nowhere"}}

    told(stage, space, "apply", "-f", "-", stdin=json.dumps(pod))

    until(lambda: "no node offers runtime class nowhere" in told(stage, space, "describe", "pod", "p"), "the Event")
    assert "FailedScheduling" in told(stage, space, "events", "--for", "pod/p")
    stage.kubectl("delete", "runtimeclass", "nowhere")


def _runtime_class() -> dict[str, Any]:
    scheduling = {"nodeSelector": {"runtime.skerry.dev/nowhere": "true"}}
    return {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "nowhere"},
        "handler": "nowhere",
        "scheduling": scheduling,
    }
