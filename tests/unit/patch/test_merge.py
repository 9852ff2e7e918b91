"""Merge patch: RFC 7386's own table, and identities that hold for any documents."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.apiserver.patch import merge, read_merge_patch
from skerry.apiserver.patch.copying import same
from skerry.apiserver.patch.merge import difference
from skerry.model.errors import ApiError


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_table_of_the_standard(document: Any, patch: Any, result: Any) -> None:
    assert merge(document, patch) == result


_LEAVES = st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)


def _documents(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda i: st.lists(i, max_size=3) | st.dictionaries(st.sampled_from("abcd"), i, max_size=4), max_leaves=12)


_MAPS = st.dictionaries(st.sampled_from("abcd"), _documents(_LEAVES), max_size=4)
_PATCHES = st.dictionaries(st.sampled_from("abcd"), _documents(_LEAVES | st.none()), max_size=4)


@settings(max_examples=100, deadline=None)
@given(_MAPS, _MAPS)
def test_a_difference_merged_gives_the_other(old: Any, new: Any) -> None:
    assert same(merge(old, difference(old, new)), new)


@settings(max_examples=100, deadline=None)
@given(_MAPS, _PATCHES)
def test_merging_twice_is_merging_once_and_nothing_is_shared_or_changed(document: Any, patch: Any) -> None:
    before, patch_before = copy.deepcopy(document), copy.deepcopy(patch)
    found = merge(document, patch)

    assert same(merge(found, patch), found)
    assert same(document, before)
    _scribble(found)
    assert same(document, before)
    assert same(patch, patch_before)


@settings(max_examples=80, deadline=None)
@given(_MAPS)
def test_an_empty_patch_changes_nothing_and_a_document_is_its_own_patch(document: Any) -> None:
    assert same(merge(document, {}), document)
    assert same(merge({}, document), document)


def _scribble(value: Any) -> None:
    """Change every map and list inside: whoever shares one would show it."""
    if isinstance(value, dict):
        for inner in value.values():
            _scribble(inner)
        value["scribble"] = 1
    elif isinstance(value, list):
        for inner in value:
            _scribble(inner)
        value.append("scribble")


@pytest.mark.parametrize("body", [b"[1]", b'"x"', b"null", b"{", b'{"a":' * 200 + b"1" + b"}" * 200])
def test_a_body_that_is_no_object_is_400(body: bytes) -> None:
    with pytest.raises(ApiError, match="error decoding patch: ") as caught:
        read_merge_patch(body)

    assert caught.value.code == 400
