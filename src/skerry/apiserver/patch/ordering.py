"""The order of a merged list: what the patch asks for, and what only the server has at the place where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skerry.model.errors import bad_request


def in_order(
    merged: list[Any],
    server: list[Any],
    order: Any,
    identity: Callable[[Any], Any],
    wanted_identity: Callable[[Any], Any],
) -> list[Any]:
    """Return *merged* in the *order* of `$setElementOrder`.

    Elements that the order does not name exist on the server only: each keeps its place relative to its neighbours there.
    """
    if not isinstance(order, list):
        raise bad_request("$setElementOrder must be a list")
    places = {hashable(wanted_identity(v)): i for i, v in enumerate(order)}
    named = [v for v in merged if hashable(identity(v)) in places]
    named.sort(key=lambda v: places[hashable(identity(v))])
    others = [v for v in merged if hashable(identity(v)) not in places]
    return _interleaved(named, others, {hashable(identity(v)): i for i, v in enumerate(server)}, identity)


def _interleaved(named: list[Any], others: list[Any], server: dict[Any, int], identity: Callable[[Any], Any]) -> list[Any]:
    found: list[Any] = []
    i = j = 0
    while i < len(named) and j < len(others):
        here, there = server.get(hashable(identity(named[i]))), server.get(hashable(identity(others[j])))
        if here is not None and there is not None and there < here:
            found.append(others[j])
            j += 1
        else:
            found.append(named[i])
            i += 1
    return [*found, *named[i:], *others[j:]]


def hashable(value: Any) -> Any:
    """Return what stands for a merge key in sets and maps; true is not 1."""
    return (
        value if isinstance(value, (str, type(None))) else (type(value) is bool, repr(value) if isinstance(value, (dict, list)) else value)
    )
