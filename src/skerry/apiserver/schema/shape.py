"""The shape of a kind as strategic merge and server-side apply see it: which list merges by which key.

Built on demand while a patch walks it, so kinds that nobody patches cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from skerry.apiserver.schema.facts import Facts, reference

Resolve = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True)
class Shape:
    """One value of a schema: its patch and list rules, and how to go on to its parts."""

    schema: Mapping[str, Any] = field(repr=False)
    rules: Mapping[str, Any] = field(repr=False)
    """What stands at the property that leads here; for a `$ref` the rules are beside it, not in the definition."""
    resolve: Resolve = field(repr=False)

    @property
    def strategies(self) -> frozenset[str]:
        """Return `merge`, `replace`, `retainKeys` as declared; empty when nothing is."""
        return frozenset(s for s in str(self.rules.get("x-kubernetes-patch-strategy", "")).split(",") if s)

    @property
    def merge_key(self) -> str:
        return str(self.rules.get("x-kubernetes-patch-merge-key", ""))

    @property
    def is_struct(self) -> bool:
        return "properties" in self.schema

    def field(self, name: str) -> Shape | None:
        """Return the shape of a field (or of a map's value); None when the schema does not say."""
        prop = self.schema.get("properties", {}).get(name)
        if prop is None:
            prop = self.schema.get("additionalProperties")
        return self._next(prop)

    @property
    def element(self) -> Shape | None:
        """Return the shape of a list's elements."""
        return self._next(self.schema.get("items"))

    def _next(self, prop: Any) -> Shape | None:
        if not isinstance(prop, dict):
            return None
        ref = reference(prop)
        return Shape(self.resolve(ref) if ref else prop, prop, self.resolve)


def shape_of_definition(facts: Facts, name: str) -> Shape:
    """Return the shape of a built-in kind; definitions are decoded when a walk first reaches them."""
    resolve = partial(_definition, facts)
    return Shape(resolve(name), {}, resolve)


@lru_cache(maxsize=512)
def _definition(facts: Facts, name: str) -> Mapping[str, Any]:
    """Return a definition, decoded once for all walks: whoever reads it does not alter it."""
    return facts.definition(name)


def shape_of_schema(schema: Mapping[str, Any]) -> Shape:
    """Return the shape of a structural schema (a CRD's): it has no references."""
    return Shape(schema, schema, lambda ref: {})
