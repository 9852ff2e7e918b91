"""From JSON to what rules see: times are times, numbers are doubles, bytes are bytes, names are escaped.

Most schemas need none of it: then there is no converter, and rules see the object itself.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from skerry.apiserver.cel.declarations import escape, is_resource
from skerry.apiserver.cel.errors import EvaluationError
from skerry.apiserver.cel.times import parse_duration, parse_timestamp

Convert = Callable[[Any], Any]


def converter(schema: Mapping[str, Any], *, root: bool = False) -> Convert | None:
    """Return what converts a value of *schema*, or None when it can stay as it is."""
    if schema.get("x-kubernetes-int-or-string"):
        return None
    kind = schema.get("type")
    if kind == "number":
        return lambda v: float(v) if v.__class__ is int else v
    if kind == "string":
        return _FORMATS.get(schema.get("format", ""))
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return _each(converter(schema["items"], root=is_resource(schema["items"])))
    if kind != "object":
        return None
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping):
        return _values(converter(extra, root=is_resource(extra)))
    fields: dict[str, tuple[str, Convert | None]] = {}
    for name, part in (schema.get("properties") or {}).items():
        inner, escaped = converter(part, root=is_resource(part)), escape(name) or name
        if inner is not None or escaped != name:
            fields[name] = (escaped, inner)
    if root:
        fields = {k: v for k, v in fields.items() if k not in ("apiVersion", "kind", "metadata")}
    return _object(fields) if fields else None


def _each(element: Convert | None) -> Convert | None:
    if element is None:
        return None
    return lambda value: [element(e) for e in value] if value.__class__ is list else value


def _values(element: Convert | None) -> Convert | None:
    if element is None:
        return None
    return lambda value: {k: element(v) for k, v in value.items()} if value.__class__ is dict else value


def _object(fields: dict[str, tuple[str, Convert | None]]) -> Convert:
    def convert(value: Any) -> Any:
        if value.__class__ is not dict:
            return value
        found = {}
        for k, v in value.items():
            name, inner = fields.get(k, (k, None))
            found[name] = v if inner is None else inner(v)
        return found

    return convert


def _bytes(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True) if value.__class__ is str else value
    except binascii.Error:
        return value


def _time(value: Any) -> Any:
    try:
        return parse_timestamp(value) if value.__class__ is str else value
    except EvaluationError:
        return value


def _date(value: Any) -> Any:
    return _time(f"{value}T00:00:00Z") if value.__class__ is str else value


def _duration(value: Any) -> timedelta | Any:
    try:
        return parse_duration(value) if value.__class__ is str else value
    except EvaluationError:
        return value


_FORMATS: dict[str, Convert] = {"byte": _bytes, "date-time": _time, "date": _date, "duration": _duration}
