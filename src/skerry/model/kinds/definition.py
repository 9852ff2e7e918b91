"""How a kind of ours is defined: its names, its schema, its columns and its admission rule, in one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from skerry.model.errors import Cause
from skerry.model.objects import Object
from skerry.model.resources import Resource


class Lookup(Protocol):
    """Reads another object while one is admitted; None when it does not exist."""

    def __call__(self, resource: Resource, namespace: str, name: str) -> Object | None: ...


Admit = Callable[[Object, Object | None, Lookup], list[Cause]]
"""Judge the new object (and the old one on update); an empty list admits it. Pure: it only looks things up."""

Default = Callable[[Object, Object | None, Lookup], None]
"""Complete the new object in place before it is validated."""


class Column(msgspec.Struct, frozen=True):
    """A column of `kubectl get`; `path` is a JSONPath, `wide` shows it with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    description: str = ""


class Definition(msgspec.Struct, frozen=True):
    """One custom kind; `schema` is its structural OpenAPI v3 schema (the whole object)."""

    resource: Resource
    singular: str
    schema: Mapping[str, Any]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    status: bool = True
    selectable_fields: tuple[str, ...] = ()
    admit: Admit | None = None
    default: Default | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)

    def to_crd(self) -> Object:
        """Return the CustomResourceDefinition (apiextensions.k8s.io/v1) that `deploy/crds/` carries."""
        r = self.resource
        version: dict[str, Any] = {
            "name": r.version,
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": dict(self.schema)},
        }
        if self.status:
            version["subresources"] = {"status": {}}
        if self.columns:
            version["additionalPrinterColumns"] = [_column(c) for c in self.columns]
        if self.selectable_fields:
            version["selectableFields"] = [{"jsonPath": p} for p in self.selectable_fields]
        names: dict[str, Any] = {"plural": r.plural, "singular": self.singular, "kind": r.kind, "listKind": f"{r.kind}List"}
        if self.short_names:
            names["shortNames"] = list(self.short_names)
        if self.categories:
            names["categories"] = list(self.categories)
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": r.key, **({"labels": dict(self.labels)} if self.labels else {})},
            "spec": {
                "group": r.group,
                "names": names,
                "scope": "Namespaced" if r.namespaced else "Cluster",
                "versions": [version],
            },
        }


def _column(c: Column) -> dict[str, Any]:
    found: dict[str, Any] = {"name": c.name, "type": c.type, "jsonPath": c.path}
    if c.description:
        found["description"] = c.description
    if c.wide:
        found["priority"] = 1
    return found


def conditions_schema() -> dict[str, Any]:
    """Return the schema of `status.conditions` (metav1.Condition, with `reason` and `message` always allowed)."""
    return {
        "type": "array",
        "description": "What is so now, one entry a type.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string", "maxLength": 1024},
                "message": {"type": "string", "maxLength": 32768},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            },
        },
    }
