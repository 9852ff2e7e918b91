"""Carries out a look at a Job, in its order: Pods, status, Events, finalizers. It decides nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from skerry.controllers.informers import BY_CONTROLLER, BY_NAMESPACE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads.jobs import plan as rules
from skerry.controllers.workloads.jobs.facts import INDEX_FAILURES, TRACKING, Facts, index_of, is_failed, is_tracked, node_of, number_at
from skerry.controllers.workloads.jobs.job_pod import pod_for
from skerry.controllers.workloads.jobs.pacing import Failures, Stopwatch
from skerry.controllers.workloads.pod_control import PodControl
from skerry.controllers.workloads.pods import selection
from skerry.controllers.workloads.replicaset_plan import adoption_patch, release_patch
from skerry.controllers.workloads.silent_nodes import silent_nodes
from skerry.kube import Api, Change, Controller
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, controller_of, dig, metadata, name_of, uid_of
from skerry.model.resources import JOBS, NODES, PODS


class Jobs:
    """The Job controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._jobs, self._pods, self._nodes = (informers.of(r) for r in (JOBS, PODS, NODES))
        self._events = Recorder(api, "job-controller", now)
        self._watch, self._failures = Stopwatch(), Failures()
        self._control = PodControl(api, self._pods, self._events)
        self.controller = Controller[Name]("job", self.reconcile)
        self.orphans = Controller[Name]("job-orphans", self.let_go)
        self._jobs.subscribe(self._on_job)
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            group.create_task(self.orphans.run())

    def _on_job(self, change: Change) -> None:
        self.controller.queue.add(change.name)
        if change.new is None:
            uid = uid_of(change.object)
            self._watch.forget(uid)
            self._failures.forget(uid)
            for pod in self._pods.indexed(BY_CONTROLLER, uid):
                self.orphans.queue.add(name_of(pod))

    def _on_pod(self, change: Change) -> None:
        self._control.seen(change)
        for obj in (change.old, change.new):
            owner = controller_of(obj) if obj is not None else None
            if owner is not None and owner.get("kind") == "Job":
                self.controller.queue.add(Name(change.name.namespace, owner["name"]))
        if change.new is not None and is_tracked(change.new) and self._job_of(change.new) is None:
            self.orphans.queue.add(change.name)
        if change.new is not None and controller_of(change.new) is None:
            self._on_orphan(change.new)

    def _on_orphan(self, pod: Object) -> None:
        for job in self._jobs.indexed(BY_NAMESPACE, name_of(pod).namespace):
            if selection(job)(pod):
                self.controller.queue.add(name_of(job))

    def _on_node(self, change: Change) -> None:
        before, after = (silent_nodes([o] if o is not None else []) for o in (change.old, change.new))
        if before != after:
            for pod in self._pods.objects():
                owner = controller_of(pod)
                if node_of(pod) == change.name.name and owner is not None and owner.get("kind") == "Job":
                    self.controller.queue.add(Name(name_of(pod).namespace, owner["name"]))

    def _job_of(self, pod: Object) -> Object | None:
        owner = controller_of(pod)
        if owner is None or owner.get("kind") != "Job":
            return None
        job = self._jobs.get(name_of(pod).namespace, owner["name"])
        return job if job is not None and uid_of(job) == owner.get("uid") else None

    async def reconcile(self, name: Name) -> float | None:
        job = self._jobs.get(*name)
        if job is None or not rules.is_ours(job):
            return None
        await self._own(job)
        look, refused = self._look(job), None
        if look.steps:
            try:
                await self._carry_out(job, look.steps)
            except ApiError as error:
                refused = error  # a quota, say: the Job has begun all the same, and its deadline runs
            job = self._jobs.get(*name) or job
            look = self._look(job)
        await self._write_status(job, look)
        for pod in look.release:
            await self._release(pod)
        if refused is not None:
            raise refused
        return look.again_s

    def _look(self, job: Object) -> rules.Look:
        pods = self._control.known(self._pods.indexed(BY_CONTROLLER, uid_of(job)), self._now)
        return rules.look(job, pods, self._facts(job, pods))

    def _facts(self, job: Object, pods: list[Object]) -> Facts:
        uid, at = uid_of(job), asyncio.get_running_loop().time()
        nodes = (self._nodes.get("", name) for name in {node_of(p) for p in pods})
        silent = silent_nodes(n for n in nodes if n is not None)
        failed = [p for p in pods if is_failed(job, p, silent)]
        good = {uid_of(p): True for p in pods if dig(p, "status", "phase") == "Succeeded"}
        self._failures.observe(uid, {**good, **{uid_of(p): False for p in failed}}, monotonic_s=at)
        return Facts(
            now=self._now(),
            silent=silent,
            running_s=self._watch.elapsed_s(uid, dig(job, "status", "startTime"), now=self._now(), monotonic_s=at),
            retry_s=self._failures.left_s(uid, monotonic_s=at),
            index_retry_s=self._index_waits(uid, failed, at),
        )

    def _index_waits(self, job: str, failed: list[Object], at: float) -> dict[int, float]:
        found: dict[int, float] = {}
        for pod in failed:
            index = index_of(pod)
            if index is not None and is_tracked(pod):
                wait_s = self._failures.left_for(job, uid_of(pod), number_at(pod, INDEX_FAILURES) + 1, monotonic_s=at)
                found[index] = max(found.get(index, 0.0), wait_s)
        return found

    async def _own(self, job: Object) -> None:
        """Adopt the Pods that the Job selects and nobody controls; let go of those that it no longer selects."""
        if metadata(job).get("deletionTimestamp"):
            return
        is_selected = selection(job)
        for pod in self._pods.indexed(BY_CONTROLLER, uid_of(job)):
            if not is_selected(pod):
                patch = release_patch(job, pod)
                patch["metadata"]["finalizers"] = _without_tracking(pod)
                self._pods.learn(await self._api.patch(PODS, *name_of(pod), patch))
        for pod in self._pods.indexed(BY_CONTROLLER, ""):
            if name_of(pod).namespace == name_of(job).namespace and is_selected(pod) and not metadata(pod).get("deletionTimestamp"):
                patch = adoption_patch(job, pod)
                patch["metadata"]["finalizers"] = [*(_without_tracking(pod) or ()), TRACKING]
                self._pods.learn(await self._api.patch(PODS, *name_of(pod), patch))

    async def _carry_out(self, job: Object, steps: Any) -> None:
        for step in steps:
            match step:
                case rules.Create():
                    await self._control.create(job, pod_for(job, step))
                case rules.Delete(pod, release):
                    if release:
                        await self._release(self._pods.get(*name_of(pod)) or pod)
                    await self._control.delete(job, pod)

    async def _release(self, pod: Object) -> None:
        if not is_tracked(pod):
            return
        # The revision: a finalizer that somebody else adds meanwhile is not lost.
        revision = metadata(pod)["resourceVersion"]
        patch = {"metadata": {"uid": uid_of(pod), "resourceVersion": revision, "finalizers": _without_tracking(pod)}}
        try:
            changed = await self._api.patch(PODS, *name_of(pod), patch)
        except ApiError as error:
            if error.code != 404:
                raise
            return
        self._pods.learn(changed)

    async def _write_status(self, job: Object, look: rules.Look) -> None:
        old = job.get("status") or {}
        if look.status == old:
            return
        # The revision makes a count that was made on an old status fail instead of being made twice.
        meta = {"uid": uid_of(job), "resourceVersion": metadata(job)["resourceVersion"]}
        self._jobs.learn(
            await self._api.patch(JOBS, *name_of(job), {"metadata": meta, "status": _replacing(old, look.status)}, subresource="status")
        )
        for note in look.notes:
            say = self._events.normal if note.kind == "Normal" else self._events.warning
            await say(job, note.reason, note.message)

    async def let_go(self, name: Name) -> None:
        """Take the finalizer from a Pod whose Job is no more: nobody will count it."""
        pod = self._pods.get(*name)
        if pod is not None and is_tracked(pod) and self._job_of(pod) is None:
            await self._release(pod)


def _without_tracking(pod: Object) -> list[str] | None:
    return [f for f in metadata(pod).get("finalizers") or () if f != TRACKING] or None


def _replacing(old: Object, new: Object) -> Object:
    """Return the merge patch from *old* to *new*: fields that are gone become null."""
    gone = {k: None for k in old if k not in new}
    pending = "uncountedTerminatedPods"
    before = dict.fromkeys(old.get(pending) or {})
    return {**gone, **new, **({pending: {**before, **new[pending]}} if pending in new else {})}
