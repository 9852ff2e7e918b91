"""Validation of custom resources: a structural schema compiled to functions that append causes in Kubernetes' words.

A function gets (value, path, causes) and never changes the value. Wording and reasons follow go-openapi's validator as
apiextensions uses it; limits are checked by the apiserver in front of us (size and depth of the body).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from skerry.apiserver.schema.formats import FORMATS
from skerry.apiserver.schema.paths import Path, dotted
from skerry.apiserver.schema.patterns import compile_pattern
from skerry.model.errors import Cause, invalid_value, required

Validate = Callable[[Any, Path, list[Cause]], None]
Schema = Mapping[str, Any]

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
    for compile_check in (*compilers, _enum, _combinations):
        found = compile_check(schema)
        if found is not None:
            checks.append(found)
    return _typed(schema, checks, root=root)


def _typed(schema: Schema, checks: list[Validate], *, root: bool) -> Validate | None:
    """Check the type first: the other checks rely on it, except for enumerations, which Kubernetes reports as well."""
    wanted = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return _int_or_string(checks)
    if wanted not in _TYPES:
        return _all(checks)
    classes = _TYPES[wanted]
    nullable = bool(schema.get("nullable"))
    enum = None if root else _enum(schema)
    body = _all(checks)

    def typed(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ in classes or (wanted == "integer" and value.__class__ is float and value.is_integer()):
            if body is not None:
                body(value, path, causes)
        elif not (value is None and nullable):
            causes.append(_wrong_type(path, wanted, value))
            if enum is not None:
                enum(value, path, causes)

    return typed


def _all(checks: list[Validate]) -> Validate | None:
    if len(checks) < 2:
        return checks[0] if checks else None
    fixed = tuple(checks)

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        for check in fixed:
            check(value, path, causes)

    return validate


def _int_or_string(checks: list[Validate]) -> Validate:
    body = _all(checks)

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ not in (int, str):
            causes.append(_wrong_type(path, "integer,string", value))
        elif body is not None:
            body(value, path, causes)

    return validate


def _wrong_type(path: Path, wanted: str, value: Any) -> Cause:
    at = dotted(path)
    found = _type_name(value)
    return Cause(at, "FieldValueTypeInvalid", f'Invalid value: "{found}": {at} in body must be of type {wanted}: "{found}"')


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "value")


def _bad(path: Path, value: Any, why: str) -> Cause:
    at = dotted(path)
    return invalid_value(at, value, f"{at} in body {why}")


def _embedded(schema: Schema) -> Validate | None:
    if not schema.get("x-kubernetes-embedded-resource"):
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is dict:
            causes.extend(required(f"{dotted(path)}.{f}", "must not be empty") for f in ("apiVersion", "kind") if not value.get(f))

    return validate


def _required(schema: Schema) -> Validate | None:
    names = tuple(schema.get("required") or ())
    if not names:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is dict:
            causes.extend(required(dotted((path, name))) for name in names if name not in value)

    return validate


def _enum(schema: Schema) -> Validate | None:
    values = schema.get("enum")
    if not values:
        return None
    strings = frozenset(v for v in values if isinstance(v, str))
    nullable = bool(schema.get("nullable"))
    texts = ", ".join(f'"{v}"' if isinstance(v, str) else msgspec.json.encode(v).decode() for v in values)

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is str:
            if value in strings:
                return
        elif (value is None and nullable) or any(v == value and v.__class__ is value.__class__ for v in values):
            return
        shown = f'"{value}"' if isinstance(value, str) else msgspec.json.encode(value).decode()
        causes.append(Cause(dotted(path), "FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {texts}"))

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


def _array_size(schema: Schema) -> Validate | None:
    low, high, unique = schema.get("minItems"), schema.get("maxItems"), schema.get("uniqueItems")
    if low is None and high is None and not unique:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is not list:
            return
        if high is not None and len(value) > high:
            causes.append(_too_many(path, len(value), high))
        if low is not None and len(value) < low:
            causes.append(_bad(path, len(value), f"should have at least {low} items"))
        if unique and _first_duplicate(value) is not None:
            causes.append(_bad(path, "", "shouldn't contain duplicates"))

    return validate


def _too_many(path: Path, found: int, limit: int) -> Cause:
    return Cause(dotted(path), "FieldValueTooMany", f"Too many: {found}: must have at most {limit} items")


def _list_type(schema: Schema) -> Validate | None:
    kind = schema.get("x-kubernetes-list-type")
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    if kind == "set":
        return _unique(lambda v: v, lambda v: f'"{v}"' if isinstance(v, str) else msgspec.json.encode(v).decode())
    if kind == "map" and keys:
        properties = schema.get("items", {}).get("properties", {})
        defaults = {k: properties.get(k, {}).get("default") for k in keys}
        return _unique(lambda v: {k: v.get(k, defaults[k]) for k in keys} if isinstance(v, dict) else v, _go_map)
    return None


def _unique(identity: Callable[[Any], Any], show: Callable[[Any], str]) -> Validate:
    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is not list or len(value) < 2:
            return
        seen: set[bytes] = set()
        for i, v in enumerate(value):
            it = identity(v)
            mark = msgspec.json.encode(it, order="sorted")
            if mark in seen:
                causes.append(Cause(dotted((path, i)), "FieldValueDuplicate", f"Duplicate value: {show(it)}"))
            seen.add(mark)

    return validate


def _go_map(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    inner = ", ".join(f'"{k}":' + msgspec.json.encode(v).decode() for k, v in sorted(value.items()))
    return f"map[string]interface {{}}{{{inner}}}"


def _first_duplicate(value: list[Any]) -> int | None:
    seen: set[bytes] = set()
    for i, v in enumerate(value):
        mark = msgspec.json.encode(v, order="sorted")
        if mark in seen:
            return i
        seen.add(mark)
    return None


def _object_size(schema: Schema) -> Validate | None:
    low, high = schema.get("minProperties"), schema.get("maxProperties")
    if low is None and high is None:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is not dict:
            return
        if high is not None and len(value) > high:
            causes.append(_too_many(path, len(value), high))
        if low is not None and len(value) < low:
            causes.append(_bad(path, len(value), f"should have at least {low} properties"))

    return validate


def _length(schema: Schema) -> Validate | None:
    low, high = schema.get("minLength"), schema.get("maxLength")
    if low is None and high is None:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is not str:
            return
        if high is not None and len(value) > high:
            causes.append(Cause(dotted(path), "FieldValueTooLong", f"Too long: may not be more than {high} bytes"))
        if low is not None and len(value) < low:
            causes.append(_bad(path, value, f"should be at least {low} chars long"))

    return validate


def _pattern(schema: Schema) -> Validate | None:
    text = schema.get("pattern")
    if not text:
        return None
    search = compile_pattern(text).search

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is str and not search(value):
            causes.append(_bad(path, value, f"should match '{text}'"))

    return validate


def _format(schema: Schema) -> Validate | None:
    name = schema.get("format", "")
    check = FORMATS.get(name)
    if check is None:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is str and not check(value):
            at = dotted(path)
            causes.append(Cause(at, "FieldValueTypeInvalid", f'Invalid value: "{value}": {at} in body must be of type {name}: "{value}"'))

    return validate


def _bounds(schema: Schema) -> Validate | None:
    low, high, multiple = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if low is None and high is None and not multiple:
        return None
    above, below = bool(schema.get("exclusiveMinimum")), bool(schema.get("exclusiveMaximum"))

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is not int and value.__class__ is not float:
            return
        if high is not None and (value > high or (below and value == high)):
            causes.append(_bad(path, value, f"should be less than {'' if below else 'or equal to '}{high}"))
        if low is not None and (value < low or (above and value == low)):
            causes.append(_bad(path, value, f"should be greater than {'' if above else 'or equal to '}{low}"))
        if multiple and not _is_multiple(value, multiple):
            causes.append(_bad(path, value, f"should be a multiple of {multiple}"))

    return validate


def _is_multiple(value: float, of: float) -> bool:
    if isinstance(value, int) and isinstance(of, int):
        return value % of == 0
    ratio = value / of
    return abs(ratio - round(ratio)) < 1e-9


def _integer_width(schema: Schema) -> Validate | None:
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if bits is None:
        return None
    high, low = 2**bits - 1, -(2**bits)

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is int and not low <= value <= high:
            causes.append(_bad(path, value, f"must be of type {schema['format']}"))

    return validate


def _combinations(schema: Schema) -> Validate | None:
    checks = [c for c in (_all_of(schema), _any_of(schema), _one_of(schema), _not(schema)) if c is not None]
    return _all(checks)


def _branches(schema: Schema, keyword: str) -> list[Validate]:
    return [compile_validation(s) or (lambda value, path, causes: None) for s in schema.get(keyword) or ()]


def _tried(branch: Validate, value: Any, path: Path) -> list[Cause]:
    causes: list[Cause] = []
    branch(value, path, causes)
    return causes


def _whole(path: Path, why: str) -> Cause:
    return Cause("<nil>", "FieldValueInvalid", f'Invalid value: "": "{dotted(path)}" {why}')


def _best(failures: list[list[Cause]]) -> list[Cause]:
    return min(failures, key=len)


def _all_of(schema: Schema) -> Validate | None:
    branches = _branches(schema, "allOf")
    if not branches:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        found = [c for b in branches for c in _tried(b, value, path)]
        if found:
            causes.append(_whole(path, "must validate all the schemas (allOf)"))
            causes.extend(found)

    return validate


def _any_of(schema: Schema) -> Validate | None:
    branches = _branches(schema, "anyOf")
    if not branches:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        failures = []
        for b in branches:
            found = _tried(b, value, path)
            if not found:
                return
            failures.append(found)
        causes.append(_whole(path, "must validate at least one schema (anyOf)"))
        causes.extend(_best(failures))

    return validate


def _one_of(schema: Schema) -> Validate | None:
    branches = _branches(schema, "oneOf")
    if not branches:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        results = [_tried(b, value, path) for b in branches]
        valid = sum(not r for r in results)
        if valid == 1:
            return
        found = f"Found {valid} valid alternatives" if valid else "Found none valid"
        causes.append(_whole(path, f"must validate one and only one schema (oneOf). {found}"))
        if not valid:
            causes.extend(_best(results))

    return validate


def _not(schema: Schema) -> Validate | None:
    inner = schema.get("not")
    if not isinstance(inner, Mapping):
        return None
    branch = compile_validation(inner) or (lambda value, path, causes: None)

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if not _tried(branch, value, path):
            causes.append(_whole(path, "must not validate the schema (not)"))

    return validate


_STRINGS = (_length, _pattern, _format)
_NUMBERS = (_bounds, _integer_width)
_BY_TYPE: dict[str, tuple[Callable[[Schema], Validate | None], ...]] = {
    "object": (_properties, _object_size),
    "array": (_items, _array_size, _list_type),
    "string": _STRINGS,
    "integer": _NUMBERS,
    "number": (_bounds,),
    "": (_properties, _object_size, _items, _array_size, _list_type, *_STRINGS, _bounds),
}
