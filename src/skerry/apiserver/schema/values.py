"""Validation of custom resources: a structural schema compiled to functions that append causes in Kubernetes' words.

A function gets (value, path, causes) and never changes the value. Wording and reasons follow go-openapi's validator as
apiextensions uses it; limits are checked by the apiserver in front of us (size and depth of the body).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skerry.apiserver.schema.alternatives import alternatives
from skerry.apiserver.schema.constraints import (
    Schema,
    Validate,
    all_checks,
    array_size,
    bounds,
    enumeration,
    integer_width,
    length,
    object_size,
    pattern,
    string_format,
    type_name,
    unique_elements,
)
from skerry.apiserver.schema.embedded import embedded_causes
from skerry.apiserver.schema.paths import Path, dotted
from skerry.model.errors import Cause, required

MAX_CAUSES = 100
"""More than anybody reads; Kubernetes has no limit, a hostile body must not make us write megabytes of errors."""

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_BLOCKING = frozenset(("FieldValueRequired", "FieldValueTypeInvalid", "FieldValueNotSupported", "FieldValueTooLong", "FieldValueTooMany"))


def blocks_rules(causes: list[Cause]) -> bool:
    """Return whether CEL rules cannot be evaluated after these causes."""
    return any(c.reason in _BLOCKING for c in causes)


RULES_NOT_CHECKED = Cause(
    "<nil>",
    "FieldValueInvalid",
    'Invalid value: "null": some validation rules were not checked because the object was invalid; '
    "correct the existing errors to complete validation",
)


def compile_validation(schema: Schema, *, root: bool = False) -> Validate | None:
    """Return the check of one value, or None when everything is valid."""
    checks: list[Validate] = []
    compilers: tuple[Callable[[Schema], Validate | None], ...] = (_required, *_BY_TYPE.get(schema.get("type", ""), ()))
    if not root:
        compilers = (_embedded, *compilers)
    for compile_check in (*compilers, enumeration):
        found = compile_check(schema)
        if found is not None:
            checks.append(found)
    several = alternatives(schema, compile_validation)
    if several is not None:
        checks.append(several)
    return _typed(schema, checks, root=root)


def _typed(schema: Schema, checks: list[Validate], *, root: bool) -> Validate | None:
    """Check the type first: the other checks rely on it, except for enumerations, which Kubernetes reports as well."""
    wanted = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return _int_or_string(checks)
    if wanted not in _TYPES:
        return all_checks(checks)
    classes = _TYPES[wanted]
    nullable = bool(schema.get("nullable"))
    allowed = None if root else enumeration(schema)
    body = all_checks(checks)

    def typed(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ in classes or (wanted == "integer" and value.__class__ is float and value.is_integer()):
            if body is not None:
                body(value, path, causes)
        elif not (value is None and nullable):
            causes.append(_wrong_type(path, wanted, value))
            if allowed is not None:
                allowed(value, path, causes)

    return typed


def _int_or_string(checks: list[Validate]) -> Validate:
    body = all_checks(checks)

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ not in (int, str):
            causes.append(_wrong_type(path, "integer,string", value))
        elif body is not None:
            body(value, path, causes)

    return validate


def _wrong_type(path: Path, wanted: str, value: Any) -> Cause:
    at = dotted(path)
    found = type_name(value)
    return Cause(at, "FieldValueTypeInvalid", f'Invalid value: "{found}": {at} in body must be of type {wanted}: "{found}"')


def _embedded(schema: Schema) -> Validate | None:
    if not schema.get("x-kubernetes-embedded-resource"):
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is dict:
            embedded_causes(value, dotted(path), causes)

    return validate


def _required(schema: Schema) -> Validate | None:
    names = tuple(schema.get("required") or ())
    if not names:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is dict:
            causes.extend(required(dotted((path, name))) for name in names if name not in value)

    return validate


def _properties(schema: Schema) -> Validate | None:
    checks = {k: c for k, s in (schema.get("properties") or {}).items() if (c := compile_validation(s)) is not None}
    extra = schema.get("additionalProperties")
    rest = compile_validation(extra) if isinstance(extra, Mapping) else None
    known = frozenset(schema.get("properties") or ())
    if not checks and rest is None:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is not dict:
            return
        for k, check in checks.items():
            if k in value:
                check(value[k], (path, k), causes)
        if rest is not None and len(causes) < MAX_CAUSES:
            for k, v in value.items():
                if k not in known:
                    rest(v, (path, k), causes)

    return validate


def _items(schema: Schema) -> Validate | None:
    items = schema.get("items")
    element = compile_validation(items) if isinstance(items, Mapping) else None
    if element is None:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is not list:
            return
        for i, v in enumerate(value):
            element(v, (path, i), causes)
            if len(causes) >= MAX_CAUSES:
                return

    return validate


_STRINGS = (length, pattern, string_format)
_NUMBERS = (bounds, integer_width)
_BY_TYPE: dict[str, tuple[Callable[[Schema], Validate | None], ...]] = {
    "object": (_properties, object_size),
    "array": (_items, array_size, unique_elements),
    "string": _STRINGS,
    "integer": _NUMBERS,
    "number": (bounds,),
    "": (_properties, object_size, _items, array_size, unique_elements, *_STRINGS, bounds),
}
