"""An API server in memory: the rules of reading, writing and watching that clients rely on, and faults to order.

It passes `tests/contract/api.py`, as the real ones do. It serves any resource without a schema: nothing is defaulted,
pruned or validated, and a namespace need not exist (a terminating one refuses creation).
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from skerry.kube.api import ObjectList, Origin, PatchType, Propagation, Served, WatchEvent
from skerry.model import resources as known
from skerry.model.errors import Cause, already_exists, bad_request, conflict, expired, forbidden, invalid, not_found
from skerry.model.objects import Name, Object, annotations_of, dig, metadata, name_of
from skerry.model.resources import Resource
from skerry.model.selectors import parse_fields, parse_labels
from skerry.model.times import rfc3339
from skerry.model.volumes import LOCAL_PATHS
from skerry.testing.fakepatch import apply_patch
from skerry.testing.fakerules import (
    SERVER_SETS,
    WITHOUT_GENERATION,
    WITHOUT_STATUS,
    bare,
    check_preconditions,
    grace_s_of,
    intent,
    is_held,
    propagate,
    reach,
)
from skerry.testing.fakewatch import Change, Selection

_RANDOM_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_VERBS = frozenset({"create", "delete", "get", "list", "patch", "update", "watch"})


def _default_clock() -> datetime:
    return datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)


class Action(msgspec.Struct, frozen=True):
    """One call as it came in; `name` is "" for collections."""

    verb: str
    resource: Resource
    namespace: str
    name: str
    subresource: str = ""

    def __str__(self) -> str:
        what = f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural
        return f"{self.verb} {what} {self.namespace}/{self.name}"


class FakeApi:
    """Implements `kube.ClusterApi`. Objects go in and come out as copies."""

    def __init__(
        self, *, now: Callable[[], datetime] = _default_clock, origin: Origin | None = None, resources: Iterable[Resource] = ()
    ) -> None:
        self.now = now
        self.origin = origin or Origin("fake-cluster", "fake-epoch")
        self.revision = 0
        self.actions: list[Action] = []
        """Every call so far, for tests that ask what a client did."""
        self._objects: dict[str, dict[Name, bytes]] = {}
        self._resources = {r.key: r for r in (*_known_resources(), *resources)}
        self._history: list[Change] = []
        self._oldest = 0
        self._faults: list[tuple[str, Exception]] = []
        self._streams: set[asyncio.Queue[Change | Exception | None]] = set()

    # What tests do to it.

    def seed(self, resource: Resource, *objects: Object) -> list[Object]:
        """Store objects as they are, status included; each replaces one of its name."""
        return [self._store(resource, self._fresh(resource, obj)) for obj in objects]

    def peek(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Return what is stored, without a trace in `actions`."""
        found = self._objects.get(resource.key, {}).get(Name(namespace, name))
        return _decode(found) if found is not None else None

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        """Return all that is stored of a resource, sorted by name, without a trace in `actions`."""
        found = self._objects.get(resource.key, {})
        return [_decode(found[n]) for n in sorted(found) if not namespace or n.namespace == namespace]

    def erase(self, resource: Resource, namespace: str, name: str) -> None:
        """Remove an object whatever its finalizers say."""
        self._remove(resource, Name(namespace, name))

    def fail_next(self, error: Exception, verb: str = "") -> None:
        """Make the next call (of *verb*: get, list, watch, create, replace, patch, delete) raise *error* once."""
        self._faults.append((verb, error))

    def disconnect(self) -> None:
        """Break every open watch as a lost connection would."""
        self._tell(ConnectionError("the fake API was told to disconnect"))

    def end_watches(self) -> None:
        """End every open watch as the server's own timeout does."""
        self._tell(None)

    def compact(self) -> None:
        """Forget the history: a watch from an older revision is answered with 410."""
        self._oldest = self.revision
        self._history.clear()

    def bookmark(self) -> None:
        """Send a BOOKMARK with the current revision on every watch."""
        for resource in self._resources.values():
            obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"resourceVersion": str(self.revision)}}
            self._publish(Change(self.revision, "BOOKMARK", resource.key, _encode(obj), None))

    @property
    def watchers(self) -> int:
        """How many watches are open."""
        return len(self._streams)

    def writes(self) -> list[str]:
        """Return the calls that change something, as text."""
        return [str(a) for a in self.actions if a.verb in ("create", "replace", "patch", "delete")]

    # The Api contract.

    async def discover(self) -> Sequence[Served]:
        return [Served(r, _VERBS) for r in self._resources.values()]

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        self._called("get", resource, namespace, name)
        return _decode(self._existing(resource, namespace, name))

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> ObjectList:
        self._called("list", resource, namespace, "")
        chosen = Selection(namespace, parse_labels(labels), parse_fields(fields))
        found = self._objects.get(resource.key, {})
        items = [obj for obj in (_decode(found[n]) for n in sorted(found)) if chosen.matches(obj)]
        return ObjectList(items, str(self.revision), self.origin)

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", revision: str = ""
    ) -> AsyncIterator[WatchEvent]:
        self._called("watch", resource, namespace, "")
        chosen = Selection(namespace, parse_labels(labels), parse_fields(fields))
        stream: asyncio.Queue[Change | Exception | None] = asyncio.Queue()
        for change in self._since(resource, revision):
            stream.put_nowait(change)
        self._streams.add(stream)
        origin = self.origin
        try:
            while (change_or_end := await stream.get()) is not None:
                if isinstance(change_or_end, Exception):
                    raise change_or_end
                event = chosen.event(change_or_end, origin) if change_or_end.resource == resource.key else None
                if event is not None:
                    yield event
        finally:
            self._streams.discard(stream)

    async def create(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        namespace, name = name_of(obj)
        self._called("create", resource, namespace, name, subresource)
        if subresource == "binding" and resource == known.PODS:
            return self._bind(obj)
        if subresource:
            raise not_found(f"{resource.plural}/{subresource}", resource.group, name)
        given = {k: v for k, v in metadata(obj).items() if k not in SERVER_SETS}
        new = self._fresh(resource, {**obj, "metadata": given})
        if resource.kind not in WITHOUT_STATUS:
            new.pop("status", None)
        self._refuse_terminating(resource, name_of(new))
        if self.peek(resource, *name_of(new)) is not None:
            raise already_exists(resource.plural, resource.group, name_of(new).name)
        if resource == known.PODS:
            new["status"] = {"phase": "Pending"}
        if resource == known.NAMESPACES:
            new["status"] = {"phase": "Active"}
            new["spec"] = {"finalizers": ["kubernetes"]}
        return self._store(resource, new)

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        namespace, name = name_of(obj)
        self._called("replace", resource, namespace, name, subresource)
        return self._update(resource, _decode(self._existing(resource, namespace, name)), _copy(obj), subresource)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        *,
        form: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        self._called("patch", resource, namespace, name, subresource)
        old = _decode(self._existing(resource, namespace, name))
        new = apply_patch(_copy(old), msgspec.json.decode(msgspec.json.encode(patch)), form)
        return self._update(resource, old, new, subresource)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_s: int | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        self._called("delete", resource, namespace, name)
        old = _decode(self._existing(resource, namespace, name))
        if uid and metadata(old).get("uid") != uid:
            why = f"the UID in the precondition ({uid}) does not match the UID in record ({metadata(old).get('uid')})."
            raise conflict(resource.plural, resource.group, name, f"Precondition failed: {why}")
        new = _copy(old)
        grace = grace_s_of(resource, new, grace_s)
        propagate(new, propagation)
        if grace == 0 and not is_held(new):
            self._remove(resource, Name(namespace, name))
            return
        if resource == known.NAMESPACES:
            new["status"] = {**new.get("status", {}), "phase": "Terminating"}
        self._begin_deletion(resource, old, new, grace)

    # The rules.

    def _called(self, verb: str, resource: Resource, namespace: str, name: str, subresource: str = "") -> None:
        self._resources.setdefault(resource.key, resource)
        self.actions.append(Action(verb, resource, namespace, name, subresource))
        for i, (wanted, error) in enumerate(self._faults):
            if wanted in ("", verb):
                del self._faults[i]
                raise error

    def _existing(self, resource: Resource, namespace: str, name: str) -> bytes:
        found = self._objects.get(resource.key, {}).get(Name(namespace, name))
        if found is None:
            raise not_found(resource.plural, resource.group, name)
        return found

    def _fresh(self, resource: Resource, obj: Object) -> Object:
        new = {"apiVersion": resource.api_version, "kind": resource.kind, **_copy(obj)}
        meta = new.setdefault("metadata", {})
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise invalid(resource.kind, resource.group, "", [Cause("metadata.name", "FieldValueRequired", "Required value")])
            meta["name"] = meta["generateName"] + "".join(random.choices(_RANDOM_LETTERS, k=5))  # noqa: S311 a name, not a secret
        if resource.namespaced:
            meta["namespace"] = meta.get("namespace") or "default"
        meta["uid"] = str(uuid.uuid4()) if not obj.get("metadata", {}).get("uid") else meta["uid"]
        meta.setdefault("creationTimestamp", rfc3339(self.now()))
        if resource.kind not in WITHOUT_GENERATION:
            meta.setdefault("generation", 1)
        return new

    def _refuse_terminating(self, resource: Resource, name: Name) -> None:
        space = self.peek(known.NAMESPACES, "", name.namespace) if resource.namespaced else None
        if space is not None and metadata(space).get("deletionTimestamp"):
            why = f"unable to create new content in namespace {name.namespace} because it is being terminated"
            raise forbidden(resource.plural, resource.group, name.name, why)

    def _update(self, resource: Resource, old: Object, new: Object, subresource: str) -> Object:
        name = name_of(old)
        check_preconditions(resource, old, new)
        new = reach(resource, old, new, subresource)
        if bare(new) == bare(old):
            return old
        if intent(new) != intent(old) and resource.kind not in WITHOUT_GENERATION:
            new["metadata"]["generation"] = int(metadata(old).get("generation") or 0) + 1
        if metadata(new).get("deletionTimestamp") and not is_held(new) and not metadata(new).get("deletionGracePeriodSeconds"):
            self._remove(resource, name)
            return new
        return self._store(resource, new)

    def _begin_deletion(self, resource: Resource, old: Object, new: Object, grace: int) -> None:
        meta = new["metadata"]
        if not meta.get("deletionTimestamp") or grace < int(meta.get("deletionGracePeriodSeconds") or 0):
            meta["deletionTimestamp"] = rfc3339(self.now() + timedelta(seconds=grace))
            meta["deletionGracePeriodSeconds"] = grace
        if new != old:
            self._store(resource, new)

    def _bind(self, binding: Object) -> Object:
        namespace, name = name_of(binding)
        old = _decode(self._existing(known.PODS, namespace, name))
        node = dig(binding, "target", "name", default="")
        if not node:
            raise invalid("Binding", "", name, [Cause("target.name", "FieldValueRequired", "Required value")])
        told = LOCAL_PATHS in (metadata(binding).get("annotations") or {}) and LOCAL_PATHS not in annotations_of(old)
        if dig(old, "spec", "nodeName") and not (told and old["spec"]["nodeName"] == node):
            raise conflict("pods", "", name, f'pod {name} is already assigned to node "{old["spec"]["nodeName"]}"')
        new = _copy(old)
        new.setdefault("spec", {})["nodeName"] = node
        if metadata(binding).get("annotations"):
            new["metadata"]["annotations"] = {**(metadata(new).get("annotations") or {}), **metadata(binding)["annotations"]}
        self._store(known.PODS, new)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    # Storage and history.

    def _store(self, resource: Resource, obj: Object) -> Object:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        kept, name, data = self._objects.setdefault(resource.key, {}), name_of(obj), _encode(obj)
        before = kept.get(name)
        kept[name] = data
        self._record(Change(self.revision, "ADDED" if before is None else "MODIFIED", resource.key, data, before))
        return _decode(data)

    def _remove(self, resource: Resource, name: Name) -> None:
        before = self._objects[resource.key].pop(name)
        self.revision += 1
        last = _decode(before)
        last["metadata"]["resourceVersion"] = str(self.revision)
        self._record(Change(self.revision, "DELETED", resource.key, _encode(last), before))

    def _record(self, change: Change) -> None:
        self._history.append(change)
        self._publish(change)

    def _publish(self, change: Change) -> None:
        for stream in self._streams:
            stream.put_nowait(change)

    def _tell(self, end: Exception | None) -> None:
        for stream in self._streams:
            stream.put_nowait(end)

    def _since(self, resource: Resource, revision: str) -> Sequence[Change]:
        if revision and not revision.isdigit():
            raise bad_request(f"resourceVersion: {revision!r} is not a number")
        if revision in ("", "0"):
            found = self._objects.get(resource.key, {})
            return [Change(self.revision, "ADDED", resource.key, found[n], None) for n in sorted(found)]
        if int(revision) < self._oldest:
            raise expired(f"too old resource version: {revision} ({self._oldest})")
        if int(revision) > self.revision:
            raise expired(f"too large resource version: {revision}, current: {self.revision}")
        return [c for c in self._history if c.revision > int(revision)]


def _encode(obj: Any) -> bytes:
    return msgspec.json.encode(obj)


def _decode(data: bytes) -> Object:
    found: Object = msgspec.json.decode(data)
    return found


def _copy(obj: Object) -> Object:
    return _decode(_encode(obj))


def _known_resources() -> list[Resource]:
    return [r for r in vars(known).values() if isinstance(r, Resource) and r.group != "live.skerry.dev"]
