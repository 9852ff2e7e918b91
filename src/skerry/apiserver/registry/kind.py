"""One served kind: its names, its verbs, and its schema, compiled when it is first needed.

Built-in kinds and custom ones differ in what stands in these fields, never in the path that a request takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from skerry.apiserver.patch import Type, type_of
from skerry.apiserver.registry.beside import DENSE
from skerry.apiserver.registry.encoding import Encoding
from skerry.apiserver.registry.view import View
from skerry.apiserver.schema import KindSchema, ServedResource
from skerry.apiserver.schema.builtin import OBJECT_META
from skerry.apiserver.schema.facts import FACTS
from skerry.apiserver.schema.resources import Subresource
from skerry.apiserver.schema.shape import shape_of_definition
from skerry.model.objects import Object
from skerry.model.resources import Resource

_COMPILED = (".apiextensions.k8s.io", ".admissionregistration.k8s.io")


@dataclass(frozen=True)
class Kind:
    """A collection that is served under one version.

    `key` names the collection in the store and in RBAC. `has_generation`: metadata.generation counts changes of intent.
    `selectable` are the field labels beyond name and namespace; `scale_paths` are JSON paths of a custom kind's scale.
    """

    served: ServedResource
    compile: Callable[[], KindSchema] = field(repr=False)
    has_generation: bool = False
    create_on_update: bool = False
    selectable: tuple[str, ...] = ()
    scale_paths: Mapping[str, str] = field(default_factory=dict)
    schema_revision: int = 0
    """Objects of a custom kind that are older than its CRD are completed when they are read."""
    version: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """A custom kind's entry in `spec.versions` of its CRD."""
    conversion: Mapping[str, Any] | None = field(default=None, repr=False)
    """Whom to ask for objects in another version (a clientConfig); None when only apiVersion differs between versions."""
    warning: str = ""
    """What everybody who uses a deprecated version is told."""
    view: View | None = field(default=None, repr=False)
    """Set when the objects are kept as another kind's, whose `key` this one then has."""
    kept_as: str = ""

    @cached_property
    def schema(self) -> KindSchema:
        return self.compile()

    @cached_property
    def type(self) -> Type:
        """Return the kind's type as server-side apply sees it."""
        return type_of(self.schema.shape, metadata=shape_of_definition(FACTS, OBJECT_META) if self.custom else None)

    @cached_property
    def empty(self) -> Object:
        """Return what an object is before anything is said of it; to be read only."""
        found: Object = {}
        if not self.custom:
            self.schema.prune_unknown(found)
        return found

    @cached_property
    def encoding(self) -> Encoding:
        return Encoding(self.resource.api_version, self.resource.kind)

    @cached_property
    def resource(self) -> Resource:
        return self.served.resource

    @cached_property
    def key(self) -> str:
        return self.kept_as or self.served.key

    @cached_property
    def subresources(self) -> Mapping[str, Subresource]:
        return {s.name: s for s in self.served.subresources}

    @cached_property
    def density(self) -> int:
        """Return how many times as long a byte takes as one of other kinds: patterns and CEL are compiled when they are judged."""
        return DENSE if self.key.endswith(_COMPILED) else 1

    @cached_property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @cached_property
    def namespaced(self) -> bool:
        return self.served.namespaced

    @cached_property
    def custom(self) -> bool:
        return self.served.custom

    @cached_property
    def verbs(self) -> frozenset[str]:
        return frozenset(self.served.verbs)

    @property
    def list_kind(self) -> str:
        return self.served.list_kind
