"""One Pod's life on this node: carries out the plan, and decides nothing itself.

It ends when the Pod is gone from what the node was told and nothing of it is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skerry.model.objects import Object, annotations_of, dig, metadata, name_of, uid_of
from skerry.model.volumes import LOCAL_PATHS
from skerry.node.pods.backoff import Restarts, after_exit, after_failed_start
from skerry.node.pods.ending import end_container
from skerry.node.pods.env import ConfigError, NotKnownError, command_line, environment
from skerry.node.pods.etc import etc_files, hostname_of
from skerry.node.pods.plan import ContainerSeen, Finish, Remove, Start, Step, Stop, plan
from skerry.node.pods.probes import Kind
from skerry.node.pods.refusals import limits_of, refusals
from skerry.node.pods.shape import container_of, grace_of, is_ending, is_terminal, shape_of
from skerry.node.pods.status import PodSeen, Waiting, pod_status
from skerry.node.pods.tokens import no_tokens
from skerry.node.pods.tools import PodTools
from skerry.node.pods.volumes import mounts_of
from skerry.node.pods.watching import ProbeWatch
from skerry.node.runtimes.contract import (
    Container,
    ContainerKey,
    ContainerSpec,
    ImageError,
    RefusedError,
    RuntimeFailedError,
)

log = logging.getLogger(__name__)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

REFUSED_RETRY_S = 300.0
"""What is refused stays refused until the node or the Pod changes; looking again now and then costs nothing."""
CONFIG_RETRY_S = 10.0


class PodWorker:
    """`tell` it what the API says, `wake` it when something happened; `run` until the Pod is over."""

    def __init__(self, pod: Object, tools: PodTools) -> None:
        self.uid = uid_of(pod)
        self._pod = pod
        self._tools = tools
        self._wake = asyncio.Event()
        self._removed = False
        self._finished = False
        self._since = tools.now()
        self._restarts: dict[str, Restarts] = {}
        self._accounted: dict[str, int] = {}
        self._running_since: dict[str, tuple[int, float]] = {}
        """Container -> its attempt, and the monotonic second at which this life of the node first saw it run."""
        self._waiting: dict[str, Waiting] = {}
        self._stops: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._first_look = True
        self._owner = (-1, -1)
        self._probes = ProbeWatch(
            tools.runtime, self.uid, address=lambda: tools.node().address, changed=self._wake.set, failed=self._on_probe_failure
        )

    @property
    def pod(self) -> Object:
        return self._pod

    def tell(self, pod: Object | None) -> None:
        """The API says so; None means that it was removed."""
        if pod is None:
            self._removed = True
        else:
            if annotations_of(pod).get(LOCAL_PATHS) != annotations_of(self._pod).get(LOCAL_PATHS):
                self._try_again("FailedMount")
            self._pod = pod
            self._tools.reporter.believe(pod)
        self._wake.set()

    def _try_again(self, *reasons: str) -> None:
        """Start at once what waits for one of these reasons."""
        for name, waiting in self._waiting.items():
            if waiting.reason in reasons:
                self._restarts.pop(name, None)

    def wake(self) -> None:
        self._wake.set()

    def configuration_changed(self) -> None:
        """Something that the Pod refers to changed: refresh its volumes, and try again what waited for it."""
        self._try_again("CreateContainerConfigError", "ContainerCreating")
        if any(c.state == "running" for c in self._containers()):
            try:
                self._prepare_volumes()
            except RuntimeFailedError as error:
                self._event("FailedMount", error.message, warning=True)
        self._wake.set()

    async def run(self) -> None:
        try:
            self._owner = await self._tools.runtime.pod_owner(self.uid)
            while True:
                self._wake.clear()
                done, wake_at = await self._look()
                if done:
                    break
                await self._pause(wake_at)
        finally:
            await self._probes.close()
            await self._end_stops()
        await self._clear_away()

    async def _look(self) -> tuple[bool, float | None]:
        """Plan and act once; return whether all is over, and when to look again."""
        loop = asyncio.get_running_loop()
        shape, ending = shape_of(self._pod), self._removed or is_ending(self._pod)
        seen = self._seen(ending)
        self._first_look = False
        found = plan(
            shape,
            seen.containers,
            ending=ending,
            over=is_terminal(self._pod),
            finished=self._finished,
            grace_s=self._grace(),
            now=loop.time(),
        )
        for step in found.steps:
            await self._do(step, seen)
        self._shorten_stops()
        if not self._removed and not self._finished:
            self._tools.reporter.report(self._pod, self._status(self._seen(ending)))
        living = any(c.state == "running" for c in self._containers())
        if found.steps:
            return False, loop.time()
        return self._removed and self._finished and not living, found.wake_at

    async def _pause(self, wake_at: float | None) -> None:
        timeout = None if wake_at is None else max(0.0, wake_at - asyncio.get_running_loop().time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._wake.wait()

    def _grace(self) -> float:
        return grace_of(self._pod)

    # ------------------------------------------------------------ looking

    def _containers(self) -> list[Container]:
        return [c for c in self._tools.runtime.containers() if c.key.pod_uid == self.uid]

    def _seen(self, ending: bool) -> PodSeen:
        by_name: dict[str, list[Container]] = {}
        for c in self._containers():
            by_name.setdefault(c.key.name, []).append(c)
        containers = {n: self._one(n, tuple(by_name.get(n, ()))) for n in shape_of(self._pod).names()}
        return PodSeen(containers, dict(self._waiting), ending)

    def _one(self, name: str, attempts: tuple[Container, ...]) -> ContainerSeen:
        latest = attempts[-1] if attempts else None
        if latest is None or latest.state == "exited":
            self._probes.forget(name)
            if latest is not None:
                self._account(name, latest)
            return ContainerSeen(attempts, retry_at=self._restarts.get(name, Restarts()).until)
        if self._running_since.get(name, (-1, 0.0))[0] != latest.attempt:
            self._running_since[name] = (latest.attempt, asyncio.get_running_loop().time())
        found = self._probes.watch(
            container_of(self._pod, name), latest.attempt, was_ready=self._first_look and self._was_ready(name, latest)
        )
        return ContainerSeen(attempts, started=found.started, ready=found.ready, unhealthy=found.unhealthy, stopping=name in self._stops)

    def _was_ready(self, name: str, c: Container) -> bool:
        statuses = dig(self._pod, "status", "containerStatuses", default=[])
        return any(s.get("name") == name and s.get("ready") and s.get("restartCount") == c.attempt for s in statuses)

    def _account(self, name: str, c: Container) -> None:
        """Reckon with an exit once: when may it be started again?"""
        if self._accounted.get(name) == c.attempt:
            return
        self._accounted[name] = c.attempt
        shape = shape_of(self._pod)
        init = any(i.name == name and not i.sidecar for i in shape.init)
        again = c.exit_code != 0 if init or shape.policy == "OnFailure" else shape.policy == "Always"
        if not again or self._removed or is_ending(self._pod) or self._first_look or (init and shape.policy == "Never"):
            return
        clock = asyncio.get_running_loop().time()
        attempt, since = self._running_since.get(name, (-1, clock))
        ran_s = clock - since if attempt == c.attempt else 0.0  # the times of its start and end are of a clock that may jump
        restarts = after_exit(self._restarts.get(name, Restarts()), ran_s=ran_s, now=clock, first=c.attempt == 0)
        self._restarts[name] = restarts
        if restarts.until > clock:
            where = f"{metadata(self._pod).get('name')}_{metadata(self._pod).get('namespace')}({self.uid})"
            waits = f"back-off {restarts.delay_s:.0f}s restarting failed container={name} pod={where}"
            self._waiting[name] = Waiting("CrashLoopBackOff", waits)
            self._event("BackOff", f"Back-off restarting failed container {name} in pod {where}", warning=True, container=name)

    def _status(self, seen: PodSeen) -> dict[str, Any]:
        tools = self._tools
        return pod_status(self._pod, seen, address=tools.node().address, runtime=tools.runtime.name, since=self._since, now=tools.now())

    # ------------------------------------------------------------ acting

    async def _do(self, step: Step, seen: PodSeen) -> None:
        match step:
            case Start(name, attempt):
                await self._start(name, attempt)
            case Stop(name, grace_s, why):
                self._stop(name, grace_s, why)
            case Remove(name, attempt):
                await self._tools.runtime.remove(ContainerKey(self.uid, name), attempt)
            case Finish():
                self._finished = True
                if not self._removed:
                    self._tools.reporter.finish(self._pod, self._status(self._seen(ending=True)))

    async def _start(self, name: str, attempt: int) -> None:
        clock = asyncio.get_running_loop().time()
        try:
            await self._make(name, attempt)
        except RefusedError as error:
            self._not_started(name, error, Restarts(REFUSED_RETRY_S, clock + REFUSED_RETRY_S))
        except RuntimeFailedError as error:
            before = self._restarts.get(name, Restarts())
            waits = after_failed_start(before, now=clock)
            if isinstance(error, ConfigError):
                waits = Restarts(before.delay_s, clock + CONFIG_RETRY_S)
            self._not_started(name, error, waits)
        else:
            self._waiting.pop(name, None)
            self._event("Started", f"Started container {name}", container=name)

    def _not_started(self, name: str, error: RuntimeFailedError, waits: Restarts) -> None:
        self._restarts[name] = waits
        self._waiting[name] = Waiting(error.reason, error.message)
        if isinstance(error, NotKnownError):
            self._waiting[name] = Waiting("ContainerCreating", error.message)
            return
        if isinstance(error, ImageError):
            image = container_of(self._pod, name).get("image")
            self._event("Failed", f'Failed to pull image "{image}": {error.message}', warning=True, container=name)
        self._event("Failed", f"Error: {error.reason}: {error.message}", warning=True, container=name)

    async def _make(self, name: str, attempt: int) -> None:
        tools, pod = self._tools, self._pod
        refused = refusals(pod, enforcement=tools.runtime.enforcement, allow_unenforced=tools.allow_unenforced)
        if refused:
            raise RefusedError("NotSupported", "; ".join(refused))
        container = container_of(pod, name)
        image = await tools.runtime.image(container.get("image") or "", pull=container.get("imagePullPolicy") or "IfNotPresent")
        node = tools.node()
        said = environment(container, pod, node, tools.lookup(name_of(pod).namespace))
        env = {**_defaults(pod, image.env), **node.cluster_env(), **said}
        volumes = self._prepare_volumes()
        context = {**(dig(pod, "spec", "securityContext", default={})), **(container.get("securityContext") or {})}
        _check_user(context, name)
        path = container.get("terminationMessagePath")
        spec = ContainerSpec(
            key=ContainerKey(self.uid, name),
            attempt=attempt,
            namespace=name_of(pod).namespace,
            pod=name_of(pod).name,
            image=image,
            argv=command_line(container, image, env),
            env=env,
            workdir=container.get("workingDir") or image.workdir,
            hostname=hostname_of(pod),
            mounts=mounts_of(container, pod, volumes, env),
            limits=limits_of(container),
            run_as_user=context.get("runAsUser"),
            run_as_group=context.get("runAsGroup"),
            termination_path="/dev/termination-log" if path is None else path,
            message_from_log=container.get("terminationMessagePolicy") == "FallbackToLogsOnError",
            files=etc_files(pod),
        )
        if self._removed or is_ending(self._pod):
            return
        await tools.runtime.start(spec)
        self._event("Pulled", f'Container image "{image.reference}" already present on machine', container=name)
        self._event("Created", f"Created container {name}", container=name)

    def _prepare_volumes(self) -> dict[str, Path]:
        pod, tools = self._pod, self._tools
        token = tools.tokens.of if tools.tokens is not None else no_tokens
        return tools.volumes.prepare(pod, self._owner, tools.node(), tools.lookup(name_of(pod).namespace), token)

    # ------------------------------------------------------------ ending

    def _stop(self, name: str, grace_s: float, why: str) -> None:
        message = f"Container {name} failed: {why}, will be restarted" if why else f"Stopping container {name}"
        self._event("Killing", message, container=name)
        self._stops[name] = (grace_s, asyncio.create_task(self._end(name, grace_s)))

    async def _end(self, name: str, grace_s: float) -> None:
        key = ContainerKey(self.uid, name)
        try:
            wrong = await end_container(
                container_of(self._pod, name), runtime=self._tools.runtime, key=key, address=self._tools.node().address, grace_s=grace_s
            )
            if wrong:
                self._event("FailedPreStopHook", f"PreStopHook failed: {wrong}", warning=True, container=name)
        finally:
            self._stops.pop(name, None)
            self._wake.set()

    def _shorten_stops(self) -> None:
        """`kubectl delete --grace-period=1` after a patient delete: the shorter grace holds."""
        if not (self._removed or is_ending(self._pod)):
            return
        grace = self._grace()
        for name, (grace_s, task) in list(self._stops.items()):
            if grace < grace_s:
                task.cancel()
                self._stops[name] = (grace, asyncio.create_task(self._end(name, grace)))

    async def _end_stops(self) -> None:
        tasks = [t for _, t in self._stops.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _clear_away(self) -> None:
        await self._tools.runtime.remove_pod(self.uid)
        self._tools.volumes.remove(self.uid)
        self._tools.reporter.forget(self.uid)
        if self._tools.tokens is not None:
            await self._tools.tokens.forget(self.uid)

    # ------------------------------------------------------------ telling

    def _on_probe_failure(self, name: str, kind: Kind, message: str) -> None:
        self._event("Unhealthy", f"{kind.capitalize()} probe failed: {message}", warning=True, container=name)

    def _event(self, reason: str, message: str, *, warning: bool = False, container: str = "") -> None:
        init = any(c.get("name") == container for c in dig(self._pod, "spec", "initContainers", default=()))
        field = f"spec.{'initContainers' if init else 'containers'}{{{container}}}" if container else ""
        self._tools.recorder.record(self._pod, reason, message, warning=warning, field=field)


def _defaults(pod: Object, image_env: Mapping[str, str]) -> dict[str, str]:
    """Return what every container finds in its environment, as containers usually do."""
    return {"PATH": DEFAULT_PATH, "HOSTNAME": name_of(pod).name, "HOME": "/tmp", **image_env}  # noqa: S108  # the sandbox's own


def _check_user(context: Mapping[str, Any], name: str) -> None:
    if context.get("runAsNonRoot") and context.get("runAsUser") == 0:
        raise RefusedError("CreateContainerConfigError", f"container {name!r}: runAsNonRoot is set and runAsUser is 0")
