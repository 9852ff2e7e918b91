"""Keeps the status of PodDisruptionBudgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from skerry.controllers.disruption import budget_plan as rules
from skerry.controllers.informers import BY_NAMESPACE, Informers
from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads.pods import is_finished, is_ready
from skerry.kube import Api, Change, Controller
from skerry.model.objects import Name, Object, controller_of, dig, labels_of, metadata, name_of, uid_of
from skerry.model.resources import DEPLOYMENTS, PODDISRUPTIONBUDGETS, PODS, REPLICASETS, REPLICATIONCONTROLLERS, STATEFULSETS
from skerry.model.selectors import Selector, SelectorError, from_label_selector

TOGETHER_S = 0.02
REST = 20.0
"""A budget whose Pods were counted in a millisecond is not counted again for so many."""
_SCALED = {r.kind: r for r in (REPLICASETS, DEPLOYMENTS, STATEFULSETS, REPLICATIONCONTROLLERS)}


class Budgets:
    """The disruption controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._budgets, self._pods = informers.of(PODDISRUPTIONBUDGETS), informers.of(PODS)
        self._owners = {kind: informers.of(resource) for kind, resource in _SCALED.items()}
        self._events = Recorder(api, "controllermanager", now)
        self._cost_s: dict[Name, float] = {}
        self.controller = Controller[Name]("disruption", self.reconcile)
        self._budgets.subscribe(lambda change: self.controller.queue.add(change.name))
        self._pods.subscribe(self._on_pod)
        for informer in self._owners.values():
            informer.subscribe(self._on_owner)

    def _on_pod(self, change: Change) -> None:
        if change.old is not None and change.new is not None and _matters(change.old) == _matters(change.new):
            return
        for budget in self._budgets.indexed(BY_NAMESPACE, change.name.namespace):
            selector = _selector(budget)
            if selector and any(selector.matches(labels_of(p)) for p in (change.old, change.new) if p is not None):
                self.controller.queue.add_after(name_of(budget), max(TOGETHER_S, REST * self._cost_s.get(name_of(budget), 0.0)))

    def _on_owner(self, change: Change) -> None:
        if dig(change.old, "spec", "replicas") != dig(change.new, "spec", "replicas"):
            for budget in self._budgets.indexed(BY_NAMESPACE, change.name.namespace):
                self.controller.queue.add_after(name_of(budget), TOGETHER_S)

    async def reconcile(self, name: Name) -> float | None:
        budget = self._budgets.get(*name)
        if budget is None:
            self._cost_s.pop(name, None)
            return None
        began = time.perf_counter()
        selector = _selector(budget)
        pods = [p for p in self._pods.indexed(BY_NAMESPACE, name.namespace) if selector is not None and selector.matches(labels_of(p))]
        again_s = None
        try:
            expected = self._expected(pods) if rules.needs_scale(budget) else len(pods)
            new, again_s = rules.status(budget, pods, expected, self._now())
        except rules.UnknownScaleError as error:
            new = rules.failed_status(budget, str(error), self._now())
            await self._events.warning(
                budget, "CalculateExpectedPodCountFailed", f"Failed to calculate the number of expected pods: {error}"
            )
        self._cost_s[name] = time.perf_counter() - began
        if new != budget.get("status"):
            meta = {"uid": uid_of(budget), "resourceVersion": metadata(budget)["resourceVersion"]}
            gone = [n for n in dig(budget, "status", "disruptedPods", default={}) if n not in new.get("disruptedPods", {})]
            if gone:
                new = {**new, "disruptedPods": {**new.get("disruptedPods", {}), **dict.fromkeys(gone)}}
            patch = {"metadata": meta, "status": new}
            self._budgets.learn(await self._api.patch(PODDISRUPTIONBUDGETS, *name, patch, subresource="status"))
        return again_s

    def _expected(self, pods: Sequence[Object]) -> int:
        """Return how many Pods the controllers of these want in all; a Pod that nobody controls counts for nothing."""
        scales: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            while owner is not None:
                informer = self._owners.get(owner.get("kind", ""))
                found = informer.get(name_of(pod).namespace, owner["name"]) if informer is not None else None
                if found is None or uid_of(found) != owner.get("uid"):
                    if informer is None:
                        raise rules.UnknownScaleError(f"{owner.get('kind')} {owner['name']} has no scale: use an integer minAvailable")
                    break
                above = controller_of(found)
                if above is None or above.get("kind") not in self._owners:
                    scales[uid_of(found)] = int(dig(found, "spec", "replicas", default=1))
                    break
                owner = above
        return sum(scales.values())


def _selector(budget: Object) -> Selector | None:
    try:
        return from_label_selector(dig(budget, "spec", "selector"))
    except SelectorError:
        return None


def _matters(pod: Object) -> tuple[object, ...]:
    meta = metadata(pod)
    return (meta.get("labels"), bool(meta.get("deletionTimestamp")), is_ready(pod), is_finished(pod), meta.get("ownerReferences"))
