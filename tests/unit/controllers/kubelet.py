"""A kubelet for tests that runs to an end what is told to end; it works on any Api."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from skerry.controllers.workloads.pods import is_finished
from skerry.kube import Api
from skerry.model.conditions import with_condition
from skerry.model.errors import ApiError
from skerry.model.objects import Object, dig, metadata, name_of, uid_of
from skerry.model.resources import PODS

Verdict = Callable[[Object], int | None]


def runs(pod: Object) -> int | None:
    """Never end."""
    return None


def by_image_tag(pod: Object) -> int | None:
    """Return the exit code that the image's tag names (`host/work:3`); any other tag runs for ever."""
    tag = pod["spec"]["containers"][0]["image"].rpartition(":")[2]
    return int(tag) if tag.isdigit() else None


class Kubelet:
    """Starts the Pods that a node has, and ends those for which *verdict* gives an exit code; lets go of those that are deleted."""

    def __init__(self, api: Api, now: Callable[[], datetime], verdict: Verdict = runs, *, period_s: float = 0.5) -> None:
        self._api, self._now, self.verdict, self.period_s = api, now, verdict, period_s
        self.silent: set[str] = set()
        self.started: list[str] = []
        """UIDs of the Pods that ran, in order."""

    async def run(self) -> None:
        while True:
            for pod in (await self._api.list(PODS)).items:
                try:
                    await self._care_for(pod)
                except ApiError as error:
                    if error.code not in (404, 409):
                        raise
            await asyncio.sleep(self.period_s)

    async def _care_for(self, pod: Object) -> None:
        node = dig(pod, "spec", "nodeName")
        if not node or node in self.silent:
            return
        if metadata(pod).get("deletionTimestamp"):
            await self._end(pod)
        elif dig(pod, "status", "phase", default="Pending") == "Pending":
            self.started.append(uid_of(pod))
            await self._say(pod, "Running", ready=True)
        elif not is_finished(pod):
            code = self.verdict(pod)
            if code is not None:
                await self._say(pod, "Failed" if code else "Succeeded", ready=False, code=code)

    async def _end(self, pod: Object) -> None:
        if not is_finished(pod):
            await self._say(pod, "Failed", ready=False, code=143)
        if metadata(pod).get("deletionGracePeriodSeconds"):
            await self._api.delete(PODS, *name_of(pod), uid=uid_of(pod), grace_s=0)

    async def _say(self, pod: Object, phase: str, *, ready: bool, code: int | None = None) -> None:
        conditions = with_condition(dig(pod, "status", "conditions"), "Ready", ready, reason="", now=self._now())
        status: dict[str, Any] = {"phase": phase, "conditions": conditions}
        if code is not None:
            name = pod["spec"]["containers"][0]["name"]
            image = pod["spec"]["containers"][0]["image"]
            ended = {"name": name, "image": image, "imageID": "", "ready": False, "restartCount": 0}
            status["containerStatuses"] = [{**ended, "state": {"terminated": {"exitCode": code}}}]
        await self._api.patch(PODS, *name_of(pod), {"metadata": {"uid": uid_of(pod)}, "status": status}, subresource="status")
