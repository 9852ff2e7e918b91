"""POST: make an object. What the client says of server-owned fields is dropped; an object in a namespace needs that namespace."""

from __future__ import annotations

from functools import partial

from skerry.apiserver.patch import Entry
from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.beside import LARGE
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.meta import MAX_GENERATED_PREFIX, prepare_new
from skerry.apiserver.registry.options import WriteOptions
from skerry.apiserver.registry.ownership import own_new, still_readable
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.strategy import finish_new, prepare_for_create
from skerry.apiserver.schema.budget import require_bounded
from skerry.apiserver.store import ExistsError, Key
from skerry.model.errors import ApiError, Cause, already_exists, bad_request, invalid, not_found
from skerry.model.objects import Object

MAX_TRIES = 8
"""How often a generated name that is taken is drawn anew."""
COMMIT_S = 5.0
"""How long to wait for the commit of whoever took the name."""


async def create(
    registry: Registry, kind: Kind, namespace: str, obj: Object, options: WriteOptions, *, name: str = "", applied: bool = False
) -> bytes:
    """Store a new object and return its bytes.

    *name* is the one in the URL, for a PUT that creates; *applied* says that managedFields are known already.
    """
    asked = await complete(registry, kind, namespace, obj, options, name=name, applied=applied)
    tries = MAX_TRIES if asked.generated else 1
    while True:
        tries -= 1
        tail = await judge(asked)
        key = Key(kind.key, namespace, asked.name)
        if options.dry_run:
            if registry.store.get(key) is not None:
                raise _exists(registry, kind, key)
            return kind.encoding.without_revision(tail)
        keep = await registry.kept(kind, tail, options.place)
        if kind.conversion is not None:  # somebody may have been waited for
            _still_wanted(asked)
            registry.chain.judge_last(asked)
        try:
            record = await registry.store.create(key, keep)
        except ExistsError:
            if not tries:
                # Who took the name may still wait for its commit: until that, a crash would make a lie of our refusal.
                if registry.store.get(key) is None and await registry.next_commit(COMMIT_S):
                    tries = 1
                    continue
                raise _exists(registry, kind, key) from None
            _generate(asked)
            continue
        return await registry.read_back(kind, record, options.place)


async def complete(
    registry: Registry, kind: Kind, namespace: str, obj: Object, options: WriteOptions, *, name: str = "", applied: bool = False
) -> Admission:
    """Bring *obj* into the form in which it would be stored; ApiError when it cannot be. Waits only for those outside."""
    meta = obj["metadata"]
    if meta.get("resourceVersion") and not name:
        raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
    place(kind, meta, namespace)
    if name:
        meta["name"] = name
    check_namespace(registry, kind, namespace, meta)
    entries = meta.get("managedFields") if applied else None
    prepare_new(meta, uid=registry.uid(), now=registry.timestamp())
    asked = Admission("CREATE", kind, namespace, meta.get("name", ""), obj, None, options, registry)
    if not asked.name and meta.get("generateName"):
        _generate(asked)
    completed = partial(_completed, registry, kind, obj, options, entries, applied=applied)
    if options.size <= LARGE:
        completed()
    else:
        asked.waited = True
        await registry.beside.run(completed)
    registry.chain.mutate(asked)
    entries = meta.get("managedFields")
    await registry.chain.mutate_outside(asked)
    if asked.waited:
        still_readable(obj, entries, options)
    finish_new(kind, obj)
    return asked


def _completed(registry: Registry, kind: Kind, obj: Object, options: WriteOptions, entries: list[Entry] | None, *, applied: bool) -> None:
    """Fill in what the kind says of a new object, and whose it is. Pure but for *obj*."""
    prepare_for_create(kind, obj)
    kind.schema.default(obj)
    if entries:
        obj["metadata"]["managedFields"] = entries
    elif not applied:
        own_new(registry, kind, obj, options)


async def judge(asked: Admission) -> bytes:
    """Return the complete object's bytes, or raise ApiError saying why it may not be stored. A small one waits only for those outside."""
    kind, obj, chain = asked.kind, asked.new, asked.registry.chain
    assert obj is not None
    tail = b""
    if asked.options.size <= LARGE:
        _require_valid(asked, kind.schema.validate(obj))
        chain.validate(asked)
    else:
        _require_valid(asked, await asked.registry.beside.run(kind.schema.validate, obj))
        await chain.validate_slowly(asked)
        tail = await asked.registry.beside.run(_encoded, kind, obj)
    await chain.validate_outside(asked)
    if asked.waited:
        _still_wanted(asked)
    return tail or _encoded(kind, obj)


def _encoded(kind: Kind, obj: Object) -> bytes:
    tail = kind.encoding.tail(obj)
    require_bounded(obj, tail, None)
    return tail


def _require_valid(asked: Admission, causes: list[Cause]) -> None:
    if causes:
        raise invalid(asked.kind.resource.kind, asked.kind.resource.group, asked.name, causes)


def _still_wanted(asked: Admission) -> None:
    """Refuse what lost its namespace or its kind while others were asked; no revision protects what is not there yet."""
    assert asked.new is not None
    registry, kind = asked.registry, asked.kind
    check_namespace(registry, kind, asked.namespace, asked.new["metadata"])
    if kind.custom and registry.kinds.storage(kind.key) is None:
        raise not_found(kind.resource.plural, kind.resource.group, asked.name)


def _generate(asked: Admission) -> None:
    assert asked.new is not None
    meta = asked.new["metadata"]
    asked.name = meta["name"] = meta["generateName"][:MAX_GENERATED_PREFIX] + asked.registry.suffix()
    asked.generated = True


def place(kind: Kind, meta: dict[str, object], namespace: str) -> None:
    """Put the object where the URL says; ApiError 400 when it says itself that it belongs elsewhere."""
    given = meta.get("namespace")
    if given and given != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if kind.namespaced:
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)


def check_namespace(registry: Registry, kind: Kind, namespace: str, meta: dict[str, object]) -> None:
    """Refuse what would be made in a namespace that does not exist, or is going away."""
    if not kind.namespaced:
        return
    found = registry.store.get(Key("namespaces", "", namespace))
    if found is None:
        raise not_found("namespaces", "", namespace)
    if found.fields.get("status.phase") == "Terminating":
        name = str(meta.get("name") or meta.get("generateName") or "")
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        resource = kind.resource
        cause = Cause("metadata.namespace", "NamespaceTerminating", f"namespace {namespace} is being terminated").to_json()
        qualified = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        details = {"name": name, "group": resource.group, "kind": resource.plural, "causes": [cause]}
        details = {k: v for k, v in details.items() if v}
        raise ApiError(403, "Forbidden", f'{qualified} "{name}" is forbidden: {why}', details=details)


def _exists(registry: Registry, kind: Kind, key: Key) -> ApiError:
    """Return the 409, which says so when the other object is on its way out."""
    error = already_exists(kind.resource.plural, kind.resource.group, key.name)
    found = registry.store.get(key)
    if found is not None and b'"deletionTimestamp":"' in found.value:
        return ApiError(409, "AlreadyExists", f"object is being deleted: {error.message}", details=error.details)
    return error
