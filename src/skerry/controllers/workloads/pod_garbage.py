"""Removes Pods that have ended when there are too many of them, the oldest first.

Pods that something will still count or replace are found by their finalizers and owners as always: only the number of
ended Pods is bounded here. Pods of nodes that were removed are `nodelife`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from skerry.controllers.informers import Informers
from skerry.controllers.workloads.pods import is_finished
from skerry.kube import Api, Change, Controller
from skerry.model.errors import ApiError
from skerry.model.objects import Object, metadata, name_of, uid_of
from skerry.model.resources import PODS

log = logging.getLogger(__name__)

MOST_ENDED = 2000
"""Ended Pods that are kept. Kubernetes keeps 12,500, which would be some 50 MB of a hub's memory."""

PERIOD_S = 20.0
"""Kubernetes' own; ended Pods are counted this often while there are any."""

AT_ONCE = 200


def surplus(pods: Iterable[Object], most: int) -> list[Object]:
    """Return the ended Pods beyond *most*, oldest first. Pure."""
    ended = [p for p in pods if is_finished(p) and not metadata(p).get("deletionTimestamp")]
    if len(ended) <= most:
        return []
    ended.sort(key=lambda p: (metadata(p).get("creationTimestamp") or "", name_of(p)))
    return ended[: len(ended) - most]


class EndedPods:
    """The pod garbage collector."""

    def __init__(self, api: Api, informers: Informers, *, most: int = MOST_ENDED) -> None:
        self._api, self._most = api, most
        self._pods = informers.of(PODS)
        self.controller = Controller[str]("ended-pods", self.reconcile)
        self._pods.subscribe(self._on_pod)

    def _on_pod(self, change: Change) -> None:
        if change.new is not None and is_finished(change.new):
            self.controller.queue.add_after("pods", PERIOD_S)

    async def reconcile(self, _: str) -> float | None:
        found = surplus(self._pods.objects(), self._most)
        for pod in found[:AT_ONCE]:
            try:
                await self._api.delete(PODS, *name_of(pod), uid=uid_of(pod), grace_s=0)
            except ApiError as error:
                if error.code not in (404, 409):
                    raise
        if found:
            log.info("ended pods removed", extra={"removed": min(len(found), AT_ONCE), "kept": self._most})
        return 1.0 if len(found) > AT_ONCE else None
