"""Kubernetes' functions on lists, and cel-go's on sets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

from skerry.apiserver.cel.errors import EvaluationError, no_such_overload
from skerry.apiserver.cel.functions import define
from skerry.apiserver.cel.types import BOOL, BYTES, DOUBLE, DURATION, INT, STRING, TIMESTAMP, UINT, A, list_of
from skerry.apiserver.cel.values import UInt, Value, checked_int, checked_uint, compare, equal

_LIST = list_of(A)
_ORDERED = (INT, UINT, DOUBLE, BOOL, STRING, BYTES, DURATION, TIMESTAMP)


def add() -> None:
    for kind in _ORDERED:
        define("isSorted", (list_of(kind),), BOOL, _is_sorted, member=True, cost=_through)
        define("min", (list_of(kind),), kind, _extreme("min", -1), member=True, cost=_through)
        define("max", (list_of(kind),), kind, _extreme("max", 1), member=True, cost=_through)
    for kind in (INT, UINT, DOUBLE, DURATION):
        define("sum", (list_of(kind),), kind, _sum, member=True, cost=_through)
    define("indexOf", (_LIST, A), INT, _index_of, member=True, cost=_through)
    define("lastIndexOf", (_LIST, A), INT, _last_index_of, member=True, cost=_through)
    sets: dict[str, Callable[[list[Any], list[Any]], bool]] = {
        "sets.contains": _contains,
        "sets.equivalent": lambda x, y: _contains(x, y) and _contains(y, x),
        "sets.intersects": lambda x, y: any(equal(a, b) for a in x for b in y),
    }
    for name, do in sets.items():
        define(name, (_LIST, _LIST), BOOL, do, cost=lambda x, y: 1 + len(x) * len(y))


def _through(elements: Any, *_: Value) -> int:
    return 1 + sum(1 + (len(e) // 10 if e.__class__ is str else 0) for e in elements) if elements.__class__ is list else 1


def _is_sorted(elements: list[Any]) -> bool:
    return all((compare(x, y) or 0) <= 0 for x, y in pairwise(elements))


def _extreme(name: str, sign: int) -> Callable[[list[Any]], Value]:
    def do(elements: list[Any]) -> Value:
        if not elements:
            raise EvaluationError(f"{name} called on empty list")
        found = elements[0]
        for element in elements[1:]:
            if (compare(element, found) or 0) * sign > 0:
                found = element
        return found

    return do


def _sum(elements: list[Any]) -> Value:
    if not elements:
        return 0
    first = elements[0].__class__
    if any(e.__class__ is not first for e in elements):
        raise no_such_overload()
    if first is timedelta:
        return sum(elements, timedelta())
    if first is float:
        return float(sum(elements))
    return checked_uint(sum(elements)) if first is UInt else checked_int(sum(elements))


def _index_of(elements: list[Any], wanted: Value) -> int:
    return next((i for i, e in enumerate(elements) if equal(e, wanted)), -1)


def _last_index_of(elements: list[Any], wanted: Value) -> int:
    return next((i for i in range(len(elements) - 1, -1, -1) if equal(elements[i], wanted)), -1)


def _contains(found: list[Any], wanted: list[Any]) -> bool:
    return all(any(equal(w, f) for f in found) for w in wanted)
