"""JSON patch: the operations, the limits, and that the document given is never touched."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.apiserver.patch import json_patch, read_json_patch
from skerry.apiserver.patch.copying import same
from skerry.model.errors import ApiError

DOC = {"a": {"b": [1, {"c": "d"}]}, "n": None, "x/y": 1, "m~n": 2}


@pytest.mark.parametrize(
    ("operation", "path", "found"),
    [
        ({"op": "add", "path": "/a/b/0", "value": 9}, ("a", "b"), [9, 1, {"c": "d"}]),
        ({"op": "add", "path": "/a/b/-", "value": 9}, ("a", "b"), [1, {"c": "d"}, 9]),
        ({"op": "add", "path": "/a/b/2", "value": 9}, ("a", "b"), [1, {"c": "d"}, 9]),
        ({"op": "add", "path": "/a", "value": None}, ("a",), None),
        ({"op": "replace", "path": "/x~1y", "value": 3}, ("x/y",), 3),
        ({"op": "replace", "path": "/m~0n", "value": 3}, ("m~n",), 3),
        ({"op": "replace", "path": "/new", "value": 3}, ("new",), 3),
        ({"op": "remove", "path": "/a/b/0"}, ("a", "b"), [{"c": "d"}]),
        ({"op": "test", "path": "/n", "value": None}, ("n",), None),
        ({"op": "test", "path": "/nothing", "value": None}, ("n",), None),
        ({"op": "move", "from": "/a/b", "path": "/b"}, ("b",), [1, {"c": "d"}]),
        ({"op": "move", "from": "/a", "path": "/a"}, ("a", "b", 0), 1),
        ({"op": "copy", "from": "/a/b/1", "path": "/a/c"}, ("a", "c"), {"c": "d"}),
    ],
)
def test_each_operation(operation: dict[str, Any], path: tuple[Any, ...], found: Any) -> None:
    before = copy.deepcopy(DOC)
    value = json_patch(DOC, [operation])
    for step in path:
        value = value[step]

    assert value == found
    assert before == DOC


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/a/b/9", "value": 1},
        {"op": "add", "path": "/a/b/-1", "value": 1},
        {"op": "add", "path": "/a/b/01", "value": 1},
        {"op": "add", "path": "/a/b/x", "value": 1},
        {"op": "add", "path": "/q/r", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "add", "value": 1},
        {"op": "add", "path": "/x~1y/z", "value": 1},
        {"op": "replace", "path": "/a/b/2", "value": 1},
        {"op": "remove", "path": "/q"},
        {"op": "remove", "path": ""},
        {"op": "remove", "path": "/a/b/-"},
        {"op": "test", "path": "/x~1y", "value": True},
        {"op": "test", "path": "/x~1y", "value": "1"},
        {"op": "move", "from": "/a", "path": "/a/b"},
        {"op": "move", "from": "/q", "path": "/r"},
        {"op": "copy", "from": "/q", "path": "/r"},
        {"op": "frobnicate", "path": "/a"},
        {"path": "/a"},
        {"op": "add", "path": 5, "value": 1},
    ],
)
def test_what_cannot_be_done_refuses_the_patch(operation: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        json_patch(DOC, [{"op": "add", "path": "/ok", "value": 1}, operation])

    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert caught.value.message == "the server rejected our request due to an error in our request"


def test_a_value_is_copied_into_the_document() -> None:
    value: list[int] = []

    found = json_patch({}, [{"op": "add", "path": "/l", "value": value}, {"op": "add", "path": "/l/-", "value": 1}])

    assert (found, value) == ({"l": [1]}, [])


def test_doubling_by_copies_is_stopped() -> None:
    bomb = [{"op": "copy", "from": "", "path": f"/x{i}"} for i in range(100)]

    with pytest.raises(ApiError) as caught:
        json_patch({"a": ["x" * 100] * 100}, bomb)

    assert caught.value.code in (413, 422)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/l/0", "value": ""},
        {"op": "remove", "path": "/l/0"},
        {"op": "move", "from": "/l/0", "path": "/l/-"},
        {"op": "test", "path": "/d" + "/a" * 100, "value": {}},
    ],
)
def test_work_that_only_costs_time_is_stopped(operation: dict[str, Any]) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    document = {"l": [""] * 65_000, "d": deep}

    with pytest.raises(ApiError) as refused:
        json_patch(document, [operation] * 10_000)

    assert refused.value.code == 413


def test_nesting_by_copies_is_stopped() -> None:
    deeper = [{"op": "copy", "from": "", "path": "/a"} for _ in range(200)]

    with pytest.raises(ApiError):
        json_patch({"a": 1}, deeper)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b'{"a":1}', 400, "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (b"[1]", 400, "cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
        (b"[", 400, "error decoding patch: "),
        (b"[" + b"{}," * 10_000 + b"{}]", 413, "The allowed maximum operations in a JSON patch is 10000, got 10001"),
    ],
)
def test_bodies_that_are_no_patch(body: bytes, code: int, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_json_patch(body)

    assert caught.value.code == code
    assert words in caught.value.message


_LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab~/", max_size=2)
_VALUES = st.recursive(
    _LEAVES, lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), i, max_size=3), max_leaves=12
)


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _difference(old: Any, new: Any, at: str = "") -> list[dict[str, Any]]:
    """Return operations from *old* to *new*, written down without any knowledge of the code under test."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = [{"op": "remove", "path": f"{at}/{_escape(k)}"} for k in old if k not in new]
        for k, v in new.items():
            path = f"{at}/{_escape(k)}"
            found += _difference(old[k], v, path) if k in old else [{"op": "add", "path": path, "value": v}]
        return found
    return [] if same(old, new) else [{"op": "replace", "path": at, "value": new}]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text("ab~/", max_size=2), _VALUES, max_size=3), st.dictionaries(st.text("ab~/", max_size=2), _VALUES, max_size=3))
def test_a_difference_applied_gives_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    before = copy.deepcopy(old)

    assert same(json_patch(old, _difference(old, new)), new)
    assert same(old, before)


_POINTERS = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "~01", ""]), max_size=3).map(lambda s: "".join(f"/{x}" for x in s))
_OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "test", "move", "copy"]), "path": _POINTERS},
    optional={"from": _POINTERS, "value": _VALUES},
)


@settings(max_examples=150, deadline=None)
@given(_VALUES, st.lists(_OPERATIONS, max_size=5))
def test_any_operations_give_a_document_or_a_refusal_and_leave_the_old_one(document: Any, operations: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(document)
    try:
        json_patch(document, operations)
    except ApiError as error:
        assert error.code in (413, 422)  # noqa: PT017 - both outcomes are right, no third is
    assert same(document, before)
