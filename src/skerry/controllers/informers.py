"""One informer a resource, shared by all controllers, with the indexes that they look things up by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from skerry.kube import Api, Informer
from skerry.model.objects import Object, controller_of, dig, metadata
from skerry.model.resources import PODS, Resource

BY_CONTROLLER = "controller"
"""Index: objects by the UID of the owner that controls them; under "" those that nobody controls."""

BY_NODE = "node"
"""Index of Pods: by `spec.nodeName`; under "" those that are not bound."""

BY_NAMESPACE = "namespace"


def _controller(obj: Object) -> Iterable[str]:
    owner = controller_of(obj)
    return (str(owner["uid"]) if owner else "",)


def _node(pod: Object) -> Iterable[str]:
    return (str(dig(pod, "spec", "nodeName", default="")),)


def _namespace(obj: Object) -> Iterable[str]:
    return (str(metadata(obj).get("namespace") or ""),)


def _without_managers(obj: Object) -> Object:
    """Return an object without the names of its fields' owners: no controller reads them, and they weigh as much as the object."""
    meta = obj.get("metadata") or {}
    return {**obj, "metadata": {k: v for k, v in meta.items() if k != "managedFields"}} if "managedFields" in meta else obj


class Informers:
    """Makes informers as they are asked for; `run` follows all of them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._informers: dict[str, Informer] = {}

    def of(self, resource: Resource) -> Informer:
        """Return the informer of *resource* in all namespaces."""
        found = self._informers.get(resource.key)
        if found is None:
            found = self._informers[resource.key] = Informer(self._api, resource, shrink=_without_managers)
            found.add_index(BY_CONTROLLER, _controller)
            found.add_index(BY_NAMESPACE, _namespace)
            if resource == PODS:
                found.add_index(BY_NODE, _node)
        return found

    async def run(self) -> None:
        """Follow every collection that was asked for so far, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())

    async def wait_synced(self) -> None:
        """Return once every collection is known: a controller that acts before would act on half of the truth."""
        for informer in list(self._informers.values()):
            await informer.wait_synced()
