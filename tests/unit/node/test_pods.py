"""Pods on a fake runtime and a fake API, on a virtual clock: what is started, ended, reported, and survived."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from skerry.kube import Origin
from skerry.kube.backoff import Backoff
from skerry.model.objects import Object, dig
from skerry.model.resources import CONFIGMAPS, EVENTS, PODS
from skerry.node.memory import Memory, Mirror
from skerry.node.pods import EventRecorder, NodeFacts, PodReconciler, PodTools, References, StatusReporter, VolumeRoom, backoff
from skerry.node.runtimes.contract import ContainerKey, Enforcement
from skerry.testing.fakeapi import FakeApi
from skerry.testing.runtime import FakeHost, FakeRuntime

AT_ONCE = Backoff(first_s=0.001, limit_s=0.01)
IMAGE = "host.skerry.invalid/busy"


def a_pod(name: str = "pod-1", *args: str, uid: str = "", **spec: Any) -> Object:
    container = {"name": "app", "image": IMAGE, "args": list(args or ("wait",))}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-{name}"},
        "spec": {"nodeName": "node-a", "terminationGracePeriodSeconds": 1, "containers": [container], **spec},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
    }


class World:
    """A node's Pods, and what tests want to know of them."""

    def __init__(self, state: Path, api: FakeApi, host: FakeHost, memory: Memory, runtime: FakeRuntime) -> None:
        self.api, self.host, self.memory, self.runtime = api, host, memory, runtime
        recorder, reporter = EventRecorder(api, "node-a"), StatusReporter(api)
        self.references = References(api, memory, lambda uid: self.pods.changed(uid))
        tools = PodTools(
            runtime=runtime,
            volumes=VolumeRoom(state / "pods", None),
            recorder=recorder,
            reporter=reporter,
            node=lambda: NodeFacts("node-a", "127.0.0.2", {"cpu": "2", "memory": "1Gi"}),
            lookup=self.references.lookup,
        )
        self.mirror = Mirror(api, memory, PODS, fields="spec.nodeName=node-a", backoff=AT_ONCE)
        self.pods = PodReconciler(self.mirror, self.references, tools)
        self.parts: list[Coroutine[Any, Any, None]] = [recorder.run(), reporter.run(), self.pods.run()]

    def pod(self, name: str = "pod-1") -> Object | None:
        return self.api.peek(PODS, "default", name)

    def container(self, name: str = "pod-1") -> Any:
        return dig(self.pod(name), "status", "containerStatuses", 0, default={})

    def condition(self, kind: str, name: str = "pod-1") -> Any:
        found: Any = dig(self.pod(name), "status", "conditions", default=[])
        return next((c["status"] for c in found if c["type"] == kind), None)

    def events(self) -> list[str]:
        return [e["reason"] for e in self.api.all(EVENTS)]

    def runs(self, pod: str = "pod-1", name: str = "app") -> bool:
        return self.host.living(ContainerKey(f"uid-{pod}", name)) is not None


async def until(true: Callable[[], object], what: str = "") -> None:
    try:
        async with asyncio.timeout(60):
            while not true():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"never happened: {what or true}")


@contextlib.asynccontextmanager
async def a_world(
    state: Path, api: FakeApi, host: FakeHost, *, hub: bool = True, enforcement: Enforcement | None = None
) -> AsyncIterator[World]:
    state.mkdir(exist_ok=True)
    memory = await Memory.open(state)
    runtime = FakeRuntime(host, enforcement=enforcement)
    await runtime.open()
    world = World(state, api, host, memory, runtime)
    tasks = [asyncio.create_task(p) for p in (*world.parts, *([world.mirror.run()] if hub else []))]
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        await world.references.close()
        await runtime.close()
        await memory.close()
        assert [f for f in found if not isinstance(f, asyncio.CancelledError)] == []


Open = Callable[..., contextlib.AbstractAsyncContextManager[World]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    return partial(a_world, tmp_path, FakeApi(), FakeHost())


async def test_a_pod_runs_and_its_status_reads_as_the_kubelet_writes_it(opened: Open) -> None:
    async with opened() as world:
        world.api.seed(PODS, a_pod())
        await until(lambda: world.condition("Ready") == "True")

        status = (world.pod() or {})["status"]
        assert status["phase"] == "Running"
        assert (status["podIP"], status["hostIP"]) == ("127.0.0.2", "127.0.0.2")
        assert world.container()["containerID"].startswith("process://")
        assert (world.container()["ready"], world.container()["started"], world.container()["restartCount"]) == (True, True, 0)
        assert "running" in world.container()["state"]
        assert world.condition("PodScheduled") == "True"
        await until(lambda: {"Pulled", "Created", "Started"} <= set(world.events()))


async def test_a_pod_that_is_ready_no_longer_says_why_it_was_not(opened: Open) -> None:
    async with opened() as world:
        pod = a_pod()
        told = {"status": "False", "reason": "ContainersNotReady", "message": "containers with unready status: [app]"}
        pod["status"]["conditions"] += [{"type": "Ready", **told}, {"type": "ContainersReady", **told}]
        world.api.seed(PODS, pod)
        await until(lambda: world.condition("Ready") == "True")

        assert not [c for c in (world.pod() or {})["status"]["conditions"] if c.get("message") or c.get("reason")]


async def test_a_deleted_pod_ends_gracefully_and_leaves_the_api(opened: Open, tmp_path: Path) -> None:
    async with opened() as world:
        world.api.seed(PODS, a_pod())
        await until(world.runs)

        await world.api.delete(PODS, "default", "pod-1")
        await until(lambda: world.pod() is None)

        assert not world.runs()
        await until(lambda: not world.host.containers)
        await until(lambda: "Killing" in world.events())


async def test_a_pod_that_vanished_from_the_api_is_ended(opened: Open) -> None:
    async with opened() as world:
        world.api.seed(PODS, a_pod())
        await until(world.runs)

        world.api.erase(PODS, "default", "pod-1")

        await until(lambda: not world.host.containers)


async def test_a_successor_of_the_same_name_starts_after_its_predecessor_ended(opened: Open) -> None:
    async with opened() as world:
        world.api.seed(PODS, a_pod("pod-1", "ignore-term"))
        await until(world.runs)

        world.api.seed(PODS, a_pod("pod-1", uid="uid-second"))
        await until(lambda: world.host.living(ContainerKey("uid-second", "app")))

        assert not world.runs()


async def test_a_crash_restarts_at_once_and_then_backs_off(opened: Open) -> None:
    async with opened() as world:
        world.api.seed(PODS, a_pod("pod-1", "exit", "3"))

        await until(lambda: dig(world.container(), "state", "waiting", "reason") == "CrashLoopBackOff")

        assert world.container()["restartCount"] == 1
        assert dig(world.container(), "lastState", "terminated", "exitCode") == 3
        assert world.host.starts == [("app", 0), ("app", 1)]
        assert (world.pod() or {})["status"]["phase"] == "Running"
        await until(lambda: "BackOff" in world.events())


async def test_a_clock_that_jumps_does_not_end_a_backoff(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the wall clock each attempt ran for a day; by the monotonic one it ended at once."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.8)
    async with opened() as world:
        days = itertools.count()
        world.host.now = lambda: next(days) * 86400.0
        world.api.seed(PODS, a_pod("pod-1", "exit", "3"))

        await until(lambda: "back-off 2s" in dig(world.container(), "state", "waiting", "message", default=""))


@pytest.mark.parametrize(("policy", "code", "phase"), [("Never", 0, "Succeeded"), ("Never", 4, "Failed"), ("OnFailure", 0, "Succeeded")])
async def test_a_pod_that_is_done_says_so_and_stays(opened: Open, policy: str, code: int, phase: str) -> None:
    async with opened() as world:
        world.api.seed(PODS, a_pod("pod-1", "exit", str(code), restartPolicy=policy))
        await until(lambda: (world.pod() or {})["status"]["phase"] == phase)

    async with opened() as world:
        await until(lambda: world.mirror.synced)
        await asyncio.sleep(0.05)
        assert world.host.starts == [("app", 0)]
        assert dig(world.container(), "state", "terminated", "exitCode") == code


async def test_init_containers_come_first_and_the_status_says_where_we_are(opened: Open) -> None:
    init = [{"name": "first", "image": IMAGE, "args": ["wait"]}]
    async with opened() as world:
        world.api.seed(PODS, a_pod(initContainers=init))
        await until(lambda: world.runs(name="first"))
        await until(lambda: dig(world.container(), "state", "waiting", "reason") == "PodInitializing")
        assert world.condition("Initialized") == "False"

        world.host.exit(ContainerKey("uid-pod-1", "first"), 0)

        await until(lambda: world.condition("Ready") == "True")
        assert world.condition("Initialized") == "True"


async def test_with_no_hub_everything_starts_from_memory(opened: Open) -> None:
    async with opened() as world:
        config = {"metadata": {"name": "settings", "namespace": "default"}, "data": {"COLOUR": "blue"}}
        world.api.seed(CONFIGMAPS, config)
        pod = a_pod()
        pod["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "settings"}}]
        world.api.seed(PODS, pod)
        await until(world.runs)
        world.host.containers.clear()  # the machine was restarted

    async with opened(hub=False) as world:
        world.api.fail_next(ConnectionError("no hub"))
        await until(world.runs)

        living = world.host.living(ContainerKey("uid-pod-1", "app"))
        assert living is not None
        assert living.spec.env["COLOUR"] == "blue"


async def test_the_next_life_adopts_and_starts_nothing_twice(opened: Open) -> None:
    async with opened() as world:
        world.api.seed(PODS, a_pod("pod-1"), a_pod("pod-2"))
        await until(lambda: world.condition("Ready", "pod-1") == "True" and world.condition("Ready", "pod-2") == "True")

    async with opened() as world:
        await until(lambda: world.mirror.synced)
        await asyncio.sleep(0.05)
        assert world.host.starts == [("app", 0), ("app", 0)]
        assert world.runs("pod-1")
        assert world.runs("pod-2")


@pytest.mark.parametrize("origin", [Origin("another-cluster", "fake-epoch"), Origin("fake-cluster", "restored"), Origin()])
async def test_an_empty_list_of_somebody_else_ends_nothing(tmp_path: Path, origin: Origin) -> None:
    host = FakeHost()
    async with a_world(tmp_path, FakeApi(), host) as world:
        world.api.seed(PODS, a_pod())
        await until(world.runs)

    async with a_world(tmp_path, FakeApi(origin=origin), host) as world:
        await until(lambda: world.mirror.doubt)
        await asyncio.sleep(0.05)
        assert world.runs()


async def test_what_runs_and_is_in_no_memory_ends_only_once_the_cluster_says_so(tmp_path: Path) -> None:
    host, api = FakeHost(), FakeApi()
    async with a_world(tmp_path / "a", api, host) as world:
        world.api.seed(PODS, a_pod())
        await until(world.runs)

    async with a_world(tmp_path / "b", FakeApi(), host, hub=False) as world:  # its memory was lost
        await asyncio.sleep(0.05)
        assert world.runs()
    async with a_world(tmp_path / "b", FakeApi(), host) as world:
        await until(lambda: not world.host.containers)


async def test_a_missing_configmap_is_waited_for(opened: Open) -> None:
    pod = a_pod()
    pod["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "late"}}]
    async with opened() as world:
        world.api.seed(PODS, pod)
        await until(lambda: dig(world.container(), "state", "waiting", "reason") == "CreateContainerConfigError")
        await until(lambda: 'configmap "late" not found' in world.container()["state"]["waiting"]["message"])

        world.api.seed(CONFIGMAPS, {"metadata": {"name": "late", "namespace": "default"}, "data": {}})

        await until(world.runs)


async def test_a_changed_configmap_reaches_the_mounted_volume(opened: Open, tmp_path: Path) -> None:
    pod = a_pod(volumes=[{"name": "config", "configMap": {"name": "settings"}}])
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "config", "mountPath": "/config"}]
    async with opened() as world:
        world.api.seed(CONFIGMAPS, {"metadata": {"name": "settings", "namespace": "default"}, "data": {"a": "1"}})
        world.api.seed(PODS, pod)
        await until(world.runs)
        file = tmp_path / "pods" / "uid-pod-1" / "volumes" / "config" / "a"
        assert file.read_text() == "1"

        world.api.seed(CONFIGMAPS, {"metadata": {"name": "settings", "namespace": "default"}, "data": {"a": "2", "b": "new"}})

        await until(lambda: file.read_text() == "2")
        assert file.with_name("b").read_text() == "new"


async def test_an_image_that_is_not_allowed_says_so(opened: Open) -> None:
    pod = a_pod()
    pod["spec"]["containers"][0]["image"] = "host.skerry.invalid/rm"
    async with opened() as world:
        world.api.seed(PODS, pod)
        await until(lambda: dig(world.container(), "state", "waiting", "reason") == "ImageNotAllowed")

        assert "--allow-program rm=" in world.container()["state"]["waiting"]["message"]
        await until(lambda: "Failed" in world.events())
        assert (world.pod() or {})["status"]["phase"] == "Pending"


async def test_limits_that_nobody_keeps_are_refused(opened: Open) -> None:
    pod = a_pod()
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    nothing = Enforcement(memory=False, cpu=False, pids=False, message="no control groups here")
    async with opened(enforcement=nothing) as world:
        world.api.seed(PODS, pod)

        await until(lambda: "no control groups here" in str(dig(world.container(), "state", "waiting", "message")))

        assert not world.runs()


async def test_a_probe_decides_on_readiness_and_on_restarts(opened: Open) -> None:
    pod = a_pod()
    pod["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["/busy", "exit", "1"]}, "periodSeconds": 1}
    pod["spec"]["containers"][0]["livenessProbe"] = {"exec": {"command": ["/busy", "exit", "1"]}, "periodSeconds": 1, "failureThreshold": 1}
    async with opened() as world:
        world.api.seed(PODS, pod)

        await until(lambda: ("app", 1) in world.host.starts)

        assert world.condition("Ready") == "False"
        await until(lambda: "Unhealthy" in world.events())


async def test_repeated_events_are_counted_and_not_repeated(opened: Open) -> None:
    async with opened() as world:
        pod = a_pod()
        recorder = EventRecorder(world.api, "node-a")
        for _ in range(100):
            recorder.record(pod, "BackOff", "again")
        task = asyncio.create_task(recorder.run())
        await until(lambda: world.api.all(EVENTS))
        task.cancel()
        await asyncio.wait([task])

        assert [(e["reason"], e["count"]) for e in world.api.all(EVENTS)] == [("BackOff", 100)]
