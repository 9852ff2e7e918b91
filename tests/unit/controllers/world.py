"""A small cluster for tests: the fake API, controllers on a virtual clock, and a kubelet that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from skerry.controllers.informers import Informers
from skerry.model.conditions import is_true, with_condition
from skerry.model.objects import Object, dig, metadata, name_of
from skerry.model.resources import DEPLOYMENTS, NODES, PODS, Resource
from skerry.testing.clock import VirtualClockLoop, run_virtually
from skerry.testing.fakeapi import FakeApi

SPACE = "team"


def a_pod(name: str, *, labels: dict[str, str] | None = None, node: str = "", **spec: Any) -> Object:
    found: Object = {"containers": [{"name": "main", "image": "host.skerry.invalid/app"}], **spec}
    if node:
        found["nodeName"] = node
    return {"metadata": {"namespace": SPACE, "name": name, "labels": labels or {}}, "spec": found}


def a_replicaset(name: str = "web", replicas: int = 3, *, uid: str = "rs-uid", **spec: Any) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "host.skerry.invalid/app"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"namespace": SPACE, "name": name, "uid": uid, "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def a_deployment(name: str = "web", replicas: int = 3, *, image: str = "host.skerry.invalid/app:1", **spec: Any) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": SPACE, "name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def a_node(name: str, *, labels: dict[str, str] | None = None, cpu: str = "4", pods: str = "110", **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": "2Gi", "pods": pods},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }


class World:
    """Controllers that run against a fake API until the test leaves."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        self.now = loop.now
        self.api = FakeApi(now=loop.now)
        self.informers = Informers(self.api)
        self.silent_nodes: set[str] = set()
        self.broken_images: set[str] = set()
        self.ready_after_s = 1.0
        self._tasks: list[asyncio.Task[Any]] = []

    @asynccontextmanager
    async def running(self, *runs: Callable[[], Coroutine[Any, Any, Any]]) -> AsyncIterator[World]:
        for run in (self.informers.run, *runs):
            self._tasks.append(asyncio.create_task(run()))
        try:
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def kubelet(self) -> None:
        """Start every Pod that is bound (or that nobody will bind), and let go of those that shall end."""
        while True:
            for pod in self.api.all(PODS):
                await self._care_for(pod)
            await asyncio.sleep(self.ready_after_s)

    async def _care_for(self, pod: Object) -> None:
        if dig(pod, "spec", "nodeName", default="") in self.silent_nodes:
            return
        if metadata(pod).get("deletionTimestamp"):
            await self.api.delete(PODS, *name_of(pod), grace_s=0)
        elif not is_true(dig(pod, "status", "conditions"), "Ready") and pod["spec"]["containers"][0]["image"] not in self.broken_images:
            conditions = with_condition(dig(pod, "status", "conditions"), "Ready", True, reason="Started", now=self.now())
            status = {"phase": "Running", "conditions": conditions}
            await self.api.patch(PODS, *name_of(pod), {"status": status}, subresource="status")

    def names(self, resource: Resource) -> list[str]:
        return [name_of(o).name for o in self.api.all(resource)]

    def node(self, name: str) -> Object:
        found = self.api.peek(NODES, "", name)
        assert found is not None
        return found

    def deployment(self, name: str = "web") -> Object:
        found = self.api.peek(DEPLOYMENTS, SPACE, name)
        assert found is not None
        return found


def virtually(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """Run *test* with a World on a virtual clock."""

    async def main() -> None:
        await asyncio.wait_for(test(World()), 100_000)

    def runner() -> None:
        run_virtually(main())

    runner.__name__ = getattr(test, "__name__", "test")
    return runner
