"""Which built-in resources are served, from Kubernetes' discovery as data: the subresources belong to their resource."""

from __future__ import annotations

from typing import Any

import msgspec

from skerry.apiserver.schema.facts import Facts
from skerry.model.objects import Object
from skerry.model.resources import Resource


class Subresource(msgspec.Struct, frozen=True):
    """`pods/log` is Subresource("log", "", "v1", "Pod", ("get",)): group, version and kind of what it answers or takes."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


class ServedResource(msgspec.Struct, frozen=True):
    """One collection in one version, as discovery shows it."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    storage_hash: str = ""
    custom: bool = False
    list_kind: str = msgspec.field(default="")

    @property
    def resource(self) -> Resource:
        return Resource(self.group, self.version, self.plural, self.kind, self.namespaced)

    @property
    def key(self) -> str:
        """Return `plural.group`, or the bare plural of the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def subresource(self, name: str) -> Subresource | None:
        return next((s for s in self.subresources if s.name == name), None)


_LATER = frozenset(("pods/resize",))
"""What the published table has of a later release than 1.32."""

_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
"""In the order in which Kubernetes lists them for custom resources."""


def builtin_resources(facts: Facts) -> list[ServedResource]:
    """Return every built-in resource, group by group."""
    found: list[ServedResource] = []
    for group_version, entries in facts.discovery().items():
        entries = [e for e in entries if e["name"] not in _LATER]
        group, _, version = group_version.rpartition("/")
        nested: dict[str, list[Subresource]] = {}
        for entry in entries:
            parent, slash, name = entry["name"].partition("/")
            if slash:
                nested.setdefault(parent, []).append(_subresource(entry, name, group, version))
        found.extend(_served(e, group, version, nested) for e in entries if "/" not in e["name"])
    return found


def _served(entry: dict[str, Any], group: str, version: str, nested: dict[str, list[Subresource]]) -> ServedResource:
    return ServedResource(
        group=group,
        version=version,
        plural=entry["name"],
        singular=entry.get("singularName", ""),
        kind=entry["kind"],
        namespaced=bool(entry.get("namespaced")),
        verbs=tuple(entry["verbs"]),
        short_names=tuple(entry.get("shortNames", ())),
        categories=tuple(entry.get("categories", ())),
        subresources=tuple(nested.get(entry["name"], ())),
        storage_hash=entry.get("storageVersionHash", ""),
        list_kind=f"{entry['kind']}List",
    )


def _subresource(entry: dict[str, Any], name: str, group: str, version: str) -> Subresource:
    return Subresource(name, entry.get("group", group), entry.get("version", version), entry["kind"], tuple(entry["verbs"]))


def custom_resources(crd: Object) -> list[ServedResource]:
    """Return what a CRD serves, one a served version, under the names that were accepted."""
    spec = crd["spec"]
    names = {**spec["names"], **{k: v for k, v in ((crd.get("status") or {}).get("acceptedNames") or {}).items() if v}}
    return [_custom(spec, names, v) for v in spec["versions"] if v.get("served")]


def _custom(spec: dict[str, Any], names: dict[str, Any], version: dict[str, Any]) -> ServedResource:
    subresources = []
    declared = version.get("subresources") or {}
    if "status" in declared:
        subresources.append(Subresource("status", spec["group"], version["name"], names["kind"], ("get", "patch", "update")))
    if "scale" in declared:
        subresources.append(Subresource("scale", "autoscaling", "v1", "Scale", ("get", "patch", "update")))
    return ServedResource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        namespaced=spec.get("scope") == "Namespaced",
        verbs=_CUSTOM_VERBS,
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(subresources),
        custom=True,
        list_kind=names.get("listKind") or f"{names['kind']}List",
    )
