"""Refusals, probes, back-off and status: the small pure rules of a Pod (inputs 33, 34, 35)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from skerry.model.objects import Object
from skerry.node.pods.backoff import Restarts, after_exit, after_failed_start
from skerry.node.pods.plan import ContainerSeen
from skerry.node.pods.prober import port_of
from skerry.node.pods.probes import Row, Rule, observe, rule_of, verdict
from skerry.node.pods.refusals import limits_of, refusals
from skerry.node.pods.status import PodSeen, Waiting, pod_status, qos_class
from skerry.node.runtimes.contract import Container, ContainerKey, Enforcement, Limits

ALL = Enforcement(memory=True, cpu=True, pids=True)
NONE = Enforcement(memory=False, cpu=False, pids=False, message="no cgroups here")
NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def a_pod(spec: dict[str, Any] | None = None, **container: Any) -> Object:
    return {
        "metadata": {"name": "p", "namespace": "d"},
        "spec": {"containers": [{"name": "app", "image": "i", **container}], **(spec or {})},
    }


def refused(pod: Object, *, enforcement: Enforcement = ALL, allow: bool = False) -> list[str]:
    return refusals(pod, enforcement=enforcement, allow_unenforced=allow)


@pytest.mark.parametrize(
    ("pod", "word"),
    [
        (a_pod({"hostPID": True}), "spec.hostPID"),
        (a_pod({"hostIPC": True}), "spec.hostIPC"),
        (a_pod({"shareProcessNamespace": True}), "spec.shareProcessNamespace"),
        (a_pod(securityContext={"privileged": True}), "securityContext.privileged"),
        (a_pod(securityContext={"capabilities": {"add": ["NET_ADMIN"]}}), "capabilities.add"),
        (a_pod(ports=[{"containerPort": 80, "hostPort": 8080}]), "hostPort 8080"),
        (a_pod(volumeDevices=[{"name": "x"}]), "volumeDevices"),
        (a_pod(lifecycle={"postStart": {"exec": {}}}), "lifecycle.postStart"),
        (a_pod(livenessProbe={"grpc": {"port": 1}}), "livenessProbe.grpc"),
        (a_pod({"activeDeadlineSeconds": 5}), "spec.activeDeadlineSeconds"),
        (a_pod(resources={"limits": {"memory": "1Zi"}}), "resources.limits"),
        (a_pod({"containers": [{"name": f"c{i}"} for i in range(10_000)]}), "10000 containers"),
        (a_pod(env=[{"name": f"E{i}"} for i in range(10_000)]), "more than 4096 variables"),
    ],
)
def test_what_this_node_does_not_do_is_refused_by_name(pod: Object, word: str) -> None:
    assert any(word in sentence for sentence in refused(pod))


def test_limits_are_refused_where_nobody_keeps_them() -> None:
    pod = a_pod(resources={"limits": {"memory": "64Mi", "cpu": "1"}, "requests": {"memory": "64Mi"}})

    assert refused(pod) == []
    assert "memory, cpu" in refused(pod, enforcement=NONE)[0]
    assert "no cgroups here" in refused(pod, enforcement=NONE)[0]
    assert refused(pod, enforcement=NONE, allow=True) == []
    assert refused(a_pod(resources={"requests": {"memory": "64Mi"}}), enforcement=NONE) == []


def test_limits_are_read_exactly() -> None:
    assert limits_of({"resources": {"limits": {"memory": "64Mi", "cpu": "250m"}}}) == Limits(64 * 2**20, 250)
    assert limits_of({}) == Limits()


def a_row(kind: Any = "liveness", **probe: Any) -> Row:
    rule = rule_of({f"{kind}Probe": {"exec": {}, **probe}}, kind)
    assert rule is not None
    return Row(rule)


def after(row: Row, answers: str) -> Row:
    for answer in answers:
        row = observe(row, answer == "+", "" if answer == "+" else "500")
    return row


def test_a_liveness_probe_fails_after_its_threshold_in_a_row() -> None:
    assert after(a_row(), "--").passed is None
    assert after(a_row(), "--+--").passed is True
    assert after(a_row(), "---").passed is False


def test_readiness_needs_its_successes_in_a_row() -> None:
    row = a_row("readiness", successThreshold=2)

    assert after(row, "+-+").passed is None
    assert after(row, "+-++").passed is True


def test_the_probes_together_say_started_ready_unhealthy() -> None:
    startup, liveness, readiness = a_row("startup", failureThreshold=2), a_row("liveness"), a_row("readiness")

    assert (verdict({}).started, verdict({}).ready) == (True, True)
    waiting = verdict({"startup": startup, "liveness": after(liveness, "---"), "readiness": readiness})
    assert (waiting.started, waiting.ready, waiting.unhealthy) == (False, False, "")
    assert verdict({"startup": after(startup, "--")}).unhealthy == "startup probe failed: 500"
    good = {"startup": after(startup, "+"), "liveness": after(liveness, "+"), "readiness": after(readiness, "+")}
    assert verdict(good).ready  # type: ignore[arg-type]
    assert verdict({**good, "liveness": after(liveness, "---")}).unhealthy  # type: ignore[dict-item]


@pytest.mark.parametrize("probe", [{"periodSeconds": 0, "timeoutSeconds": 0, "failureThreshold": 0}, {"periodSeconds": -5}])
def test_a_probe_never_runs_without_pause(probe: dict[str, Any]) -> None:
    rule = a_row(**probe).rule

    assert isinstance(rule, Rule)
    assert rule.period_s >= 1
    assert rule.timeout_s >= 1
    assert rule.failures >= 1


@pytest.mark.parametrize("port", [0, 65536, -1, "nope", "0"])
def test_a_port_that_is_none_is_refused(port: Any) -> None:
    with pytest.raises(ValueError, match="not a port"):
        port_of(port, {"web": 80})
    assert port_of("web", {"web": 80}) == port_of("80", {}) == 80


def test_back_off_doubles_to_five_minutes_and_forgets_after_a_good_run() -> None:
    state, waits = Restarts(), []
    for i in range(9):
        state = after_exit(state, ran_s=1, now=0.0, first=i == 0)
        waits.append(state.until)

    assert waits == [0, 10, 20, 40, 80, 160, 300, 300, 300]
    assert after_exit(state, ran_s=700, now=0.0, first=False).until == 10
    assert after_failed_start(Restarts(), now=5.0).until == 15


def an_attempt(number: int = 0, *, code: int | None = None) -> Container:
    state: Any = "running" if code is None else "exited"
    return Container(
        ContainerKey("u", "app"), number, f"id-{number}", state, 1e9, "i", "i@d", exit_code=code or 0, finished_at=1e9 + 5, reason="Error"
    )


def status(pod: Object, seen: ContainerSeen | None = None, *, ending: bool = False, waiting: Waiting | None = None) -> dict[str, Any]:
    found = PodSeen({"app": seen} if seen else {}, {"app": waiting} if waiting else {}, ending)
    return pod_status(pod, found, address="10.0.0.7", runtime="process", since=NOW, now=NOW)


def test_a_pod_before_its_first_container_is_pending() -> None:
    found = status(a_pod())

    assert found["phase"] == "Pending"
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert found["startTime"] == "2026-01-05T10:00:00Z"
    assert {c["type"]: c["status"] for c in found["conditions"]}["Ready"] == "False"


def test_a_crash_loop_reads_as_kubectl_shows_it() -> None:
    seen = ContainerSeen((an_attempt(0, code=1), an_attempt(1, code=2)), retry_at=99)

    found = status(a_pod(), seen, waiting=Waiting("CrashLoopBackOff", "back-off 10s"))

    container = found["containerStatuses"][0]
    assert found["phase"] == "Running"
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert container["lastState"]["terminated"]["exitCode"] == 2
    assert container["restartCount"] == 1


def test_ready_keeps_the_time_of_its_last_change() -> None:
    pod = a_pod()
    pod["status"] = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T00:00:00Z"}]}

    found = status(pod, ContainerSeen((an_attempt(),), started=True, ready=True))

    assert next(c for c in found["conditions"] if c["type"] == "Ready")["lastTransitionTime"] == "2025-12-31T00:00:00Z"


def test_a_phase_that_is_over_stays_over() -> None:
    pod = a_pod({"restartPolicy": "Never"})
    pod["status"] = {"phase": "Succeeded"}

    assert status(pod)["phase"] == "Succeeded"


def test_a_deleted_pod_ends_as_its_containers_did() -> None:
    assert status(a_pod(), ContainerSeen((an_attempt(code=143),)), ending=True)["phase"] == "Failed"
    assert status(a_pod(), ContainerSeen((an_attempt(code=0),)), ending=True)["phase"] == "Succeeded"


def test_quality_of_service() -> None:
    full = {"cpu": "1", "memory": "1Gi"}

    assert qos_class(a_pod()) == "BestEffort"
    assert qos_class(a_pod(resources={"limits": full})) == "Guaranteed"
    assert qos_class(a_pod(resources={"limits": full, "requests": {"cpu": "1000m", "memory": "1024Mi"}})) == "Guaranteed"
    assert qos_class(a_pod(resources={"requests": {"cpu": "1"}})) == "Burstable"
