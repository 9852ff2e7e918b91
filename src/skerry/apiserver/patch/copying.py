"""Copies of JSON values, faster than `copy.deepcopy` because JSON has no cycles and no objects of one's own."""

from __future__ import annotations

from typing import Any


def copied(value: Any) -> Any:
    """Return a copy that shares no map or list with *value*."""
    if value.__class__ is dict:
        return {k: copied(v) if v.__class__ in (dict, list) else v for k, v in value.items()}
    if value.__class__ is list:
        return [copied(v) if v.__class__ in (dict, list) else v for v in value]
    return value


def weight(value: Any) -> int:
    """Return a measure of the memory of a value: one for each value, and one for each 16 characters of text."""
    total, waiting = 0, [value]
    while waiting:
        v = waiting.pop()
        total += 1
        if v.__class__ is dict:
            waiting.extend(v.values())
            total += len(v)
        elif v.__class__ is list:
            waiting.extend(v)
        elif v.__class__ is str:
            total += len(v) >> 4
    return total


def same(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal; true is not 1, but 1 is 1.0."""
    if a.__class__ is bool or b.__class__ is bool:
        return a is b
    if a.__class__ is dict and b.__class__ is dict:
        return len(a) == len(b) and all(k in b and same(v, b[k]) for k, v in a.items())
    if a.__class__ is list and b.__class__ is list:
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
