"""The algebra of field sets, held against plain sets of paths; and how they are read and shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.apiserver.patch.fields import (
    Fields,
    FieldsError,
    covers,
    difference,
    from_paths,
    has,
    intersection,
    members,
    read,
    shown,
    union,
    without,
)

SLOW = (HealthCheck.too_slow,)
"""A busy machine is no reason to fail."""
Path = tuple[str, ...]
_STEPS = st.sampled_from(("f:a", "f:b", 'k:{"n":"x"}', 'v:"q"'))
_PATHS = st.frozensets(st.lists(_STEPS, min_size=1, max_size=3).map(tuple), max_size=6)


def _set(paths: frozenset[Path]) -> Fields:
    return from_paths(paths)


def _paths(fields: Fields) -> frozenset[Path]:
    found = list(members(fields))
    assert len(found) == len(set(found))
    return frozenset(found)


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(_PATHS, _PATHS)
def test_the_algebra_is_that_of_sets_of_paths(a: frozenset[Path], b: frozenset[Path]) -> None:
    x, y = _set(a), _set(b)

    assert _paths(x) == a
    assert _paths(union(x, y)) == a | b
    assert _paths(difference(x, y)) == a - b
    assert _paths(intersection(x, y)) == a & b
    assert covers(x, y) == (a >= b)
    assert _paths(without(x, y)) == {p for p in a if not any(p[: len(q)] == q for q in b)}


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(_PATHS, _PATHS, _PATHS)
def test_one_set_has_one_form(a: frozenset[Path], b: frozenset[Path], c: frozenset[Path]) -> None:
    x, y, z = _set(a), _set(b), _set(c)

    assert union(x, y) == union(y, x) == _set(a | b)
    assert union(union(x, y), z) == union(x, union(y, z))
    assert difference(x, union(y, z)) == difference(difference(x, y), z) == _set(a - b - c)
    assert intersection(x, y) == intersection(y, x) == difference(x, difference(x, y)) == _set(a & b)
    assert union(intersection(x, y), difference(x, y)) == x
    assert read(x) == x


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(_PATHS, _PATHS)
def test_nothing_is_altered(a: frozenset[Path], b: frozenset[Path]) -> None:
    x, y = _set(a), _set(b)

    for operation in (union, difference, intersection, without):
        operation(x, y)

    assert (x, y) == (_set(a), _set(b))


def test_what_has_nothing_taken_away_is_the_same_tree() -> None:
    fields = from_paths([("f:a", "f:b"), ("f:c",)])

    assert difference(fields, from_paths([("f:z",), ("f:a",)])) is fields
    assert not has(fields, ("f:a",))
    assert has(fields, ("f:a", "f:b"))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("f:spec", "f:replicas"), ".spec.replicas"),
        (("f:spec", 'k:{"containerPort":80,"protocol":"TCP"}', "f:name"), '.spec[containerPort=80,protocol="TCP"].name'),
        (("f:metadata", "f:finalizers", 'v:"a/b"'), '.metadata.finalizers[="a/b"]'),
        (("f:x", "i:0"), ".x[0]"),
        (("f:x", 'k:{"id":null,"on":true}'), ".x[id=null,on=true]"),
    ],
)
def test_a_path_is_shown_as_kubernetes_shows_it(path: Path, text: str) -> None:
    assert shown(path) == text


def test_a_set_is_read_into_one_spelling() -> None:
    given: Any = {"f:a": {".": {}}, 'k:{"b": 1, "a": "x"}': {"f:v": {}}, "v: 2": {}, "q:new": {}}

    assert read(given) == {"f:a": {}, 'k:{"a":"x","b":1}': {"f:v": {}}, "v:2": {}}


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "bad",
    [{"f:a": 1}, {"fa": {}}, {"k:x": {}}, {"k:[1]": {}}, {"i:x": {}}, {"v:": {}}, {f"v:{DEEP}": {}}, {f"k:{DEEP}": {}}, [], "x", None],
)
def test_what_is_no_set_is_said_to_be_none(bad: Any) -> None:
    with pytest.raises(FieldsError):
        read(bad)


def test_a_set_that_is_nested_too_deep_is_refused() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"f:a": deep}

    with pytest.raises(FieldsError):
        read(deep)
