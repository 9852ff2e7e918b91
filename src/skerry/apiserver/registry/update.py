"""PUT and the way every change goes: read, transform, complete, judge, compare and swap.

A write that changes nothing is not stored and keeps its revision. A change without a revision is tried again when another
one came first; a change that names a revision is refused then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace as with_

from skerry.apiserver.patch import Entry, same, same_but_times
from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.beside import LARGE
from skerry.apiserver.registry.create import create
from skerry.apiserver.registry.delete import held_by_spec
from skerry.apiserver.registry.encoding import decode
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.meta import prepare_changed
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.ownership import SHOWN, Ownership, own_changed, still_readable, writer_of
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.strategy import count_generation, prepare_for_update
from skerry.apiserver.registry.unreadable import UnreadableError
from skerry.apiserver.schema.budget import require_bounded
from skerry.apiserver.store import ConflictError, Key, MissingError, Record
from skerry.model.errors import ApiError, Cause, bad_request, conflict, invalid
from skerry.model.objects import Object

MAX_TRIES = 10
"""How often a change without a revision is tried again after a race; one that names a revision is refused by the next try."""
COMMIT_S = 5.0
"""How long to wait for the commit of the write that came first."""

Transform = Callable[[Object], Object]
"""Make the wanted object of the stored one, which it leaves as it is."""


class Change(msgspec.Struct, frozen=True):
    """One change of one object: what to do, and on which part of it."""

    kind: Kind
    namespace: str
    name: str
    transform: Transform
    subresource: str = ""
    ownership: Ownership = Ownership.TRACKED


async def replace(registry: Registry, change: Change, obj: Object, options: WriteOptions) -> tuple[int, bytes]:
    """PUT: return the HTTP status (201 when it created) and the stored bytes."""
    kind = change.kind
    _check_body(change, obj)
    stored = registry.store.get(Key(kind.key, change.namespace, change.name))
    if stored is None and kind.create_on_update and not change.subresource and not obj["metadata"].get("uid"):
        obj["metadata"].pop("resourceVersion", None)
        if options.creating is not None:
            options.creating()
        return 201, await create(registry, kind, change.namespace, obj, options, name=change.name)
    if kind.custom and not obj["metadata"].get("resourceVersion"):
        registry.find(kind, change.namespace, change.name)
        cause = Cause("metadata.resourceVersion", "FieldValueInvalid", "Invalid value: 0x0: must be specified for an update")
        raise invalid(kind.resource.plural, kind.resource.group, change.name, [cause])
    return 200, await apply(registry, change, options)


def _check_body(change: Change, obj: Object) -> None:
    meta = obj["metadata"]
    given = meta.get("name")
    if not given:
        if change.kind.custom or meta.get("generateName"):
            raise bad_request("name must be provided")
        meta["name"] = change.name
    elif given != change.name:
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({change.name})")
    if meta.get("namespace") and meta["namespace"] != change.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


async def apply(registry: Registry, change: Change, options: WriteOptions) -> bytes:
    """Carry out *change* and return the object's bytes, as stored or as it would be."""
    density = change.kind.density
    record = registry.find(change.kind, change.namespace, change.name)
    if max(options.size, len(record.value) * density) <= LARGE:
        return await _carried_out(registry, change, options)
    turn = registry.beside.turn(record.key)
    if options.place is not None:
        async with options.place.turn(turn):
            return await _carried_out(registry, change, options)
    async with registry.beside.place() as place, place.turn(turn):  # a small change of a large object needs one, too
        return await _carried_out(registry, change, with_(options, place=place))


async def _carried_out(registry: Registry, change: Change, options: WriteOptions) -> bytes:
    for tries in range(MAX_TRIES, 0, -1):
        record = registry.find(change.kind, change.namespace, change.name)
        # What others convert is kept for this turn of the loop only, so it is taken along.
        before = await registry.read(change.kind, record, options.place) if change.kind.conversion is not None else b""
        attempt = _Attempt(registry, change, record, before, options)
        new = await attempt.judge() if max(options.size, len(record.value) * change.kind.density) <= LARGE else await attempt.judge_beside()
        try:
            return await attempt.store(new)
        except (ConflictError, MissingError):
            # Another write came first. It may still wait for its commit: what is read before that is old again.
            if tries > 1:
                await registry.superseded(record, COMMIT_S)
    raise conflict(change.kind.resource.plural, change.kind.resource.group, change.name)


class _Attempt:
    """One try, and the record it is based on."""

    def __init__(self, registry: Registry, change: Change, record: Record, before: bytes, options: WriteOptions) -> None:
        self._registry, self._change, self._record, self._before, self._options = registry, change, record, before, options
        self._old: Object = {}
        self._entries: list[Entry] = []
        self._made: tuple[bytes, bool] | None = None

    async def judge(self) -> Object:
        """Return the complete new object; ApiError when it may not be. Waits only for those outside the server."""
        new = self._transformed()
        asked = self._asked(new)
        self._registry.chain.mutate(asked)
        await self._mutate_outside(asked)
        self._require_valid(new)
        self._registry.chain.validate(asked)
        await self._registry.chain.validate_outside(asked)
        return new

    async def judge_beside(self) -> Object:
        """Do the same for a large object. What it is based on may be old meanwhile: that is compared when it is stored."""
        beside, chain = self._registry.beside, self._registry.chain
        new = await beside.run(self._transformed)
        asked = await beside.run(self._asked, new)
        asked.waited = True
        chain.mutate(asked)
        await self._mutate_outside(asked)
        await beside.run(self._require_valid, new)
        await chain.validate_slowly(asked)
        self._made = await beside.run(self._compared, new)
        await chain.validate_outside(asked)  # and from here to the store in one step
        return new

    def _transformed(self) -> Object:
        """Return what the change makes of the stored object."""
        kind = self._change.kind
        self._before = self._before or self._registry.value_of(kind, self._record)
        self._old = decode(self._before)
        self._entries = self._old["metadata"].pop("managedFields", None) or []
        try:
            # What the transformation may share with others is copied before it is changed.
            return dict(self._change.transform(self._shown()))
        except UnreadableError as error:
            raise error.refusal(self._entries, secret=kind.key == "secrets") from None

    def _asked(self, new: Object) -> Admission:
        """Complete the new object, and say whose it is; return it as a write that asks to be admitted."""
        registry, change, old = self._registry, self._change, self._old
        meta = _meta(new, change)
        given = meta.pop("managedFields", None)
        self._preconditions(meta)
        prepare_changed(meta, old["metadata"])
        prepare_for_update(change.kind, new, old, change.subresource)
        self._own(new, meta, given)
        return Admission("UPDATE", change.kind, change.namespace, change.name, new, old, self._options, registry, change.subresource)

    async def _mutate_outside(self, asked: Admission) -> None:
        assert asked.new is not None
        entries = asked.new["metadata"].get("managedFields")
        await self._registry.chain.mutate_outside(asked)
        if asked.waited:
            still_readable(asked.new, entries, self._options)

    def _require_valid(self, new: Object) -> None:
        """Count the generation, now that nobody changes the intent any more, and judge the object; ApiError when it may not be."""
        kind = self._change.kind
        count_generation(kind, new, self._old, self._change.subresource)
        causes = kind.schema.validate(new, self._old, subresource=self._change.subresource)
        if causes:
            raise invalid(kind.resource.kind, kind.resource.group, self._change.name, causes)

    def _compared(self, new: Object) -> tuple[bytes, bool]:
        """Return the new object's bytes, and whether they say the same as before."""
        kind = self._change.kind
        tail = kind.encoding.tail(new)
        require_bounded(new, tail, self._old)
        return tail, tail == kind.encoding.tail_of(self._before) or _same(new, self._old)

    def _shown(self) -> Object:
        """Return the stored object as the transformation may see it."""
        if self._change.ownership not in SHOWN or not self._entries:
            return self._old
        return {**self._old, "metadata": {**self._old["metadata"], "managedFields": self._entries}}

    def _own(self, new: Object, meta: Object, given: Any) -> None:
        """Say who owns what, in both objects; *meta* is the metadata that was asked for, *given* the managedFields."""
        change, old = self._change, self._old
        writer = writer_of(self._registry, change.kind, self._options, change.subresource)
        # As in Kubernetes, who writes the status of a custom object owns even the labels that this does not let it change.
        wanted = {**new, "metadata": meta} if change.kind.custom and change.subresource == "status" else new
        entries = own_changed(self._registry, change.kind, old, wanted, self._entries, given, change.ownership, writer)
        if self._entries:
            old["metadata"]["managedFields"] = self._entries
        if entries:
            new["metadata"]["managedFields"] = entries

    def _preconditions(self, meta: Object) -> None:
        resource, name = self._change.kind.resource, self._change.name
        uid = meta.get("uid")
        if uid and uid != self._old["metadata"].get("uid"):
            where = f"{self._change.namespace}/{name}" if self._change.namespace else name
            why = (
                f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{where}, ResourceVersion: 0, AdditionalErrorMsg: "
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {self._old['metadata'].get('uid')}"
            )
            raise conflict(resource.plural, resource.group, name, why)
        revision = meta.get("resourceVersion")
        if not revision:
            return
        if not (isinstance(revision, str) and revision.isascii() and revision.isdigit()):
            raise ApiError(500, "", f'strconv.ParseUint: parsing "{str(revision)[:64]}": invalid syntax')
        if int(revision) and int(revision) != self._record.revision:
            raise conflict(resource.plural, resource.group, name)

    async def store(self, new: Object) -> bytes:
        """Write *new* unless it says the same as before; delete it when nothing holds it back any more."""
        registry, kind, record = self._registry, self._change.kind, self._record
        tail, same = self._made or self._compared(new)
        if same:
            return self._before
        if self._options.dry_run:
            return kind.encoding.at(tail, record.revision)
        key = record.key
        if _released(kind, new):
            last = kind.encoding.tail_of(self._before)  # a watcher sees what was there before, finalizers and all
            await registry.store.delete(key, await registry.kept(kind, last, self._options.place), expected=record.revision)
            return kind.encoding.at(tail, record.revision)
        stored = await registry.store.update(key, await registry.kept(kind, tail, self._options.place), expected=record.revision)
        return await registry.read_back(kind, stored, self._options.place)


def _meta(new: Object, change: Change) -> Object:
    given = new.get("metadata")
    meta = new["metadata"] = dict(given) if isinstance(given, dict) else {}
    if meta.get("name") != change.name:
        if meta.get("name"):
            raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({change.name})")
        meta["name"] = change.name
    if change.namespace:
        if (meta.get("namespace") or change.namespace) != change.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        meta["namespace"] = change.namespace
    return meta


def _same(new: Object, old: Object) -> bool:
    """Say whether nothing differs but the revision, and when managers wrote."""
    if not (_alike(new, old, _HEAD) and _alike(new["metadata"], old["metadata"], _SERVER)):
        return False
    entries, before = (o["metadata"].get("managedFields") or () for o in (new, old))
    if not same_but_times(entries, before):
        return False
    return all(same(v, old[k]) for k, v in new.items() if k not in _HEAD)  # true is not 1


def _alike(new: Object, old: Object, aside: tuple[str, ...]) -> bool:
    """Say whether two maps are equal but for some keys; most that are not differ early, and nothing is made for them."""
    for key, value in new.items():
        if key not in aside and (key not in old or old[key] != value):
            return False
    return all(key in new or key in aside for key in old)


_HEAD = ("apiVersion", "kind", "metadata")
_SERVER = ("resourceVersion", "managedFields")


def _released(kind: Kind, new: Object) -> bool:
    """Say whether the object is being deleted and its last finalizer, and its grace, are gone."""
    meta = new["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers"):
        return False
    if held_by_spec(kind, new):
        return False
    return not meta.get("deletionGracePeriodSeconds")
