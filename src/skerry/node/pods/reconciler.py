"""All Pods of the node: one worker for each, told by the mirror of what the hub wants.

What stays true: a Pod that the node was never told to end goes on; what runs and is in nobody's memory ends only once a
list of the joined cluster, taken in this life, does not have it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from skerry.model.objects import Name, Object, uid_of
from skerry.node.memory import Mirror
from skerry.node.pods.env import referenced
from skerry.node.pods.references import References
from skerry.node.pods.tools import PodTools

if TYPE_CHECKING:
    from skerry.node.pods.worker import PodWorker

log = logging.getLogger(__name__)

ORPHAN_GRACE_S = 30.0


class PodReconciler:
    """Keeps a worker for each Pod in *mirror*."""

    def __init__(self, mirror: Mirror, references: References, tools: PodTools, on_count: Callable[[int], None] | None = None) -> None:
        self._mirror = mirror
        self._references = references
        self._tools = tools
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._current: dict[Name, str] = {}
        self._on_count = on_count
        self._failed: asyncio.Future[None] | None = None

    def pod(self, namespace: str, name: str) -> Object | None:
        """Return the Pod of that name, as the hub last said it."""
        worker = self._workers.get(self._current.get(Name(namespace, name), ""))
        return worker.pod if worker else None

    def changed(self, pod_uid: str) -> None:
        """Something that the Pod refers to changed."""
        worker = self._workers.get(pod_uid)
        if worker is not None:
            worker.configuration_changed()

    async def run(self) -> None:
        """Start from memory at once; follow until cancelled. Containers live on."""
        self._failed = asyncio.get_running_loop().create_future()
        self._tools.runtime.on_change(self._on_exit)
        self._mirror.subscribe(self._on_pod)
        for name in list(self._mirror.items()):
            self._on_pod(name)
        orphans = asyncio.create_task(self._end_orphans())
        try:
            await self._failed
        finally:
            tasks = [orphans, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _on_exit(self, pod_uid: str) -> None:
        worker = self._workers.get(pod_uid)
        if worker is not None:
            worker.wake()

    def _on_pod(self, name: Name) -> None:
        pod = self._mirror.items().get(name)
        before = self._current.get(name, "")
        if before and (pod is None or uid_of(pod) != before):
            self._workers[before].tell(None)
        if pod is None:
            return
        uid = uid_of(pod)
        self._references.need(uid, name.namespace, referenced(pod))
        if uid in self._workers:
            self._workers[uid].tell(pod)
            return
        self._current[name] = uid
        from skerry.node.pods.worker import PodWorker  # what runs a Pod is loaded with the first

        worker = self._workers[uid] = PodWorker(pod, self._tools)
        self._tasks[uid] = asyncio.create_task(self._work(worker, name, after=self._tasks.get(before)))
        self._counted()

    async def _work(self, worker: PodWorker, name: Name, *, after: asyncio.Task[None] | None) -> None:
        """Run one worker to its end; its predecessor of the same name ends first."""
        if after is not None:
            await asyncio.wait([after])
        attempt = 0
        while True:
            try:
                await worker.run()
                break
            except Exception:
                log.exception("pod worker failed", extra={"pod": str(name), "uid": worker.uid})
                attempt += 1
                await asyncio.sleep(min(60.0, 2.0**attempt))
        self._references.need(worker.uid, name.namespace, frozenset())
        del self._workers[worker.uid], self._tasks[worker.uid]
        if self._current.get(name) == worker.uid:
            del self._current[name]
        self._counted()

    def _counted(self) -> None:
        if self._on_count is not None:
            self._on_count(len(self._workers))

    async def _end_orphans(self) -> None:
        """End what runs for Pods that the cluster does not have: it was removed while this node was away."""
        await self._mirror.wait_synced()
        wanted = {uid_of(p) for p in self._mirror.items().values()}
        runtime = self._tools.runtime
        known = {c.key.pod_uid for c in runtime.containers()} | set(self._tools.volumes.leftovers())
        for uid in sorted(known - wanted - set(self._workers)):
            log.info("ending a pod that the cluster does not have", extra={"uid": uid})
            keys = {c.key for c in runtime.containers() if c.key.pod_uid == uid}
            await asyncio.gather(*(runtime.stop(k, grace_s=ORPHAN_GRACE_S) for k in keys))
            await runtime.remove_pod(uid)
            self._tools.volumes.remove(uid)
        await self._references.forget_unused()
        if self._tools.tokens is not None:
            await self._tools.tokens.forget_others(wanted | set(self._workers))
