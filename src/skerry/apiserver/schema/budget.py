"""How many values a body may hold: told from its bytes, before anything is made of them.

A body of 3 MiB can hold a million empty maps; making, checking and writing them would hold the server for a second and take
hundreds of MiB. The largest definitions in use have about 40,000 values.
"""

from __future__ import annotations

import re

from skerry.model.errors import ApiError

MAX_VALUES = 65_536
"""Maps, lists and scalars in one body."""

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def require_few_values(body: bytes) -> None:
    """Return for a JSON text within the budget; ApiError 413 otherwise."""
    if len(body) > 2 * MAX_VALUES and _marks(body) > MAX_VALUES and _too_many(body):
        raise too_many_values()


def too_many_values() -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_VALUES} values (maps, lists, scalars)")


def _too_many(body: bytes) -> bool:
    """Count again without strings, which may hold as many commas and braces as they like; what is mostly strings is refused unread."""
    strings = (body.count(b'"') - body.count(b'\\"')) // 2
    return strings > 2 * MAX_VALUES or _marks(_STRINGS.sub(b"", body)) > MAX_VALUES


def _marks(body: bytes) -> int:
    """Return about how many values a text has: one before each comma, one more for each map and list."""
    return body.count(b",") + body.count(b"{") + body.count(b"[")
