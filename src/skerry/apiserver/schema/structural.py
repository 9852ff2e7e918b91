"""Custom kinds: a CRD's structural schema compiled to three passes over an object: prune, default, validate.

The rules are those of apiextensions (structural pruning, defaulting, the wording of go-openapi's validator). A part of a schema
that has nothing to do for a pass compiles to None, and the pass does not go there. `x-kubernetes-validations` (CEL) stand in
`Passes.rules`; the engine is only loaded for a schema that has such.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from skerry.apiserver.schema.constraints import Validate
from skerry.apiserver.schema.paths import Path
from skerry.apiserver.schema.scalars import Normalise
from skerry.apiserver.schema.values import compile_validation
from skerry.model.errors import Cause
from skerry.model.objects import Object

Schema = Mapping[str, Any]
Prune = Callable[[Any, Path, list[Path]], None]
Default = Callable[[Any], None]
Rules = Callable[[Object, Object | None], list[Cause]]

MAX_DEPTH = 64
_META_FIELDS = frozenset(("apiVersion", "kind", "metadata"))


class Passes(msgspec.Struct, frozen=True):
    """The compiled passes; each is None when the schema has nothing for it. `rules` are the CEL rules, given the object before.

    `status` judges the status alone, as its subresource does: paths in its messages begin there.
    """

    prune: Prune | None
    default: Default | None
    validate: Validate | None
    status: Validate | None
    rules: Rules | None


def compile_schema(schema: Schema, *, metadata: Normalise) -> Passes:
    """Compile the schema of a whole object; *metadata* normalises ObjectMeta (of the root and of embedded resources)."""
    return Passes(
        prune=_prune(schema, metadata, root=True),
        default=_default(schema),
        validate=compile_validation(schema, root=True),
        status=compile_validation((schema.get("properties") or {}).get("status") or {}),
        rules=_rules(schema) if has_rules(schema) else None,
    )


def _rules(schema: Schema) -> Rules | None:
    from skerry.apiserver.cel.rules import check_rules, compile_rules

    compiled = compile_rules(schema)
    return None if compiled is None else lambda obj, old: check_rules(compiled, obj, old)


def has_rules(schema: Any) -> bool:
    """Return whether `x-kubernetes-validations` stands anywhere in the schema."""
    if isinstance(schema, Mapping):
        return (
            bool(schema.get("x-kubernetes-validations"))
            or any(has_rules(schema.get(k)) for k in ("items", "additionalProperties"))
            or any(has_rules(p) for p in (schema.get("properties") or {}).values())
        )
    return False


def prune_default(schema: Schema, value: Any) -> bool:
    """Prune *value* as a field of this schema, and return whether there was anything to prune."""
    prune, unknown = _prune(schema, lambda *_: None), list[Path]()
    if prune is not None:
        prune(value, None, unknown)
    return bool(unknown)


def _prune(schema: Schema, metadata: Normalise, *, root: bool = False) -> Prune | None:
    embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
    preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if "items" in schema:
        return _prune_items(_prune(schema["items"], metadata))
    extra = schema.get("additionalProperties")
    if schema.get("type") not in ("object", None) or schema.get("x-kubernetes-int-or-string"):
        return None
    properties = schema.get("properties") or {}
    if extra is not None and not properties and not embedded:
        return None if isinstance(extra, bool) else _prune_values(_prune(extra, metadata))
    if schema.get("type") is None and not properties and preserve and not embedded:
        return None
    known = frozenset(properties) | (_META_FIELDS if embedded else frozenset())
    deeper = {k: p for k, s in properties.items() if (p := _prune(s, metadata)) is not None and not (embedded and k in _META_FIELDS)}
    if preserve and not deeper and not embedded:
        return None
    return _prune_object(known, deeper, metadata if embedded else None, preserve=preserve or extra is not None)


def _prune_object(known: frozenset[str], deeper: dict[str, Prune], metadata: Normalise | None, *, preserve: bool) -> Prune:
    def prune(value: Any, path: Path, unknown: list[Path]) -> None:
        if value.__class__ is not dict:
            return
        if not preserve and not known.issuperset(value):
            for k in [k for k in value if k not in known]:
                unknown.append((path, k))
                del value[k]
        if metadata is not None and value.get("metadata").__class__ is dict:
            metadata(value["metadata"], path, "metadata", unknown)
        for k, go in deeper.items():
            v = value.get(k)
            if v is not None:
                go(v, (path, k), unknown)

    return prune


def _prune_items(element: Prune | None) -> Prune | None:
    if element is None:
        return None

    def prune(value: Any, path: Path, unknown: list[Path]) -> None:
        if value.__class__ is list:
            for i, v in enumerate(value):
                element(v, (path, i), unknown)
        elif value.__class__ is dict:  # refused later; until then, none of its fields is known
            unknown += [(path, k) for k in value]
            value.clear()

    return prune


def _prune_values(element: Prune | None) -> Prune | None:
    if element is None:
        return None

    def prune(value: Any, path: Path, unknown: list[Path]) -> None:
        if value.__class__ is dict:
            for k, v in value.items():
                element(v, (path, k), unknown)

    return prune


def _default(schema: Schema) -> Default | None:
    """Defaults, and nulls of fields that may not be null: those are dropped, then defaulted."""
    if "items" in schema:
        element = _default(schema["items"])
        return _default_each(element, list) if element else None
    extra = schema.get("additionalProperties")
    properties = schema.get("properties") or {}
    if isinstance(extra, Mapping) and not properties:
        element = _default(extra)
        return _default_each(element, dict) if element else None
    if not properties:
        return None
    defaults = {k: copy.deepcopy(s["default"]) for k, s in properties.items() if s.get("default") is not None}
    not_null = frozenset(k for k, s in properties.items() if not s.get("nullable") and not _is_open(s))
    deeper = {k: d for k, s in properties.items() if (d := _default(s)) is not None}
    return _default_object(defaults, not_null, deeper)


def _is_open(schema: Schema) -> bool:
    return not schema.get("type") and not schema.get("x-kubernetes-int-or-string")


def _default_object(defaults: dict[str, Any], not_null: frozenset[str], deeper: dict[str, Default]) -> Default:
    plain = all(not isinstance(v, (dict, list)) for v in defaults.values())

    def default(value: Any) -> None:
        if value.__class__ is not dict:
            return
        if None in value.values():
            for k in [k for k, v in value.items() if v is None and k in not_null]:
                del value[k]
        for k, d in defaults.items():
            if k not in value:
                value[k] = d if plain else copy.deepcopy(d)
        for k, go in deeper.items():
            v = value.get(k)
            if v is not None:
                go(v)

    return default


def _default_each(element: Default, kind: type) -> Default:
    def default(value: Any) -> None:
        if value.__class__ is kind:
            each: Any = value.values() if isinstance(value, dict) else value
            for v in each:
                element(v)

    return default
