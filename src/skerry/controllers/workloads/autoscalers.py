"""Says on each HorizontalPodAutoscaler that nothing acts on it here: an autoscaler that is silent looks as if it worked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from skerry.controllers.informers import Informers
from skerry.kube import Api, Controller
from skerry.model.conditions import get_condition, with_condition
from skerry.model.objects import Name, dig, name_of, uid_of
from skerry.model.resources import Resource

AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
REASON = "NotSupported"
MESSAGE = "this hub does not scale by metrics: set the number of replicas with kubectl scale"


class Autoscalers:
    """Writes the condition ScalingActive=False."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._autoscalers = informers.of(AUTOSCALERS)
        self.controller = Controller[Name]("autoscalers", self.reconcile)
        self._autoscalers.subscribe(lambda change: self.controller.queue.add(change.name))

    async def reconcile(self, name: Name) -> None:
        found = self._autoscalers.get(*name)
        if found is None:
            return
        conditions = dig(found, "status", "conditions", default=[])
        said = get_condition(conditions, "ScalingActive") or {}
        if (said.get("status"), said.get("reason")) == ("False", REASON):
            return
        new = with_condition(conditions, "ScalingActive", False, reason=REASON, message=MESSAGE, now=self._now())
        status = {"conditions": new, "desiredReplicas": 0, "currentReplicas": 0}
        patch = {"metadata": {"uid": uid_of(found)}, "status": status}
        self._autoscalers.learn(await self._api.patch(AUTOSCALERS, *name_of(found), patch, subresource="status"))
