"""Field ownership of every write: whose name it goes under, and what becomes of `metadata.managedFields`.

What is compared is the object as the client wants it, complete with defaults, before anybody else mutates it: as in
kube-apiserver, what admission adds is nobody's.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import Any

from skerry.apiserver.patch import Entry, Fields, Type, Writer, has, is_reset, read_entries, updated
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import MAX_MANAGER, WriteOptions
from skerry.apiserver.registry.registry import Registry
from skerry.model.objects import Object

INTERNAL = "skerry"
"""The manager of what the server and its controllers write themselves."""
NODE = "skerry-node"
"""The manager of what nodes write through their own connection."""


class Ownership(Enum):
    """What a change says about managedFields."""

    TRACKED = auto()
    """Nothing: what it changes becomes the writer's."""
    REPLACED = auto()
    """Perhaps something: a body that replaces the object."""
    PATCHED = auto()
    """Something: a patch that mentions managedFields."""
    APPLIED = auto()
    """All of it: a server-side apply has worked them out."""
    KEPT = auto()
    """They stay as they are, as with a Binding."""


SHOWN = frozenset((Ownership.PATCHED, Ownership.APPLIED))
"""Changes whose transformation sees managedFields."""

_STATUS: Fields = {"f:status": {}}
_SPEC: Fields = {"f:spec": {}}
_SPEC_AND_LINKS: Fields = {**_SPEC, "f:metadata": {"f:finalizers": {}, "f:labels": {}, "f:ownerReferences": {}}}
_NOTHING: Fields = {}


@lru_cache(maxsize=1024)
def manager_of(agent: str) -> str:
    """Return the manager that a User-Agent stands for: what is before its first slash."""
    name = "".join(c for c in agent.partition("/")[0] if c.isprintable())
    while len(name.encode()) > MAX_MANAGER:
        name = name[:-1]
    return name


def writer_of(registry: Registry, kind: Kind, options: WriteOptions, subresource: str = "") -> Writer:
    """Return who writes."""
    manager = options.manager or (INTERNAL if options.internal else manager_of(options.agent)) or (NODE if options.user.node else "")
    return Writer(manager, kind.resource.api_version, registry.timestamp(), subresource, _wiped(kind, subresource))


def _wiped(kind: Kind, subresource: str) -> Fields:
    """Return what writes of this (sub)resource cannot change, whatever their body says."""
    if subresource == "status":
        return _SPEC if kind.custom else _SPEC_AND_LINKS
    return _STATUS if kind.has_status and subresource != "scale" else _NOTHING


class Types:
    """The type of one kind under every version in which it is served."""

    __slots__ = ("_kind", "_registry")

    def __init__(self, registry: Registry, kind: Kind) -> None:
        self._registry, self._kind = registry, kind

    def __call__(self, api_version: str) -> Type | None:
        resource = self._kind.resource
        if api_version == resource.api_version:
            return self._kind.type
        group, _, version = api_version.rpartition("/")
        other = self._registry.kinds.find(group, version, resource.plural)
        return None if other is None or other.key != self._kind.key else other.type


def own_new(registry: Registry, kind: Kind, obj: Object, options: WriteOptions) -> None:
    """Give every field of a new object to its creator; what the body says of managers has no field left to own."""
    writer = writer_of(registry, kind, options)
    entries = updated([], writer, kind.empty, obj, Types(registry, kind))
    if entries:
        obj["metadata"]["managedFields"] = entries


def still_readable(new: Object, entries: list[Entry] | None, options: WriteOptions) -> None:
    """Put *entries* back where somebody outside has left managedFields that cannot be read."""
    meta = new["metadata"]
    given = meta.get("managedFields")
    if given == entries or not given:
        return
    found = read_entries(given)
    if found is None:
        cause = "this could be caused by an outdated mutating admission controller"
        options.warnings.append(f".metadata.managedFields was in an invalid state after admission; {cause}")
    meta["managedFields"] = entries or [] if found is None else found
    if not meta["managedFields"]:
        del meta["managedFields"]


def _replicas_owned(kind: Kind, entries: list[Entry]) -> bool:
    path = kind.scale_paths.get("specReplicasPath", ".spec.replicas") if kind.custom else ".spec.replicas"
    steps = tuple(f"f:{name}" for name in path.lstrip(".").split("."))
    return any(has(entry["fieldsV1"], steps) for entry in entries)


def own_changed(
    registry: Registry, kind: Kind, old: Object, new: Object, stored: list[Entry], given: Any, how: Ownership, writer: Writer
) -> list[Entry]:
    """Return the entries of the changed object. *given* is what the change's result says of them; *stored* are the old ones."""
    if how is Ownership.APPLIED:
        return given or []
    if how is Ownership.KEPT:
        return stored
    entries = stored
    if how is not Ownership.TRACKED and not writer.subresource and given is not stored:
        if is_reset(given) or (how is Ownership.PATCHED and not given):
            return []
        if given != stored:
            entries = read_entries(given) or stored
    if not entries:
        return entries  # nobody is tracked on an object that has no managers, until somebody applies it
    if writer.subresource == "scale" and not _replicas_owned(kind, entries):
        return entries  # a Scale has the managers of the replicas alone, and when there are none nobody is tracked
    return updated(entries, writer, old, new, Types(registry, kind))
