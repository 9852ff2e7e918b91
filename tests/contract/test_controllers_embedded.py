"""The controllers against the embedded server itself: its defaults, validation and deletion rules, not the fake's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skerry.apiserver.local import LocalApi
from skerry.apiserver.server import ApiServer
from skerry.controllers import Settings, start_all
from skerry.model.conditions import get_condition, is_true
from skerry.model.objects import Object, annotations_of, dig, metadata, name_of
from skerry.model.resources import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, NODES, PODS, REPLICASETS, SERVICEACCOUNTS
from skerry.model.times import rfc3339
from tests.unit.controllers.world import SPACE, a_deployment, a_node

pytestmark = pytest.mark.slow

WAIT_S = 60.0


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[LocalApi]:
    server = await ApiServer.open(tmp_path / "hub.sqlite")
    found = LocalApi(server.registry)
    running = asyncio.create_task(start_all(found, Settings(ca_pem="PEM"), lambda: datetime.now(UTC)).run())
    caring = asyncio.create_task(kubelet(found))
    for name in ("a", "b"):
        node = a_node(name)
        await found.create(NODES, node)
        await found.patch(NODES, "", name, {"status": node["status"]}, subresource="status")
    await found.create(NAMESPACES, {"metadata": {"name": SPACE}})
    yield found
    for task in (running, caring):
        task.cancel()
    await asyncio.gather(running, caring, return_exceptions=True)
    await server.close()


async def kubelet(api: LocalApi) -> None:
    """Start what is bound, end what shall end."""
    while True:
        for pod in (await api.list(PODS)).items:
            if metadata(pod).get("deletionTimestamp"):
                await api.delete(PODS, *name_of(pod), grace_s=0)
            elif dig(pod, "spec", "nodeName") and not is_true(dig(pod, "status", "conditions"), "Ready"):
                condition = {"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(datetime.now(UTC))}
                status = {"phase": "Running", "conditions": [condition]}
                await api.patch(PODS, *name_of(pod), {"status": status}, form="strategic", subresource="status")
        await asyncio.sleep(0.05)


async def until(what: Callable[[Object], bool], api: LocalApi, name: str = "web") -> Object:
    async with asyncio.timeout(WAIT_S):
        while True:
            found = await api.get(DEPLOYMENTS, SPACE, name)
            if what(found):
                return found
            await asyncio.sleep(0.05)


def complete(deployment: Object) -> bool:
    progressing = get_condition(dig(deployment, "status", "conditions"), "Progressing") or {}
    seen = dig(deployment, "status", "observedGeneration", default=0) == metadata(deployment)["generation"]
    return bool(seen) and progressing.get("reason") == "NewReplicaSetAvailable"


async def test_a_rollout_and_its_end(api: LocalApi) -> None:
    await api.create(DEPLOYMENTS, a_deployment(replicas=2))
    first = await until(complete, api)
    nodes = sorted(p["spec"]["nodeName"] for p in (await api.list(PODS, SPACE)).items)

    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "host.skerry.invalid/app:2"}]}}}}
    await api.patch(DEPLOYMENTS, SPACE, "web", image, form="strategic")
    second = await until(lambda d: annotations_of(d).get("deployment.kubernetes.io/revision") == "2" and complete(d), api)
    living = [p for p in (await api.list(PODS, SPACE)).items if not metadata(p).get("deletionTimestamp")]
    images = {p["spec"]["containers"][0]["image"] for p in living}
    await api.delete(DEPLOYMENTS, SPACE, "web", propagation="Foreground")
    await _gone(api, DEPLOYMENTS, REPLICASETS, PODS)

    assert nodes == ["a", "b"]
    assert first["status"]["availableReplicas"] == second["status"]["availableReplicas"] == 2
    assert images == {"host.skerry.invalid/app:2"}


async def test_a_namespace_begins_with_its_defaults_and_ends_empty(api: LocalApi) -> None:
    await api.create(DEPLOYMENTS, a_deployment(replicas=1))
    await until(complete, api)
    accounts = [name_of(o).name for o in (await api.list(SERVICEACCOUNTS, SPACE)).items]
    certificates = [name_of(o).name for o in (await api.list(CONFIGMAPS, SPACE)).items]

    await api.delete(NAMESPACES, "", SPACE)
    async with asyncio.timeout(WAIT_S):
        while any(name_of(n).name == SPACE for n in (await api.list(NAMESPACES)).items):
            await asyncio.sleep(0.05)

    assert (accounts, certificates) == (["default"], ["kube-root-ca.crt"])


async def _gone(api: LocalApi, *resources: object) -> None:
    async with asyncio.timeout(WAIT_S):
        while [o for r in resources for o in (await api.list(r, SPACE)).items]:  # type: ignore[arg-type]
            await asyncio.sleep(0.05)
