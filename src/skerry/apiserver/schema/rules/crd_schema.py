"""The schemas of CustomResourceDefinitions: structural, complete, and with defaults that they allow themselves. Pure.

Source: apiextensions-apiserver/pkg/apiserver/schema (validation.go, complete.go, defaulting/validation.go) and
pkg/apis/apiextensions/validation of Kubernetes 1.32. A walk is iterative and ends at `MAX_DEPTH`: the schema is a stranger's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from skerry.apiserver.schema.constraints import go_value
from skerry.apiserver.schema.patterns import PatternError, compile_pattern
from skerry.apiserver.schema.rules.common import Causes, Map, go_invalid
from skerry.apiserver.schema.structural import MAX_DEPTH, has_rules, prune_default
from skerry.apiserver.schema.values import compile_validation
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_FORBIDDEN_KEYWORDS = ("$ref", "definitions", "dependencies", "id", "patternProperties", "additionalItems")
_META = ("apiVersion", "kind", "metadata")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_BRANCH_FORBIDDEN = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
_ROOT_METADATA = "must not specify anything other than name and generateName, but metadata is implicitly specified"
_EMBEDDED_EMPTY = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
_KEY_NEEDED = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"


def crd_schema(schema: Map, at: str, causes: Causes) -> None:
    """Check the schema of one version; defaults and rules only when its structure is right."""
    before = len(causes)
    for node, path, depth in _walk(schema, at):
        if depth > MAX_DEPTH:
            causes.append(forbidden_field(path, f"a schema may be nested {MAX_DEPTH} deep at most"))
            return
        _node(node, path, causes, root=path == at)
    if len(causes) > before:
        return
    for node, path, _ in _walk(schema, at):
        _default(node, path, causes, top=_top_level_meta(path, at))
    if has_rules(schema):
        from skerry.apiserver.cel.crd_rules import rule_causes

        causes += rule_causes(schema, at, root_at=at)


def _walk(schema: Map, at: str) -> Iterator[tuple[Map, str, int]]:
    """Yield every structural part of a schema with its path and depth; not the branches of allOf, anyOf, oneOf, not."""
    waiting: list[tuple[Any, str, int]] = [(schema, at, 1)]
    while waiting:
        node, path, depth = waiting.pop()
        if not isinstance(node, dict):
            continue
        yield node, path, depth
        if depth > MAX_DEPTH:
            return
        for name, inner in sorted((node.get("properties") or {}).items(), reverse=True):
            waiting.append((inner, f"{path}.properties[{name}]", depth + 1))
        waiting += [(node.get(k), f"{path}.{k}", depth + 1) for k in ("items", "additionalProperties")]


def _node(node: Map, at: str, causes: Causes, *, root: bool) -> None:
    _type(node, at, causes, root=root)
    if node.get("type") == "array" and "items" not in node:
        causes.append(required(f"{at}.items", "must be specified"))
    if isinstance(node.get("items"), list):
        causes.append(forbidden_field(f"{at}.items", "items must be a schema object and not an array"))
    _additional(node, at, causes, root=root)
    if node.get("uniqueItems"):
        causes.append(
            forbidden_field(f"{at}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")
        )
    causes.extend(forbidden_field(f"{at}.{k}", f"{k} is not supported") for k in _FORBIDDEN_KEYWORDS if node.get(k))
    _pattern(node, at, causes)
    _extensions(node, at, causes)
    _list_rules(node, at, causes)
    if root or node.get("x-kubernetes-embedded-resource"):
        _type_meta(node, at, causes, root=root)
    _junctors(node, node, at, at, causes, structural=True)


def _type(node: Map, at: str, causes: Causes, *, root: bool) -> None:
    kind = node.get("type")
    embedded = node.get("x-kubernetes-embedded-resource")
    if kind == "null":
        causes.append(forbidden_field(f"{at}.type", "type cannot be set to null, use nullable as an alternative"))
    if kind and kind not in _TYPES:
        causes.append(not_supported(f"{at}.type", kind, list(_TYPES)))
    if embedded and kind != "object":
        causes.append(_must_be(kind, "object", at, "if x-kubernetes-embedded-resource is true"))
    elif not kind and not node.get("x-kubernetes-int-or-string") and not node.get("x-kubernetes-preserve-unknown-fields"):
        part = "at the root" if root else "for specified array items" if at.endswith(".items") else "for specified object fields"
        causes.append(required(f"{at}.type", f"must not be empty {part}"))
    if root and kind and kind != "object":
        causes.append(invalid_value(f"{at}.type", kind, "must be object at the root"))
    if node.get("x-kubernetes-map-type") and kind != "object":
        causes.append(_must_be(kind, "object", at, "if x-kubernetes-map-type is specified"))
    if node.get("x-kubernetes-list-type") and kind != "array":
        causes.append(_must_be(kind, "array", at, "if x-kubernetes-list-type is specified"))


def _must_be(kind: Any, wanted: str, at: str, when: str) -> Cause:
    why = f"must be {wanted} {when}"
    return invalid_value(f"{at}.type", kind, why) if kind else required(f"{at}.type", why)


def _additional(node: Map, at: str, causes: Causes, *, root: bool) -> None:
    extra, field = node.get("additionalProperties"), f"{at}.additionalProperties"
    if extra is None:
        return
    if node.get("properties") and extra is not True:
        causes.append(forbidden_field(field, "additionalProperties and properties are mutual exclusive"))
    if extra is False:
        causes.append(forbidden_field(field, "additionalProperties cannot be set to false"))
    if root:
        causes.append(forbidden_field(field, "must not be used at the root"))
    if node.get("x-kubernetes-embedded-resource"):
        causes.append(forbidden_field(field, "must not be used if x-kubernetes-embedded-resource is set"))


def _extensions(node: Map, at: str, causes: Causes) -> None:
    if node.get("x-kubernetes-preserve-unknown-fields") is False:
        causes.append(invalid_value(f"{at}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"))
    if node.get("x-kubernetes-int-or-string"):
        for name in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if node.get(name):
                causes.append(invalid_value(f"{at}.{name}", True, "must be false if x-kubernetes-int-or-string is true"))
    for name, supported in (("map", ("atomic", "granular")), ("list", ("atomic", "map", "set"))):
        value = node.get(f"x-kubernetes-{name}-type")
        if value is not None and value not in supported:
            causes.append(not_supported(f"{at}.x-kubernetes-{name}-type", value, list(supported)))


def _type_meta(node: Map, at: str, causes: Causes, *, root: bool) -> None:
    """Check what a resource (the root, or an embedded one) says of its apiVersion, kind and metadata."""
    properties = node.get("properties") or {}
    for name, kind in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        found = properties.get(name)
        if found is not None and found.get("type") != kind:
            causes.append(invalid_value(f"{at}.properties[{name}].type", found.get("type") or "", f"must be {kind}"))
    metadata = properties.get("metadata")
    if root and metadata is not None:
        named = set(metadata.get("properties") or ())
        if set(metadata) - {"type", "properties", "default"} or not named <= {"name", "generateName"}:
            causes.append(forbidden_field(f"{at}.properties[metadata]", _ROOT_METADATA))
    if node.get("x-kubernetes-embedded-resource") and not node.get("x-kubernetes-preserve-unknown-fields") and not properties:
        causes.append(required(f"{at}.properties", _EMBEDDED_EMPTY))


def _pattern(node: Map, at: str, causes: Causes) -> None:
    if node.get("pattern"):
        try:
            compile_pattern(node["pattern"])
        except PatternError as error:
            causes.append(invalid_value(f"{at}.pattern", node["pattern"], f"must be a valid regular expression, but isn't: {error}"))


def _list_rules(node: Map, at: str, causes: Causes) -> None:
    kind, keys = node.get("x-kubernetes-list-type"), node.get("x-kubernetes-list-map-keys") or []
    items = node["items"] if isinstance(node.get("items"), dict) else {}
    if keys and kind != "map":
        why, field = "must be map if x-kubernetes-list-map-keys is non-empty", f"{at}.x-kubernetes-list-type"
        causes.append(invalid_value(field, kind, why) if kind else required(field, why))
    if kind in ("set", "map") and items.get("nullable"):
        causes.append(forbidden_field(f"{at}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {kind}"))
    if kind == "set":
        _set_items(items, f"{at}.items", causes)
    elif kind == "map":
        _map_items(items, keys, at, causes)


def _set_items(items: Map, at: str, causes: Causes) -> None:
    why = "must be atomic as item of a list with x-kubernetes-list-type=set"
    if items.get("type") == "array" and items.get("x-kubernetes-list-type", "atomic") != "atomic":
        causes.append(invalid_value(f"{at}.x-kubernetes-list-type", items["x-kubernetes-list-type"], why))
    elif items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        causes.append(invalid_value(f"{at}.x-kubernetes-map-type", items.get("x-kubernetes-map-type"), why))


def _map_items(items: Map, keys: list[str], at: str, causes: Causes) -> None:
    field = f"{at}.x-kubernetes-list-map-keys"
    if not keys:
        causes.append(required(field, "must not be empty if x-kubernetes-list-type is map"))
    if items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        causes.append(invalid_value(f"{at}.items.type", items.get("type") or "", why))
        return
    properties = items.get("properties") or {}
    shown = "[]string{" + ", ".join(f'"{k}"' for k in keys) + "}"
    for i, key in enumerate(keys):
        found = properties.get(key)
        if key in keys[:i]:
            causes.append(go_invalid(field, shown, "must not contain duplicate entries"))
        if found is None:
            causes.append(go_invalid(field, shown, "entries must all be names of item properties"))
            continue
        where = f"{at}.items.properties[{key}]"
        if found.get("type") in ("array", "object"):
            causes.append(invalid_value(f"{where}.type", "object", "must be a scalar type if parent array's x-kubernetes-list-type is map"))
        if key not in (items.get("required") or ()) and found.get("default") is None:
            causes.append(required(f"{where}.default", _KEY_NEEDED))
        if found.get("nullable"):
            why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            causes.append(forbidden_field(f"{where}.nullable", why))


def _junctors(node: Map, structure: Any, at: str, structure_at: str, causes: Causes, *, structural: bool = False) -> None:
    """Check what stands in allOf, anyOf, oneOf and not: value rules only, of fields that *structure* has."""
    waiting: list[tuple[Map, Any, str, str, bool]] = [(node, structure, at, structure_at, structural)]
    while waiting:
        here, shape, path, shape_at, whole = waiting.pop()
        if len(path) > 4096:
            causes.append(forbidden_field(at, "is nested too deep"))
            return
        for branch, where in _branches(here, path, either=whole or path.endswith("allOf[0]")):
            _branch(branch, shape, where, shape_at, causes)
            waiting.append((branch, shape, where, shape_at, False))
        if not whole:
            waiting += _inner(here, shape, path, shape_at, causes)


def _branches(node: Map, at: str, *, either: bool) -> Iterator[tuple[Map, str]]:
    for keyword in _JUNCTORS:
        branches = node.get(keyword) or ()
        if keyword == "anyOf" and either and branches == _INT_OR_STRING:
            continue
        yield from ((b, f"{at}.{keyword}[{i}]") for i, b in enumerate(branches) if isinstance(b, dict))
    if isinstance(node.get("not"), dict):
        yield node["not"], f"{at}.not"


def _inner(node: Map, shape: Any, at: str, shape_at: str, causes: Causes) -> list[tuple[Map, Any, str, str, bool]]:
    """Return the fields and items of a branch, with the parts of the structure that they are about."""
    found: list[tuple[Map, Any, str, str, bool]] = []
    if isinstance(node.get("items"), dict):
        inner = shape.get("items") if isinstance(shape, dict) else None
        found.append((node["items"], inner, f"{at}.items", f"{shape_at}.items", False))
    for name, part in (node.get("properties") or {}).items():
        if isinstance(part, dict):
            inner = (shape.get("properties") or {}).get(name) if isinstance(shape, dict) else None
            found.append((part, inner, f"{at}.properties[{name}]", f"{shape_at}.properties[{name}]", False))
    for part, inner, where, inner_at, _ in found:
        _branch(part, inner, where, inner_at, causes)
    return found


def _branch(node: Map, shape: Any, at: str, shape_at: str, causes: Causes) -> None:
    if not isinstance(shape, dict):
        causes.append(required(shape_at, f"because it is defined in {at}"))
    causes.extend(forbidden_field(f"{at}.{k}", why) for k, why in _BRANCH_FORBIDDEN.items() if node.get(k))
    if "metadata" in (node.get("properties") or ()):
        causes.append(forbidden_field(f"{at}.properties[metadata]", "must not be specified in a nested context"))
    _pattern(node, at, causes)


def _top_level_meta(path: str, at: str) -> str:
    """Return which of apiVersion, kind and metadata at the root *path* is in, or ""."""
    return next((m for m in _META if path == f"{at}.properties[{m}]" or path.startswith(f"{at}.properties[{m}].")), "")


def _default(node: Map, at: str, causes: Causes, *, top: str) -> None:
    default, field = node.get("default"), f"{at}.default"
    if default is None:
        return
    if top:
        causes.append(forbidden_field(field, f"must not be set in top-level {top}"))
        return
    if prune_default(node, copy.deepcopy(default)):
        causes.append(go_invalid(field, go_value(default), "must not have unknown fields"))
    found: list[Cause] = []
    check = compile_validation(node)
    if check is not None:
        check(default, None, found)
    if not found and has_rules(node):
        from skerry.apiserver.cel.rules import check_rules, compile_rules

        rules = compile_rules(node)
        found = check_rules(rules, default, None) if rules is not None else []
    causes.extend(Cause(f"{field}.{c.field}" if c.field not in ("", "<nil>") else field, c.reason, c.message) for c in found[:5])
