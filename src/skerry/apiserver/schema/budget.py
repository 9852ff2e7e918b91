"""How many values a body may hold: told from its bytes, before anything is made of them; and an object to which many bodies added.

A body of 3 MiB can hold a million empty maps; making, checking and writing them would hold the server for a second and take
hundreds of MiB. The largest definitions in use have about 40,000 values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from skerry.model.errors import ApiError

MAX_VALUES = 65_536
"""Maps, lists and scalars in one body."""
MAX_WEIGHT = 4 * MAX_VALUES
"""Of an object that updates have made, with who owns its fields: its values, those maps thrice that are not empty. They take 30 MiB."""

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def require_few_values(body: bytes) -> None:
    """Return for a JSON text within the budget; ApiError 413 otherwise."""
    if len(body) > 2 * MAX_VALUES and _marks(body) > MAX_VALUES and _too_many(body):
        raise too_many_values()


def require_bounded(new: Any, encoded: bytes, old: Any) -> None:
    """Return for an object that may become so large; ApiError 413. One that is too large already may be changed, and go."""
    if len(encoded) > MAX_WEIGHT and _marks(encoded) > MAX_WEIGHT // 4 and is_heavy(new) and not is_heavy(old):
        raise too_many_values(MAX_WEIGHT)


def is_heavy(value: Any) -> bool:
    """Say whether an object weighs more than the limit."""
    weight = 0
    waiting: list[Iterator[Any]] = [iter((value,))]
    while waiting and weight <= MAX_WEIGHT:
        inner = next(waiting[-1], waiting)
        if inner is waiting:
            waiting.pop()
            continue
        weight += 1
        if inner and isinstance(inner, dict):
            weight += 2
            waiting.append(iter(inner.values()))
        elif inner and isinstance(inner, list):
            waiting.append(iter(inner))
    return weight > MAX_WEIGHT


def too_many_values(most: int = MAX_VALUES) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {most} values (maps, lists, scalars)")


def _too_many(body: bytes) -> bool:
    """Count again without strings, which may hold as many commas and braces as they like; what is mostly strings is refused unread."""
    strings = (body.count(b'"') - body.count(b'\\"')) // 2
    return strings > 2 * MAX_VALUES or _marks(_STRINGS.sub(b"", body)) > MAX_VALUES


def _marks(body: bytes) -> int:
    """Return about how many values a text has: one before each comma, one more for each map and list."""
    return body.count(b",") + body.count(b"{") + body.count(b"[")
