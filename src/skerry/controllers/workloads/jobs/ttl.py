"""Deletes finished Jobs when their `ttlSecondsAfterFinished` is over, with their Pods.

Time is counted as `pacing` says: a clock that jumps deletes nothing early.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from skerry.controllers.informers import Informers
from skerry.controllers.workloads.jobs.facts import finished_condition
from skerry.controllers.workloads.jobs.pacing import Stopwatch
from skerry.kube import Api, Change, Controller
from skerry.model.objects import Name, dig, metadata, name_of, uid_of
from skerry.model.resources import JOBS

log = logging.getLogger(__name__)


class JobExpiry:
    """The TTL-after-finished controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._jobs = informers.of(JOBS)
        self._watch = Stopwatch()
        self.controller = Controller[Name]("job-expiry", self.reconcile)
        self._jobs.subscribe(self._on_job)

    def _on_job(self, change: Change) -> None:
        if change.new is None:
            self._watch.forget(uid_of(change.object))
        elif dig(change.new, "spec", "ttlSecondsAfterFinished") is not None and finished_condition(change.new):
            self.controller.queue.add(change.name)

    async def reconcile(self, name: Name) -> float | None:
        job = self._jobs.get(*name)
        ended = finished_condition(job) if job is not None else None
        if job is None or ended is None or metadata(job).get("deletionTimestamp"):
            return None
        ttl_s = dig(job, "spec", "ttlSecondsAfterFinished")
        if ttl_s is None:
            return None
        at = asyncio.get_running_loop().time()
        left_s = self._watch.left_s(uid_of(job), ended.get("lastTransitionTime"), float(ttl_s), now=self._now(), monotonic_s=at)
        if left_s > 0:
            return left_s
        log.info("finished job removed", extra={"job": str(name), "ttl_s": ttl_s})
        await self._api.delete(JOBS, *name_of(job), uid=uid_of(job), propagation="Foreground")
        return None
