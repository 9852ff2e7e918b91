"""Which events a Trigger takes: Knative's `filter` and `filters`, compiled once into one pure predicate.

`filters` overrides `filter` when it is not empty; both are ANDed. Attributes are compared as CloudEvents writes them as text: an
integer in decimal, a boolean as true or false. Admission (`model.kinds.trigger`) has refused what is not read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Attributes = Mapping[str, str | int | bool]
Filter = Callable[[Attributes], bool]


class FilterError(ValueError):
    """Not a filter that we evaluate; the message names it."""


def text_of(attributes: Attributes, name: str) -> str | None:
    """Return an attribute as text, or None when it is not set."""
    value = attributes.get(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def compile_trigger(spec: Mapping[str, Any]) -> Filter:
    """Return the predicate of a Trigger's spec; without any filter it takes every event."""
    if spec.get("filters"):
        return _all([_one(f) for f in spec["filters"]])
    return _attributes((spec.get("filter") or {}).get("attributes") or {})


def _attributes(wanted: Mapping[str, str]) -> Filter:
    """`filter.attributes`: exact, and "" means present and not empty."""
    pairs = tuple(wanted.items())

    def matches(attributes: Attributes) -> bool:
        for name, value in pairs:
            text = text_of(attributes, name)
            if not text or (value and text != value):
                return False
        return True

    return matches


def _one(expression: Any) -> Filter:
    if not isinstance(expression, Mapping) or len(expression) != 1:
        raise FilterError("a filter has exactly one dialect")
    dialect, value = next(iter(expression.items()))
    match dialect:
        case "exact":
            return _texts(value, str.__eq__)
        case "prefix":
            return _texts(value, str.startswith)
        case "suffix":
            return _texts(value, str.endswith)
        case "all":
            return _all([_one(f) for f in value])
        case "any":
            return _any([_one(f) for f in value])
        case "not":
            inner = _one(value)
            return lambda attributes: not inner(attributes)
    raise FilterError(f"dialect {dialect!r} is not one of exact, prefix, suffix, all, any, not")


def _texts(wanted: Mapping[str, str], compare: Callable[[str, str], bool]) -> Filter:
    pairs = tuple(wanted.items())

    def matches(attributes: Attributes) -> bool:
        for name, value in pairs:
            text = text_of(attributes, name)
            if text is None or not compare(text, value):
                return False
        return True

    return matches


def _all(filters: Sequence[Filter]) -> Filter:
    return lambda attributes: all(f(attributes) for f in filters)


def _any(filters: Sequence[Filter]) -> Filter:
    return lambda attributes: any(f(attributes) for f in filters)
