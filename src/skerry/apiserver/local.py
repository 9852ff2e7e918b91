"""The API without HTTP: what controllers in the same process use. Same verbs, same rules, same errors; no authorisation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from skerry.apiserver.http.message import User
from skerry.apiserver.registry import create as _create
from skerry.apiserver.registry import delete as _delete
from skerry.apiserver.registry import patch as _patch
from skerry.apiserver.registry import read as _read
from skerry.apiserver.registry import update as _update
from skerry.apiserver.registry import watch as _watch
from skerry.apiserver.registry.applying import apply_configuration
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import ListOptions, WriteOptions
from skerry.apiserver.registry.ownership import Ownership
from skerry.apiserver.registry.pods import bind, evict
from skerry.apiserver.registry.registry import Registry
from skerry.kube.api import ObjectList, Origin, PatchType, Propagation, Served, WatchEvent
from skerry.model.errors import ApiError, bad_request
from skerry.model.objects import Object, metadata, name_of
from skerry.model.resources import NAMESPACES, Resource
from skerry.model.selectors import SelectorError, parse_fields, parse_labels

CONTROLLER = User("system:skerry-controllers", ("system:masters", "system:authenticated"))
_MEDIA = {"json": _patch.JSON_PATCH, "merge": _patch.MERGE_PATCH, "strategic": _patch.STRATEGIC_PATCH}


class LocalApi:
    """`kube.api.Api` straight into a registry, as *user*."""

    def __init__(self, registry: Registry, user: User = CONTROLLER) -> None:
        self._registry, self._user = registry, user

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        kind = self._kind(resource)
        return _object(await _read.get(self._registry, kind, _place(kind, namespace), name))

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> ObjectList:
        kind = self._kind(resource)
        listing = await _read.list_(self._registry, kind, _place(kind, namespace), _options(labels, fields))
        objects = [_object(self._registry.value_of(kind, r)) for r in listing.records]
        return ObjectList(objects, str(listing.revision), self._origin())

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", revision: str = ""
    ) -> AsyncIterator[WatchEvent]:
        kind = self._kind(resource)
        options = _options(labels, fields, revision=int(revision) if revision else None)
        origin = self._origin()
        stream = _watch.open_watch(self._registry, kind, _place(kind, namespace), options, _watch.Form("json"))
        try:
            async for chunk in stream:
                for line in chunk.splitlines():
                    event = decode(line)
                    if event["type"] == "ERROR":
                        raise ApiError.from_status(event["object"])
                    yield WatchEvent(event["type"], event["object"], origin)
        finally:
            await stream.aclose()

    async def create(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        kind = self._kind(resource)
        if subresource:
            return await self._create_below(kind, obj, subresource)
        new = self._own(kind, obj)
        namespace = _place(kind, metadata(new).get("namespace", ""))
        return _object(await _create.create(self._registry, kind, namespace, new, self._write()))

    async def _create_below(self, kind: Kind, obj: Object, subresource: str) -> Object:
        namespace, name = name_of(obj)
        if (kind.key, subresource) == ("pods", "binding"):
            await bind(self._registry, namespace, obj, self._write())
        elif (kind.key, subresource) == ("pods", "eviction"):
            await evict(self._registry, namespace, name, obj, self._write())
        else:
            raise ApiError(405, "MethodNotAllowed", f"{kind.resource.plural}/{subresource} cannot be created")
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    async def replace(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        kind = self._kind(resource)
        new = self._own(kind, obj)
        meta = metadata(new)
        change = _update.Change(
            kind, _place(kind, meta.get("namespace", "")), meta.get("name", ""), lambda _: new, subresource, Ownership.REPLACED
        )
        return _object((await _update.replace(self._registry, change, new, self._write()))[1])

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
        kind = self._kind(resource)
        options = self._write()
        transform = _patch.transform(kind, _MEDIA[form], dumps(patch), options)
        change = _update.Change(kind, _place(kind, namespace), name, transform, subresource)
        return _object(await _update.apply(self._registry, change, options))

    async def apply(self, resource: Resource, obj: Object, *, manager: str, force: bool = False, subresource: str = "") -> Object:
        """Apply *obj* as *manager*: it owns what *obj* says, and what it said before and says no more goes."""
        kind = self._kind(resource)
        options = self._write()
        options.manager = manager
        config: Object = {**obj, "apiVersion": kind.resource.api_version, "kind": kind.resource.kind, "metadata": {**metadata(obj)}}
        namespace, name = name_of(obj)
        place = _place(kind, namespace)
        _, value = await apply_configuration(self._registry, kind, place, name, config, options, subresource=subresource, force=force)
        return _object(value)

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
        kind = self._kind(resource)
        asked = _delete.DeleteOptions(grace_s, propagation or "", uid)
        await _delete.delete(self._registry, kind, _place(kind, namespace), name, asked, self._write())

    async def discover(self) -> Sequence[Served]:
        """Return every resource in the version in which it is stored, with its verbs."""
        kinds = {k.key: self._registry.kinds.storage(k.key) or k for k in self._registry.kinds}
        return [Served(k.resource, k.verbs) for k in kinds.values()]

    def _own(self, kind: Kind, obj: Object) -> Object:
        """Return a copy that the registry may change, in the form of a decoded body."""
        new: Object = decode(dumps(obj))
        new["apiVersion"], new["kind"] = kind.resource.api_version, kind.resource.kind
        if not isinstance(new.get("metadata"), dict):
            new["metadata"] = {}
        kind.schema.prune_unknown(new)
        return new

    def _kind(self, resource: Resource) -> Kind:
        kind = self._registry.kinds.find(resource.group, resource.version, resource.plural)
        if kind is None:
            raise ApiError(404, "NotFound", f"the server could not find the requested resource ({resource.key} {resource.version})")
        return kind

    def _write(self) -> WriteOptions:
        return WriteOptions(self._user, field_validation="Ignore", internal=True)

    def _origin(self) -> Origin:
        system = self._registry.lookup(NAMESPACES, "", "kube-system")
        return Origin(metadata(system or {}).get("uid", ""), self._registry.store.epoch)


def _object(value: bytes) -> Object:
    found: Object = decode(value)
    return found


def _place(kind: Kind, namespace: str) -> str:
    return namespace if kind.namespaced else ""


def _options(labels: str, fields: str, *, revision: int | None = None) -> ListOptions:
    try:
        return ListOptions(labels=parse_labels(labels), fields=parse_fields(fields), revision=revision, bookmarks=False)
    except SelectorError as error:
        raise bad_request(str(error)) from None
