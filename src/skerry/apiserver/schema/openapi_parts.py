"""What documents of OpenAPI are made of. A document may be longer than memory allows: its definitions are made one at a time, when
their turn comes, and nothing of them is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

Make = Callable[[], dict[str, Any]]


class Parts(NamedTuple):
    """Path items, and what makes each definition; to be gone through once."""

    paths: Iterator[tuple[str, dict[str, Any]]]
    definitions: Iterator[tuple[str, Make]]


def members(encoded: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield a JSON object, given its members' names and values."""
    lead = b"{"
    for key, value in encoded:
        yield b"%b%b:" % (lead, msgspec.json.encode(key))
        yield value
        del value  # it may be megabytes, and the next one is made now
        lead = b","
    yield b"}" if lead == b"," else b"{}"
