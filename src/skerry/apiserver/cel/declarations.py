"""What a structural schema says about `self`: its type, and how large every part of it can be at most.

Source: k8s.io/apiserver/pkg/cel/common (SchemaDeclType): what has no type in the schema is not visible to rules, names that are
no identifiers are escaped, and a missing limit is what fits into one request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.apiserver.cel.parser import RESERVED
from skerry.apiserver.cel.types import BOOL, BYTES, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, record

MAX_REQUEST = 3 * 1024 * 1024
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_./-]*", re.ASCII)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPED = re.compile(r"__|[./-]")
_FORMATS = {"byte": (BYTES, 2, None), "duration": (DURATION, 4, 32), "date": (TIMESTAMP, 12, 12), "date-time": (TIMESTAMP, 22, 37)}
_METADATA = {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}}
_TYPED = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": _METADATA}


class Declaration(msgspec.Struct, frozen=True):
    """A type with bounds: `max_elements` of a text, a list or a map, `min_size` of it as JSON."""

    type: Type
    max_elements: int = 0
    min_size: int = 1
    element: Declaration | None = None
    fields: Mapping[str, Declaration] = msgspec.field(default_factory=dict)


def escape(name: str) -> str | None:
    """Return the name under which rules see a property; None for one that they cannot see."""
    if not _NAME.fullmatch(name):
        return None
    if name in RESERVED:
        return f"__{name}__"
    return _ESCAPED.sub(lambda m: _ESCAPES[m[0]], name)


def declare(schema: Mapping[str, Any], *, root: bool = False, name: str = "selfType") -> Declaration | None:
    """Return what rules may know of a value of *schema*; None when there is no type to know. *root* is a whole resource."""
    if schema.get("x-kubernetes-int-or-string"):
        return Declaration(DYN, MAX_REQUEST - 2, 1)
    kind = schema.get("type")
    if kind == "array":
        return _array(schema, name)
    if kind == "object":
        return _object(schema, name, root=root)
    if kind == "string":
        return _string(schema)
    if kind == "boolean":
        return Declaration(BOOL, 0, 4)
    if kind == "number":
        return Declaration(DOUBLE)
    return Declaration(INT) if kind == "integer" else None


def _array(schema: Mapping[str, Any], name: str) -> Declaration | None:
    items = schema.get("items")
    element = declare(items, root=is_resource(items), name=f"{name}.@idx") if isinstance(items, Mapping) else None
    if element is None:
        return None
    limit = schema.get("maxItems")
    most = (MAX_REQUEST - 2) // (element.min_size + 1) if limit is None else max(0, limit)
    return Declaration(list_of(element.type), most, 2, element)


def is_resource(schema: Any) -> bool:
    return isinstance(schema, Mapping) and bool(schema.get("x-kubernetes-embedded-resource"))


def _object(schema: Mapping[str, Any], name: str, *, root: bool) -> Declaration | None:
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping):
        value = declare(extra, root=is_resource(extra), name=f"{name}.@elem")
        if value is None:
            return None
        limit = schema.get("maxProperties")
        most = (MAX_REQUEST - 2) // (value.min_size + 6) if limit is None else max(0, limit)
        return Declaration(map_of(STRING, value.type), most, 2, value)
    properties = dict(schema.get("properties") or {})
    if root:
        properties = {**properties, **_TYPED}
    needed = frozenset(schema.get("required") or ())
    fields: dict[str, Declaration] = {}
    size = 2
    for key, part in properties.items():
        escaped = escape(key)
        found = declare(part, root=is_resource(part), name=f"{name}.{key}")
        if found is None:
            continue
        if escaped is not None:
            fields[escaped] = found
        if key in needed and part.get("default") is None:
            size += len(key) + found.min_size + 4
    return Declaration(record(name, {k: d.type for k, d in fields.items()}), 0, size, None, fields)


def _string(schema: Mapping[str, Any]) -> Declaration:
    type_, least, most = _FORMATS.get(schema.get("format", ""), (STRING, 2, None))
    limit = schema.get("maxLength")
    if most is not None:
        return Declaration(type_, most, least)
    if limit is not None:
        return Declaration(type_, max(0, limit) * (4 if type_ is STRING else 1), least)
    texts = [len(str(v).encode()) for v in schema.get("enum") or ()]
    return Declaration(type_, max(texts) if texts and type_ is STRING else MAX_REQUEST - 2, least)
