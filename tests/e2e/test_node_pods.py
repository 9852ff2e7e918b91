"""What people do with Pods, through stock kubectl, a real hub and a real node: logs, exec, configuration, probes, refusals."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.edge import KUBECTL, Edge, a_pod, an_edge, config, free_port, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")]

SERVER = """\
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sick = self.path == "/live" and os.path.exists("/witness/sick")
        self.send_response(500 if sick else 200)
        self.end_headers()
    def log_message(self, *words): pass
open("/witness/served", "a").write("x")
http.server.HTTPServer((os.environ["ADDRESS"], int(os.environ["PORT"])), Page).serve_forever()
"""


CLIENT = """\
import json, os, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
asked = urllib.request.Request(
    f"https://{host}:{port}/apis/authentication.k8s.io/v1/selfsubjectreviews",
    json.dumps(review).encode(),
    {"Authorization": "Bearer " + open(folder + "token").read(), "Content-Type": "application/json"},
)
with urllib.request.urlopen(asked, context=ssl.create_default_context(cafile=folder + "ca.crt")) as answer:
    info = json.load(answer)["status"]["userInfo"]
print(info["username"], info["extra"]["authentication.kubernetes.io/pod-name"][0], open(folder + "namespace").read())
"""


POLITE = """\
import signal, sys, time
def end(*_):
    open("/witness/order", "a").write("term\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    time.sleep(1)
"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with an_edge(tmp_path_factory.mktemp("edge")) as found:
        found.start_node()
        until(lambda: "Ready" in found.kubectl("get", "nodes", check=False), "the node")
        found.apply(config())
        yield found


@pytest.fixture(autouse=True)
def tidy(edge: Edge) -> Iterator[None]:
    yield
    edge.kubectl("delete", "pods", "--all", "--wait=true", "--timeout=90s", "--grace-period=1")
    for path in edge.witness.iterdir():
        path.unlink()


def run(edge: Edge, pod: dict[str, Any]) -> str:
    """Create the Pod and wait until it is Ready; return its name."""
    edge.apply(pod)
    name = str(pod["metadata"]["name"])
    edge.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=90s")
    return name


def command(edge: Edge, *words: str) -> list[str]:
    return [KUBECTL, "--kubeconfig", str(edge.kubeconfig), *words]


def the_status(edge: Edge, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(edge.kubectl("get", "pod", name, "-o", "json"))["status"]
    return found


def reason(edge: Edge, name: str) -> str:
    statuses = the_status(edge, name).get("containerStatuses") or [{}]
    return str((statuses[0].get("state") or {}).get("waiting", {}).get("reason"))


def test_logs_are_followed_as_they_are_written(edge: Edge) -> None:
    name = run(edge, a_pod(edge, "ticker"))
    with subprocess.Popen(command(edge, "logs", "-f", name), stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        lines = [following.stdout.readline().strip() for _ in range(8)]
        following.kill()

    assert lines == [f"tick {i}" for i in range(8)]
    assert edge.kubectl("logs", name, "--tail=1").startswith("tick ")
    assert "T" in edge.kubectl("logs", name, "--timestamps", "--tail=1").split(" ")[0]
    assert len(edge.kubectl("logs", name, "--limit-bytes=10")) == 10


def test_following_ends_with_the_pod(edge: Edge) -> None:
    name = run(edge, a_pod(edge, "ticker"))
    with subprocess.Popen(command(edge, "logs", "-f", name), stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"tick 0\n"
        edge.kubectl("delete", "pod", name, "--grace-period=1")
        assert following.wait(timeout=60) == 0
        following.stdout.read()


def test_commands_run_inside_with_input_output_and_exit_code(edge: Edge) -> None:
    name = run(edge, a_pod(edge, "shell"))

    told = edge.kubectl("exec", name, "--", "sh", "-c", "echo $ME; hostname; whoami; ls /app")
    echoed = subprocess.run(
        command(edge, "exec", "-i", name, "--", "tr", "a-z", "A-Z"),
        input="quiet\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    failed = subprocess.run(
        command(edge, "exec", name, "--", "sh", "-c", "exit 42"), capture_output=True, text=True, timeout=120, check=False
    )
    unknown = subprocess.run(command(edge, "exec", name, "--", "no-such-thing"), capture_output=True, text=True, timeout=120, check=False)

    assert told.split() == ["shell", "shell", "pod", "main.py"]
    assert echoed.stdout == "QUIET\n"
    assert failed.returncode == 42
    assert (unknown.returncode, "no-such-thing" in unknown.stderr) == (127, True)


def test_a_terminal_for_a_person(edge: Edge) -> None:
    name = run(edge, a_pod(edge, "shell"))
    master, slave = pty.openpty()
    with subprocess.Popen(
        command(edge, "exec", "-it", name, "--", "sh"), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as shell:
        os.close(slave)
        os.write(master, b"test -t 0 && echo it-is-$((40+2))\n")
        seen = b""
        end = time.monotonic() + 90
        while b"it-is-42" not in seen and time.monotonic() < end:
            seen += os.read(master, 4096)
        os.write(master, b"exit 3\n")
        assert shell.wait(timeout=60) == 3
    os.close(master)
    assert b"it-is-42" in seen


def test_a_large_output_arrives_whole(edge: Edge) -> None:
    name = run(edge, a_pod(edge, "shell"))

    found = edge.kubectl("exec", name, "--", "python3", "-c", "print('x' * 3_000_000)")

    assert len(found) == 3_000_001


def test_changed_configuration_reaches_a_running_pod(edge: Edge) -> None:
    edge.apply(
        config("live", word="before"), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"pin": "1234"}}
    )
    pod = a_pod(edge, "reader")
    pod["spec"]["volumes"] += [
        {"name": "live", "configMap": {"name": "live"}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
    ]
    pod["spec"]["containers"][0]["volumeMounts"] += [
        {"name": "live", "mountPath": "/live"},
        {"name": "keys", "mountPath": "/keys", "readOnly": True},
    ]
    name = run(edge, pod)
    assert edge.kubectl("exec", name, "--", "cat", "/live/word", "/keys/pin") == "before1234"

    edge.kubectl("patch", "configmap", "live", "--type", "merge", "-p", '{"data":{"word":"after"}}')
    edge.kubectl("patch", "secret", "keys", "--type", "merge", "-p", '{"stringData":{"pin":"9876"}}')

    until(lambda: edge.kubectl("exec", name, "--", "cat", "/live/word", "/keys/pin") == "after9876", "the new values")


def test_a_missing_configmap_is_waited_for(edge: Edge) -> None:
    pod = a_pod(edge, "waits")
    pod["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "late"}}]
    edge.apply(pod)
    until(lambda: reason(edge, "waits") == "CreateContainerConfigError", "the reason")
    assert 'configmap "late" not found' in edge.kubectl("describe", "pod", "waits")

    edge.kubectl("create", "configmap", "late", "--from-literal=A=b")

    edge.kubectl("wait", "--for=condition=Ready", "pod/waits", "--timeout=90s")
    edge.kubectl("delete", "configmap", "late")


def test_probes_make_ready_and_restart(edge: Edge) -> None:
    port = free_port()
    edge.apply(config("server", **{"server.py": SERVER}))
    pod = a_pod(edge, "server")
    pod["spec"]["volumes"][0]["configMap"]["name"] = "server"
    container = pod["spec"]["containers"][0]
    container["args"] = ["-u", "/app/server.py"]
    container["env"] += [
        {"name": "PORT", "value": str(port)},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    container["ports"] = [{"name": "web", "containerPort": port}]
    container["startupProbe"] = {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "failureThreshold": 30}
    container["readinessProbe"] = {"httpGet": {"path": "/ready", "port": "web"}, "periodSeconds": 1}
    container["livenessProbe"] = {"httpGet": {"path": "/live", "port": port}, "periodSeconds": 1, "failureThreshold": 2}
    name = run(edge, pod)
    assert the_status(edge, name)["containerStatuses"][0]["restartCount"] == 0

    (edge.witness / "sick").touch()
    until(lambda: the_status(edge, name)["containerStatuses"][0]["restartCount"] >= 1, "a restart")
    (edge.witness / "sick").unlink()

    edge.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=90s")
    assert "Liveness probe failed: HTTP probe failed with statuscode: 500" in edge.kubectl("describe", "pod", name)


def test_init_containers_then_the_work_then_done(edge: Edge) -> None:
    pod = a_pod(edge, "once", restartPolicy="Never")
    share = {"name": "share", "emptyDir": {}}
    mount = {"name": "share", "mountPath": "/share"}
    pod["spec"]["volumes"].append(share)
    image = pod["spec"]["containers"][0]["image"]
    pod["spec"]["initContainers"] = [
        {"name": "prepare", "image": image, "args": ["-c", "open('/share/a', 'w').write('made')"], "volumeMounts": [mount]}
    ]
    pod["spec"]["containers"][0] |= {"args": ["-c", "print(open('/share/a').read())"], "volumeMounts": [mount]}
    edge.apply(pod)

    edge.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/once", "--timeout=90s")

    assert edge.kubectl("logs", "once") == "made\n"
    assert "Completed" in edge.kubectl("get", "pod", "once")


def test_what_crashed_can_be_read_after_it_was_restarted(edge: Edge) -> None:
    pod = a_pod(edge, "crashes")
    pod["spec"]["containers"][0] |= {
        "args": ["-c", "print('boom'); raise SystemExit(5)"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    edge.apply(pod)

    until(lambda: reason(edge, "crashes") == "CrashLoopBackOff", "the back-off")

    last = the_status(edge, "crashes")["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (5, "Error", "boom\n")
    assert edge.kubectl("logs", "crashes", "--previous") == "boom\n"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"image": "host.skerry.invalid/rm"}, "--allow-program rm="),
        ({"image": "docker.io/library/nginx:1.27"}, "runs host.skerry.invalid/PROGRAM"),
        ({"command": ["/bin/sh", "-c", "id"]}, "runs only /usr/bin/python3"),
        ({"securityContext": {"privileged": True}}, "never gives privileges"),
    ],
)
def test_what_the_node_does_not_run_says_what_to_do(edge: Edge, change: dict[str, Any], word: str) -> None:
    pod = a_pod(edge, "refused")
    pod["spec"]["containers"][0] |= change
    edge.apply(pod)

    until(lambda: word in edge.kubectl("describe", "pod", "refused"), word)

    assert the_status(edge, "refused")["phase"] == "Pending"


def test_a_folder_that_is_not_allowed_is_not_mounted(edge: Edge) -> None:
    pod = a_pod(edge, "curious")
    pod["spec"]["volumes"][1]["hostPath"]["path"] = "/etc"
    edge.apply(pod)

    until(lambda: "hostPath '/etc' is not allowed on this node" in edge.kubectl("describe", "pod", "curious"), "the refusal")


def test_a_claim_of_a_local_volume_is_mounted(edge: Edge) -> None:
    class_ = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local"}
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}
    volume = {
        "capacity": {"storage": "1Gi"},
        "local": {"path": str(edge.witness)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
    }
    edge.apply(class_)
    edge.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"}, "spec": {**common, **volume}})
    claim = {**common, "resources": {"requests": {"storage": "1Gi"}}}
    edge.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "default"}, "spec": claim})
    pod = a_pod(edge, "keeper")
    pod["spec"]["volumes"][1] = {"name": "witness", "persistentVolumeClaim": {"claimName": "data"}}
    pod["spec"]["containers"][0]["args"] = ["-c", "open('/witness/kept', 'w').write('here'); import time; time.sleep(600)"]

    run(edge, pod)

    until(lambda: (edge.witness / "kept").exists(), "what the Pod wrote")
    pod["metadata"]["name"], pod["spec"]["nodeName"] = "placed", edge.node  # no scheduler tells the node of this one
    pod["spec"]["containers"][0]["args"] = ["-c", "open('/witness/kept-too', 'w').write('here'); import time; time.sleep(600)"]
    edge.apply(pod)
    until(lambda: (edge.witness / "kept-too").exists(), "what the Pod with a nodeName wrote")
    assert "Bound" in edge.kubectl("get", "pvc", "data")


def test_a_graceful_end_gives_the_hook_and_the_program_their_time(edge: Edge) -> None:
    pod = a_pod(edge, "polite", terminationGracePeriodSeconds=50)
    pod["spec"]["containers"][0] |= {
        "args": ["-c", POLITE],
        "lifecycle": {"preStop": {"exec": {"command": ["python3", "-c", "open('/witness/order', 'a').write('hook\\n')"]}}},
    }
    name = run(edge, pod)

    began = time.monotonic()
    edge.kubectl("delete", "pod", name)

    assert time.monotonic() - began < 45
    assert (edge.witness / "order").read_text() == "hook\nterm\n"


def test_a_program_in_a_pod_talks_to_the_api_as_its_service_account(edge: Edge) -> None:
    pod = a_pod(edge, "inside", restartPolicy="Never")
    pod["spec"]["containers"][0]["args"] = ["-c", CLIENT]
    edge.apply(pod)

    until(lambda: edge.kubectl("get", "pod", "inside", "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"), "the client")
    assert edge.kubectl("logs", "inside").strip() == "system:serviceaccount:default:default inside default"
