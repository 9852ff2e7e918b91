"""DELETE: at once, or marked and held back by finalizers or by the grace of a Pod that runs.

What a real API server removes at once is removed at once here; owners' dependents are the garbage collector's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.crd_names import CLEANUP
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import ListOptions, WriteOptions
from skerry.apiserver.registry.read import Listing, list_
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.store import ConflictError, MissingError, Record
from skerry.model.errors import ApiError, bad_request, conflict, forbidden_field, invalid, not_supported
from skerry.model.objects import Object
from skerry.model.times import rfc3339

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
DEFAULT_POD_GRACE_S = 30
MAX_TRIES = 10
COMMIT_S = 5.0
MAX_AT_ONCE = 200
"""Deletions of a collection that wait for one commit together."""
MAX_BYTES_AT_ONCE = 2 << 20
MAX_WARNINGS = 20
"""Of a collection: a client is told no more."""
_ANSWER_WITH_OBJECT = frozenset(("pods", "namespaces"))


class DeleteOptions(msgspec.Struct, frozen=True):
    """How to delete. `grace_s` None means the object's own; preconditions are "" when not given."""

    grace_s: int | None = None
    propagation: str = ""
    uid: str = ""
    revision: str = ""
    dry_run: bool = False


def delete_options(raw: dict[str, Any], query: dict[str, str]) -> DeleteOptions:
    """Read DeleteOptions from the body, else from the query; ApiError 422 for what does not go together."""
    conditions = raw.get("preconditions") or {}
    orphan = raw.get("orphanDependents")
    propagation = raw.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if propagation and orphan is not None:
        cause = forbidden_field("propagationPolicy", "orphanDependents and deletionPropagation cannot be both set")
        raise invalid("DeleteOptions", "meta.k8s.io", "", [cause])
    if propagation not in ("", "Foreground", "Background", "Orphan"):
        supported = ["Foreground", "Background", "Orphan", "nil"]
        raise invalid("DeleteOptions", "meta.k8s.io", "", [not_supported("propagationPolicy", propagation, supported)])
    dry_run = raw.get("dryRun") or []
    odd = [v for v in dry_run if v != "All"] if isinstance(dry_run, list) else [dry_run]
    if odd:
        raise invalid("DeleteOptions", "meta.k8s.io", "", [not_supported("dryRun", odd[0], ["All"])])
    grace = raw.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    try:
        grace_s = None if grace is None else int(grace)
    except (TypeError, ValueError):
        raise bad_request(f'strconv.ParseInt: parsing "{str(grace)[:64]}": invalid syntax') from None
    propagation = propagation or ("Orphan" if orphan else "")
    uid, revision = str(conditions.get("uid") or ""), str(conditions.get("resourceVersion") or "")
    return DeleteOptions(grace_s, propagation, uid, revision, bool(dry_run))


async def delete(
    registry: Registry, kind: Kind, namespace: str, name: str, asked: DeleteOptions, options: WriteOptions
) -> tuple[bool, bytes]:
    """Delete one object, or begin to; return whether it is gone, and its last bytes (or the marked object's)."""
    for _ in range(MAX_TRIES):
        record = registry.find(kind, namespace, name)
        value = await registry.read(kind, record)
        old: Object = decode(value)
        _check(kind, name, record, old, asked)
        leaving = Admission("DELETE", kind, namespace, name, None, old, options, registry, deletion=_told(kind, old, asked))
        await registry.chain.mutate_outside(leaving)
        registry.chain.validate(leaving)
        await registry.chain.validate_outside(leaving)
        try:
            return await _attempt(registry, kind, record, value, old, asked, dry_run=options.dry_run)
        except (ConflictError, MissingError):
            await registry.superseded(record, COMMIT_S)
    raise conflict(kind.resource.plural, kind.resource.group, name)


def _check(kind: Kind, name: str, record: Record, old: Object, asked: DeleteOptions) -> None:
    resource, uid = kind.resource, old["metadata"].get("uid")
    if asked.uid and asked.uid != uid:
        why = f"Precondition failed: UID in precondition: {asked.uid}, UID in object meta: {uid}"
        raise conflict(resource.plural, resource.group, name, why)
    if asked.revision and asked.revision != str(record.revision):
        why = f"Precondition failed: ResourceVersion in precondition: {asked.revision}, ResourceVersion in object meta: {record.revision}"
        raise conflict(resource.plural, resource.group, name, why)


async def _attempt(
    registry: Registry, kind: Kind, record: Record, value: bytes, old: Object, asked: DeleteOptions, *, dry_run: bool
) -> tuple[bool, bytes]:
    new = marked(kind, old, asked, now=registry.now())
    if new is None:
        last = _ended(kind, old, now=registry.now())
        tail = kind.encoding.tail(last) if last else kind.encoding.tail_of(value)
        if not dry_run:
            await registry.store.delete(record.key, await registry.kept(kind, tail), expected=record.revision, marked=last is not None)
        return True, kind.encoding.at(tail, record.revision) if last else value
    tail = kind.encoding.tail(new)
    if tail == kind.encoding.tail_of(value):
        return False, value
    if dry_run:
        return False, kind.encoding.at(tail, record.revision)
    stored = await registry.store.update(record.key, await registry.kept(kind, tail), expected=record.revision)
    return False, await registry.read(kind, stored)


def marked(kind: Kind, old: Object, asked: DeleteOptions, *, now: Any) -> Object | None:
    """Return the object marked as being deleted, or None when it can go at once. Pure."""
    meta = dict(old["metadata"])
    finalizers = _finalizers(meta, asked)
    if kind.key == CRDS and CLEANUP not in finalizers:
        finalizers.append(CLEANUP)
    grace = _grace(kind, old, asked)
    if not finalizers and not grace and not held_by_spec(kind, old):
        return None
    already = meta.get("deletionTimestamp")
    if not already or grace < int(meta.get("deletionGracePeriodSeconds") or 0):
        meta["deletionTimestamp"] = rfc3339(now + timedelta(seconds=grace))
        meta["deletionGracePeriodSeconds"] = grace
        if not already and kind.has_generation and kind.key != CRDS:
            meta["generation"] = int(meta.get("generation") or 0) + 1
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    new = {**old, "metadata": meta}
    if kind.key in ("namespaces", CRDS):
        meta.pop("deletionGracePeriodSeconds", None)
    if kind.key == "namespaces":
        new["status"] = {**(old.get("status") or {}), "phase": "Terminating"}
    return new


def _ended(kind: Kind, old: Object, *, now: Any) -> Object | None:
    """Return a Pod that goes at once as it is told of before it goes: marked, without grace. None where nothing is told. Pure."""
    meta = old["metadata"]
    if kind.key != "pods" or (meta.get("deletionTimestamp") and not meta.get("deletionGracePeriodSeconds")):
        return None
    return {**old, "metadata": {**meta, "deletionTimestamp": rfc3339(now), "deletionGracePeriodSeconds": 0}}


def held_by_spec(kind: Kind, obj: Object) -> bool:
    """Say whether a Namespace still has the finalizers of its spec; no other kind has such."""
    return kind.key == "namespaces" and bool((obj.get("spec") or {}).get("finalizers"))


def _finalizers(meta: Object, asked: DeleteOptions) -> list[str]:
    """Return the finalizers with the two of propagation set or removed as asked."""
    found = list(meta.get("finalizers") or ())
    if not asked.propagation:
        return found
    found = [f for f in found if f not in (ORPHAN, FOREGROUND)]
    if asked.propagation == "Orphan":
        found.append(ORPHAN)
    elif asked.propagation == "Foreground":
        found.append(FOREGROUND)
    return found


def _grace(kind: Kind, old: Object, asked: DeleteOptions) -> int:
    """Return the seconds that the object still gets: only Pods that a node has, and that have not ended, get any."""
    if kind.key != "pods":
        return 0
    spec = old.get("spec") or {}
    if not spec.get("nodeName") or (old.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    if asked.grace_s is not None:
        return max(asked.grace_s, 0) if asked.grace_s >= 0 else 1
    return int(spec.get("terminationGracePeriodSeconds", DEFAULT_POD_GRACE_S))


def _told(kind: Kind, old: Object, asked: DeleteOptions) -> DeleteOptions:
    """Return how to delete as others are told: with the grace that a Pod really gets."""
    return replace(asked, grace_s=_grace(kind, old, asked)) if kind.key == "pods" else asked


def answer(kind: Kind, gone: bool, name: str, value: bytes) -> bytes:
    """Return what DELETE answers: the object while it lingers (and for Pods and Namespaces always), else a Status."""
    if not gone or kind.key in _ANSWER_WITH_OBJECT:
        return value
    uid = decode(value)["metadata"].get("uid")
    details = {"name": name, "group": kind.resource.group, "kind": kind.resource.plural, "uid": uid}
    details = {k: v for k, v in details.items() if v}
    return dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})


async def collection(
    registry: Registry, kind: Kind, namespace: str, selection: ListOptions, asked: DeleteOptions, options: WriteOptions
) -> Listing:
    """Delete every object of a selection; return what was deleted, as it was."""
    listing = await list_(registry, kind, namespace, selection)
    for chunk in _together(listing.records):
        await asyncio.gather(*[_one(registry, kind, record, asked, options) for record in chunk])
        options.warnings[:] = list(dict.fromkeys(options.warnings))[:MAX_WARNINGS]
    return Listing(listing.records, registry.store.revision)


def _together(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Yield records in groups that are not too many, nor too large to be read in one turn of the loop. Pure."""
    start = size = 0
    for i, record in enumerate(records):
        size += len(record.value)
        if i > start and (i - start >= MAX_AT_ONCE or size > MAX_BYTES_AT_ONCE):
            yield records[start:i]
            start, size = i, len(record.value)
    if records:
        yield records[start:]


async def _one(registry: Registry, kind: Kind, record: Record, asked: DeleteOptions, options: WriteOptions) -> None:
    try:
        await delete(registry, kind, record.key.namespace, record.key.name, asked, options)
    except ApiError as error:
        if error.code != 404:
            raise
