"""Objects as somebody outside sees them: in the version that they asked for, a Scale as a Scale, and before creation without what
the server has not given yet."""

from __future__ import annotations

import contextlib
from typing import Any

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.below import KINDS
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.scale import to_scale
from skerry.apiserver.webhooks.conversion import Conversions
from skerry.apiserver.webhooks.matching import Place
from skerry.model.errors import ApiError
from skerry.model.objects import Object

SCALE = "scale"


def places_of(registry: Registry, asked: Admission) -> tuple[Place, dict[Place, Kind]]:
    """Return what is written, and the same objects in the other versions in which they are served."""
    own, found = asked.kind, dict[Place, Kind]()
    for kind in (own, *(k for k in registry.kinds if k.key == own.key)):
        r = kind.resource
        found.setdefault(Place(r.group, r.version, r.plural, asked.subresource, asked.operation, own.namespaced), kind)
    return next(iter(found)), found


def as_written(asked: Admission, obj: Object | None) -> Object | None:
    """Return what this request writes: the Scale of an object where that is its subresource, else the object, at its revision."""
    if obj is None:
        return None
    if obj is asked.new and asked.old is not None and "resourceVersion" not in obj["metadata"]:
        revision = asked.old["metadata"].get("resourceVersion")
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": revision}}
    if asked.subresource != SCALE:
        return obj
    with contextlib.suppress(ApiError):  # replicas that are not set yet
        return to_scale(asked.kind, obj)
    return obj


async def shown(conversions: Conversions, asked: Admission, obj: Object | None, kind: Kind, *, first: bool = False) -> Object | None:
    """Return *obj* in the version of *kind*; with *first*, as it was before the server gave it a name and an identity."""
    written = as_written(asked, obj)
    if written is None or is_of_another_kind(asked):
        return written
    found = await in_version(conversions, asked.kind, written, kind)
    unknown = not_given_yet(asked) if first else ()
    if unknown:
        found = {**found, "metadata": {k: v for k, v in found["metadata"].items() if k not in unknown}}
    return found


def is_of_another_kind(asked: Admission) -> bool:
    """Say whether what is written on this subresource is an object of a kind of its own."""
    return asked.subresource == SCALE or (asked.kind.key, asked.subresource) in KINDS


def is_carried_out(asked: Admission) -> bool:
    """Say whether this is the change of a Pod by which a Binding is carried out, after that was judged."""
    return asked.subresource == "binding" and asked.operation == "UPDATE"


async def in_version(conversions: Conversions, own: Kind, obj: Object, kind: Kind) -> Object:
    """Return an object of *own* in the version of *kind*, asking the webhook of a kind that has one."""
    if kind is own or own.conversion is None or kind.resource.version == own.resource.version:
        return renamed(own, obj, kind)
    return await conversions.one(own, obj, kind.resource.api_version)


def renamed(own: Kind, obj: Object, kind: Kind) -> Object:
    """Return an object of *own* under the name of *kind*, where nobody else converts it. Pure."""
    if own.view is not kind.view:
        view = own.view or kind.view
        assert view is not None
        return view.turned(obj, kind.resource.api_version)
    return {**obj, "apiVersion": kind.resource.api_version, "kind": kind.resource.kind}


def not_given_yet(asked: Admission) -> tuple[str, ...]:
    if asked.operation != "CREATE":
        return ()
    return ("uid", "creationTimestamp", "name") if asked.generated else ("uid", "creationTimestamp")


def metadata_of(patched: Any) -> Any:
    """Return the metadata of what a patch left, None when that is no object."""
    meta = patched.get("metadata") if isinstance(patched, dict) else None
    return meta if isinstance(meta, dict) else None
