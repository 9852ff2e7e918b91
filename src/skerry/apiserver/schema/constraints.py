"""What one value may be: lengths, patterns, formats, bounds, sizes, enumerations, uniqueness. Each compiles to a check or None.

Shared by `values`, which knows how values are nested. A check of a type leaves values of other types alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from skerry.apiserver.schema.formats import FORMATS
from skerry.apiserver.schema.paths import Path, dotted
from skerry.apiserver.schema.patterns import compile_pattern
from skerry.model.errors import Cause, invalid_value

Validate = Callable[[Any, Path, list[Cause]], None]
Schema = Mapping[str, Any]


def all_checks(checks: list[Validate]) -> Validate | None:
    """Return one check that makes them all, or None when there are none."""
    if len(checks) < 2:
        return checks[0] if checks else None
    fixed = tuple(checks)

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        for check in fixed:
            check(value, path, causes)

    return validate


def enumeration(schema: Schema) -> Validate | None:
    """`enum`, of any JSON values."""
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


def type_name(value: Any) -> str:
    """Return what the validator calls the JSON type of *value*."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "value")


def _bad(path: Path, value: Any, why: str) -> Cause:
    at = dotted(path)
    return invalid_value(at, value, f"{at} in body {why}")


def array_size(schema: Schema) -> Validate | None:
    """`minItems`, `maxItems`, `uniqueItems`."""
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


def unique_elements(schema: Schema) -> Validate | None:
    """`x-kubernetes-list-type` set and map: no element, or key of one, twice."""
    kind = schema.get("x-kubernetes-list-type")
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    if kind == "set":
        return _unique(lambda v: v, lambda v: f'"{v}"' if isinstance(v, str) else msgspec.json.encode(v).decode())
    if kind == "map" and keys:
        properties = schema.get("items", {}).get("properties", {})
        defaults = {k: properties.get(k, {}).get("default") for k in keys}
        return _unique(lambda v: {k: v.get(k, defaults[k]) for k in keys} if isinstance(v, dict) else v, go_value)
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


def go_value(value: Any) -> str:
    """Return *value* as Go prints a map of anything; what is no map as text."""
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


def object_size(schema: Schema) -> Validate | None:
    """`minProperties`, `maxProperties`."""
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


def length(schema: Schema) -> Validate | None:
    """`minLength`, `maxLength`, in characters as Kubernetes counts them."""
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


def pattern(schema: Schema) -> Validate | None:
    """`pattern`, anywhere in the text."""
    text = schema.get("pattern")
    if not text:
        return None
    search = compile_pattern(text)

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is str and not search(value):
            causes.append(_bad(path, value, f"should match '{text}'"))

    return validate


def string_format(schema: Schema) -> Validate | None:
    """`format` of a string, where it is one that Kubernetes checks."""
    name = schema.get("format", "")
    check = FORMATS.get(name)
    if check is None:
        return None

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is str and not check(value):
            at = dotted(path)
            causes.append(Cause(at, "FieldValueTypeInvalid", f'Invalid value: "{value}": {at} in body must be of type {name}: "{value}"'))

    return validate


def bounds(schema: Schema) -> Validate | None:
    """`minimum`, `maximum`, their exclusive forms, `multipleOf`."""
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


def integer_width(schema: Schema) -> Validate | None:
    """`format` int32 or int64."""
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if bits is None:
        return None
    high, low = 2**bits - 1, -(2**bits)

    def validate(value: Any, path: Path, causes: list[Cause]) -> None:
        if value.__class__ is int and not low <= value <= high:
            causes.append(_bad(path, value, f"must be of type {schema['format']}"))

    return validate
