"""The garbage collector: follows every resource that can be listed and deleted, and carries out `garbage_plan`.

It remembers only objects that have owners or wait for dependents, and of these only their metadata: most objects of a
cluster cost it nothing. Before it deletes, it asks the API whether the owner is gone; a memory is not proof.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from skerry.controllers.recorder import Recorder
from skerry.controllers.workloads import garbage_plan as rules
from skerry.controllers.workloads.garbage_elsewhere import Elsewhere
from skerry.kube import Change, ClusterApi, Controller, Informer, Propagation
from skerry.model.errors import ApiError
from skerry.model.objects import Name, Object, metadata, name_of, uid_of
from skerry.model.resources import CRDS, Resource

log = logging.getLogger(__name__)

NEEDED_VERBS = frozenset({"list", "watch", "delete"})
IGNORED = frozenset({"events", "events.events.k8s.io"})
"""Events own nothing and are owned by nothing, and there are many."""

REDISCOVER_S = 30.0
"""How often to ask what is served besides when a CRD changes."""

BY_OWNER = "owner"


class Item(msgspec.Struct, frozen=True):
    """One object to look at: as a dependent, and as an owner that is being deleted."""

    resource: Resource
    name: Name
    uid: str


class GarbageCollector:
    """Deletes what its owners no longer hold."""

    def __init__(self, api: ClusterApi, now: Callable[[], datetime]) -> None:
        self._api = api
        self._events = Recorder(api, "garbage-collector-controller", now)
        self._elsewhere = Elsewhere(api, self._named)
        self._following: dict[str, tuple[Informer, asyncio.Task[None]]] = {}
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._rediscover = asyncio.Event()
        self.controller = Controller[Item]("garbage", self.reconcile)

    async def run(self) -> None:
        """Follow what is served and collect, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.controller.run())
                while True:
                    await self._follow(group)
                    self._rediscover.clear()
                    try:
                        await asyncio.wait_for(self._rediscover.wait(), REDISCOVER_S)
                    except TimeoutError:
                        continue
        finally:
            self._following.clear()

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        try:
            served = await self._api.discover()
        except (ApiError, ConnectionError) as error:
            log.info("discovery failed", extra={"error": str(error)})
            return
        self._kinds = {(s.resource.api_version, s.resource.kind): s.resource for s in served if "get" in s.verbs}
        wanted = {s.resource.key: s.resource for s in served if s.verbs >= NEEDED_VERBS and s.resource.key not in IGNORED}
        for key in self._following.keys() - wanted.keys():
            self._following.pop(key)[1].cancel()
        for key in wanted.keys() - self._following.keys():
            informer = self._informer(wanted[key])
            self._following[key] = (informer, group.create_task(informer.run()))

    def _informer(self, resource: Resource) -> Informer:
        informer = Informer(self._api, resource, shrink=rules.essence)
        informer.add_index(BY_OWNER, lambda o: [str(r.get("uid")) for r in metadata(o).get("ownerReferences") or ()])
        informer.subscribe(lambda change: self._on_change(resource, change))
        informer.subscribe_lists(lambda: self._on_list(resource))
        return informer

    def _on_change(self, resource: Resource, change: Change) -> None:
        if resource.key == CRDS.key:
            self._rediscover.set()
        if change.new is not None:
            self.controller.queue.add(Item(resource, change.name, uid_of(change.new)))
        if change.new is None:
            self._elsewhere.went(uid_of(change.object))
        if change.new is None or metadata(change.new).get("deletionTimestamp"):
            for other, dependent in self._dependents(uid_of(change.object)):
                self.controller.queue.add(Item(other, name_of(dependent), uid_of(dependent)))
        if change.old is not None:
            self._look_at_owners(change.old)

    def _on_list(self, resource: Resource) -> None:
        """Owners of this kind may have gone unseen before the list: look at all that name one."""
        for informer, _ in self._following.values():
            for obj in informer.objects():
                if any(r.get("kind") == resource.kind for r in metadata(obj).get("ownerReferences") or ()):
                    self.controller.queue.add(Item(informer.resource, name_of(obj), uid_of(obj)))

    def _look_at_owners(self, obj: Object) -> None:
        """A dependent changed or went: owners that wait for their dependents may now go."""
        for reference in metadata(obj).get("ownerReferences") or ():
            owner = self._kinds.get((str(reference.get("apiVersion")), str(reference.get("kind"))))
            if owner is not None:
                namespace = name_of(obj).namespace if owner.namespaced else ""
                self.controller.queue.add(Item(owner, Name(namespace, str(reference.get("name"))), str(reference.get("uid"))))

    def _dependents(self, uid: str) -> Iterable[tuple[Resource, Object]]:
        for informer, _ in self._following.values():
            for obj in informer.indexed(BY_OWNER, uid):
                yield informer.resource, obj

    async def reconcile(self, item: Item) -> float | None:
        following = self._following.get(item.resource.key)
        obj = following[0].get(*item.name) if following else None
        if obj is None or uid_of(obj) != item.uid:
            return None
        if metadata(obj).get("deletionTimestamp"):
            return await self._as_owner(item, obj)
        await self._as_dependent(item, obj)
        return None

    async def _as_dependent(self, item: Item, obj: Object) -> None:
        owners = {str(r["uid"]): await self._look_up(obj, r) for r in metadata(obj).get("ownerReferences") or ()}
        match rules.decide(obj, owners, has_dependents=any(True for _ in self._dependents(item.uid))):
            case rules.Collect(propagation):
                await self._delete(item, propagation)
            case rules.DropReferences(uids):
                await self._drop(item.resource, obj, uids)

    async def _look_up(self, obj: Object, reference: Object) -> rules.Owner:
        resource = self._kinds.get((str(reference.get("apiVersion")), str(reference.get("kind"))))
        namespace = name_of(obj).namespace
        if resource is None:
            return rules.Owner.UNKNOWN
        if resource.namespaced and not namespace:
            await self._say_elsewhere(obj, reference)
            return rules.Owner.UNKNOWN
        try:
            owner = await self._api.get(resource, namespace if resource.namespaced else "", reference["name"])
        except ApiError as error:
            if error.code != 404:
                raise
            if resource.namespaced and await self._elsewhere.has(resource, reference):
                await self._say_elsewhere(obj, reference)
            return rules.Owner.GONE
        if uid_of(owner) != reference["uid"]:
            return rules.Owner.GONE
        return rules.Owner.WAITING if rules.is_waiting(owner) else rules.Owner.SOLID

    def _named(self, resource: Resource) -> set[str]:
        """Return the UIDs that dependents name as those of their owners of one kind."""
        names = {name for name, served in self._kinds.items() if served.key == resource.key}
        references = (r for i, _ in self._following.values() for o in i.objects() for r in metadata(o).get("ownerReferences") or ())
        return {str(r.get("uid")) for r in references if (r.get("apiVersion"), r.get("kind")) in names}

    async def _say_elsewhere(self, obj: Object, reference: Object) -> None:
        namespace = name_of(obj).namespace
        kind, name, uid = (reference.get(k) for k in ("kind", "name", "uid"))
        owner = f"[{reference.get('apiVersion')}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}]"
        await self._events.warning(obj, "OwnerRefInvalidNamespace", f'ownerRef {owner} does not exist in namespace "{namespace}"')

    async def _as_owner(self, item: Item, obj: Object) -> float | None:
        dependents = list(self._dependents(item.uid))
        match rules.decide_owner(obj, [d for _, d in dependents]):
            case rules.OrphanDependents():
                for resource, dependent in dependents:
                    await self._drop(resource, dependent, frozenset([item.uid]))
                return 0.1
            case rules.CollectDependents():
                for resource, dependent in dependents:
                    if not metadata(dependent).get("deletionTimestamp"):
                        self.controller.queue.add(Item(resource, name_of(dependent), uid_of(dependent)))
            case rules.RemoveFinalizer(finalizer):
                await self._remove_finalizer(item, finalizer)
        return None

    async def _delete(self, item: Item, propagation: Propagation) -> None:
        try:
            await self._api.delete(item.resource, *item.name, uid=item.uid, propagation=propagation)
        except ApiError as error:
            if error.code != 404:
                raise
            return
        log.debug("collected", extra={"resource": item.resource.key, "object": str(item.name)})

    async def _drop(self, resource: Resource, obj: Object, uids: frozenset[str]) -> None:
        """Remove owner references; the revision in the patch makes it fail when somebody else changed them meanwhile."""
        left = [r for r in metadata(obj).get("ownerReferences") or () if r.get("uid") not in uids]
        meta = {"uid": uid_of(obj), "resourceVersion": metadata(obj)["resourceVersion"], "ownerReferences": left or None}
        try:
            changed = await self._api.patch(resource, *name_of(obj), {"metadata": meta})
        except ApiError as error:
            if error.code != 404:
                raise
            return
        self._learn(resource, changed)

    async def _remove_finalizer(self, item: Item, finalizer: str) -> None:
        try:
            obj = await self._api.get(item.resource, *item.name)
            if uid_of(obj) != item.uid:
                return
            left = [f for f in metadata(obj).get("finalizers") or () if f != finalizer]
            meta = {"uid": item.uid, "resourceVersion": metadata(obj)["resourceVersion"], "finalizers": left or None}
            await self._api.patch(item.resource, *item.name, {"metadata": meta})
        except ApiError as error:
            if error.code != 404:
                raise

    def _learn(self, resource: Resource, obj: Object) -> None:
        following = self._following.get(resource.key)
        if following is not None:
            following[0].learn({"apiVersion": resource.api_version, "kind": resource.kind, **obj})
