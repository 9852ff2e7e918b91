"""Objects as somebody outside sees them: in the version that they asked for, a Scale as a Scale, and before creation without what
the server has not given yet."""

from __future__ import annotations

import contextlib
from typing import Any

from skerry.apiserver.registry.admission import Admission
from skerry.apiserver.registry.below import KINDS
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.scale import to_scale
from skerry.apiserver.webhooks.conversion import Conversions
from skerry.model.errors import ApiError
from skerry.model.objects import Object

SCALE = "scale"


def as_written(asked: Admission, obj: Object | None) -> Object | None:
    """Return what this request writes: the Scale of an object where that is its subresource, else the object."""
    if obj is None or asked.subresource != SCALE:
        return obj
    with contextlib.suppress(ApiError):  # replicas that are not set yet
        return to_scale(asked.kind, obj)
    return obj


async def shown(conversions: Conversions, asked: Admission, obj: Object | None, kind: Kind, *, first: bool = False) -> Object | None:
    """Return *obj* in the version of *kind*; with *first*, as it was before the server gave it a name and an identity."""
    if obj is None or asked.subresource == SCALE or _is_below(asked):
        return as_written(asked, obj)
    found = await in_version(conversions, asked.kind, obj, kind)
    unknown = not_given_yet(asked) if first else ()
    if unknown:
        found = {**found, "metadata": {k: v for k, v in found["metadata"].items() if k not in unknown}}
    return found


def _is_below(asked: Admission) -> bool:
    return asked.kind.key == "pods" and asked.subresource in KINDS


def is_carried_out(asked: Admission) -> bool:
    """Say whether this is the change of a Pod by which a Binding is carried out, after that was judged."""
    return asked.subresource == "binding" and asked.operation == "UPDATE"


async def in_version(conversions: Conversions, own: Kind, obj: Object, kind: Kind) -> Object:
    """Return an object of *own* in the version of *kind*, asking the webhook of a kind that has one."""
    if kind is own or kind.resource.version == own.resource.version:
        return {**obj, "apiVersion": own.resource.api_version, "kind": own.resource.kind}
    if own.conversion is None:
        return {**obj, "apiVersion": kind.resource.api_version, "kind": kind.resource.kind}
    return await conversions.one(own, obj, kind.resource.api_version)


def not_given_yet(asked: Admission) -> tuple[str, ...]:
    if asked.operation != "CREATE":
        return ()
    return ("uid", "creationTimestamp", "name") if asked.generated else ("uid", "creationTimestamp")


def metadata_of(patched: Any) -> Any:
    """Return the metadata of what a patch left, None when that is no object."""
    meta = patched.get("metadata") if isinstance(patched, dict) else None
    return meta if isinstance(meta, dict) else None
