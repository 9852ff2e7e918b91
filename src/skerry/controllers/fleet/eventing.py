"""Keeps the status of Brokers and Triggers, which run on nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from skerry.controllers.fleet.eventing_plan import broker_status, trigger_status
from skerry.controllers.informers import Informers
from skerry.kube import Api, Change, Controller, Informer
from skerry.model.objects import Name, Object, dig, labels_of, name_of, uid_of
from skerry.model.resources import BROKERS, NODES, SITE_LABEL, TRIGGERS, Resource

BY_BROKER = "broker"


def _broker(trigger: Object) -> Iterable[str]:
    return (f"{name_of(trigger).namespace}/{dig(trigger, 'spec', 'broker', default='')}",)


class Brokers:
    """The Broker controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._brokers, self._nodes = informers.of(BROKERS), informers.of(NODES)
        self.controller = Controller[Name]("brokers", self.reconcile)
        self._brokers.subscribe(lambda change: self.controller.queue.add(change.name))
        self._nodes.subscribe(self._on_node)

    def _on_node(self, change: Change) -> None:
        before, after = (labels_of(n).get(SITE_LABEL) if n is not None else None for n in (change.old, change.new))
        if before != after or change.old is None or change.new is None:
            for broker in self._brokers.objects():
                self.controller.queue.add(name_of(broker))

    async def reconcile(self, name: Name) -> None:
        broker = self._brokers.get(*name)
        if broker is None:
            return
        site = labels_of(broker).get(SITE_LABEL)
        nodes = sum(1 for n in self._nodes.objects() if not site or labels_of(n).get(SITE_LABEL) == site)
        await _write(self._api, self._brokers, BROKERS, broker, broker_status(broker, nodes=nodes, now=self._now()))


class Triggers:
    """The Trigger controller."""

    def __init__(self, api: Api, informers: Informers, now: Callable[[], datetime]) -> None:
        self._api, self._now = api, now
        self._brokers, self._triggers = informers.of(BROKERS), informers.of(TRIGGERS)
        self._triggers.add_index(BY_BROKER, _broker)
        self.controller = Controller[Name]("triggers", self.reconcile)
        self._triggers.subscribe(lambda change: self.controller.queue.add(change.name))
        self._brokers.subscribe(self._on_broker)

    def _on_broker(self, change: Change) -> None:
        for trigger in self._triggers.indexed(BY_BROKER, str(change.name)):
            self.controller.queue.add(name_of(trigger))

    async def reconcile(self, name: Name) -> None:
        trigger = self._triggers.get(*name)
        if trigger is None:
            return
        broker = self._brokers.get(name.namespace, str(dig(trigger, "spec", "broker", default="")))
        await _write(self._api, self._triggers, TRIGGERS, trigger, trigger_status(trigger, broker, self._now()))


async def _write(api: Api, informer: Informer, resource: Resource, obj: Object, status: Object | None) -> None:
    """Write a status that changed; fields that are gone become null in the merge patch."""
    old = obj.get("status") or {}
    if status is None or status == old:
        return
    patch = {"metadata": {"uid": uid_of(obj)}, "status": {**{k: None for k in old if k not in status}, **status}}
    informer.learn(await api.patch(resource, *name_of(obj), patch, subresource="status"))
