"""Strategic merge beyond what was recorded: directives, order, and identities that hold for any containers."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.apiserver.patch import strategic
from skerry.apiserver.patch.copying import same
from skerry.model.errors import ApiError
from skerry.model.objects import Object
from tests.unit.schema.pipeline import kind

POD = kind("Pod")


def _patched(spec: Object, patch: Object) -> Any:
    return strategic({"spec": spec}, {"spec": patch}, POD)["spec"]


def _names(containers: list[Object]) -> list[str]:
    return [c["name"] for c in containers]


C, D, E = {"name": "c", "image": "i"}, {"name": "d"}, {"name": "e"}


def test_new_elements_come_first_and_known_ones_keep_their_place() -> None:
    found = _patched({"containers": [C, D]}, {"containers": [{"name": "z"}, {"name": "d", "image": "j"}]})

    assert found["containers"] == [{"name": "z"}, C, {"name": "d", "image": "j"}]


def test_the_order_can_be_set_and_the_servers_own_keep_their_neighbours() -> None:
    order = [{"name": "e"}, {"name": "c"}]

    found = _patched({"containers": [C, D, E]}, {"$setElementOrder/containers": order, "containers": [{"name": "e", "image": "k"}]})

    assert _names(found["containers"]) == ["d", "e", "c"]


def test_an_element_can_be_deleted_while_another_comes() -> None:
    assert _names(_patched({"containers": [C, D]}, {"containers": [{"name": "c", "$patch": "delete"}, {"name": "z"}]})["containers"]) == [
        "z",
        "d",
    ]
    assert _patched({"containers": [C]}, {"containers": [{"name": "no", "$patch": "delete"}]})["containers"] == [C]


def test_a_list_can_be_replaced() -> None:
    assert _patched({"containers": [C, D]}, {"containers": [{"$patch": "replace"}, E]})["containers"] == [E]
    assert _patched({"containers": [C]}, {"containers": [{"$patch": "replace"}]})["containers"] == []


def test_primitive_lists_merge_and_lose_elements_by_directive() -> None:
    document = {"metadata": {"finalizers": ["a/x", "b/y"]}}

    added = strategic(document, {"metadata": {"finalizers": ["c/z", "a/x"]}}, POD)
    removed = strategic(document, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/x"]}}, POD)
    moved = strategic(document, {"metadata": {"$setElementOrder/finalizers": ["b/y", "a/x"]}}, POD)

    assert sorted(added["metadata"]["finalizers"]) == ["a/x", "b/y", "c/z"]
    assert removed["metadata"]["finalizers"] == ["b/y"]
    assert moved["metadata"]["finalizers"] == ["b/y", "a/x"]


def test_what_is_added_carries_no_directives_and_no_nulls() -> None:
    volume = {"name": "v", "emptyDir": {"medium": None, "sizeLimit": "1Gi"}, "$retainKeys": ["name", "emptyDir"]}

    assert _patched({}, {"volumes": [volume], "affinity": {"$patch": "replace"}}) == {
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
        "affinity": {},
    }


def test_a_map_can_be_deleted_or_replaced() -> None:
    spec = {"securityContext": {"runAsUser": 1, "fsGroup": 2}}

    assert _patched(spec, {"securityContext": {"$patch": "delete"}}) == {"securityContext": {}}
    assert _patched(spec, {"securityContext": {"$patch": "replace", "fsGroup": 3}}) == {"securityContext": {"fsGroup": 3}}


def test_maps_of_unknown_fields_still_merge() -> None:
    assert _patched({"x": {"a": 1, "l": [1]}}, {"x": {"b": 2, "l": [2]}}) == {"x": {"a": 1, "b": 2, "l": [2]}}


@pytest.mark.parametrize(
    ("patch", "code", "words"),
    [
        ({"containers": [{"image": "q"}]}, 500, "map: map[image:q] does not contain declared merge key: name"),
        ({"containers": ["q"]}, 400, "takes objects"),
        ({"containers": [{"name": "c", "$patch": "frob"}]}, 500, "unknown patch type: frob in map: map[$patch:frob name:c]"),
        ({"securityContext": {"$patch": "frob"}}, 500, "unknown patch type: frob"),
        ({"$retainKeys": "x"}, 400, "$retainKeys must be a list"),
        ({"$retainKeys": ["a"], "b": 1}, 400, "doesn't contain all fields"),
        ({"$setElementOrder/containers": {}}, 400, "must be a list"),
        ({"$frob": 1}, 400, "unknown directive $frob"),
        ({"containers": [{"name": str(i)} for i in range(20_001)]}, 400, "more than 20000 elements"),
    ],
)
def test_a_patch_that_makes_no_sense_is_refused(patch: Object, code: int, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        _patched({"containers": [C], "securityContext": {}}, patch)

    assert caught.value.code == code
    assert words in caught.value.message


_ENV = st.lists(
    st.builds(lambda n, v: {"name": n, "value": v}, st.sampled_from("abcd"), st.sampled_from("xyz")),
    max_size=4,
    unique_by=lambda e: e["name"],
)
_CONTAINERS = st.lists(
    st.builds(
        lambda n, i, e: {"name": n, **({"image": i} if i else {}), **({"env": e} if e else {})},
        st.sampled_from("pqrs"),
        st.sampled_from(["", "1", "2"]),
        _ENV,
    ),
    max_size=4,
    unique_by=lambda c: c["name"],
)


@settings(max_examples=100, deadline=None)
@given(_CONTAINERS, _CONTAINERS)
def test_every_patched_element_is_there_once_and_the_others_stay_in_order(old: list[Object], new: list[Object]) -> None:
    before = copy.deepcopy(old)
    found = _patched({"containers": old}, {"containers": new})["containers"] if new else old

    assert len(_names(found)) == len(set(_names(found)))
    assert set(_names(found)) == set(_names(old)) | set(_names(new))
    untouched = [n for n in _names(old) if n not in _names(new)]
    assert [n for n in _names(found) if n in untouched] == untouched
    assert same(old, before)


@settings(max_examples=100, deadline=None)
@given(_CONTAINERS, _CONTAINERS)
def test_a_difference_applied_gives_the_other(old: list[Object], new: list[Object]) -> None:
    """Write the patch that kubectl apply would: deletions, changes, the order; the result is what was wanted."""
    patch: Object = {
        "containers": _list_patch(old, new, _container_patch),
        "$setElementOrder/containers": [{"name": c["name"]} for c in new],
    }

    found = _patched({"containers": old}, patch)

    assert found.get("containers", []) == new


def _list_patch(old: list[Object], new: list[Object], element: Any) -> list[Object]:
    was = {e["name"]: e for e in old}
    gone = [{"name": n, "$patch": "delete"} for n in was if n not in {e["name"] for e in new}]
    return [*(element(was[e["name"]], e) if e["name"] in was else e for e in new), *gone]


def _container_patch(old: Object, new: Object) -> Object:
    patch: Object = {"name": new["name"]}
    if new.get("image") != old.get("image"):
        patch["image"] = new.get("image")
    if "env" in new:
        patch["env"] = _list_patch(old.get("env", []), new["env"], lambda was, now: now)
        patch["$setElementOrder/env"] = [{"name": e["name"]} for e in new["env"]]
    elif "env" in old:
        patch["env"] = None
    return patch


def test_long_lists_merge_in_time_that_grows_with_their_length() -> None:
    old = [{"name": f"v{i}", "value": "1"} for i in range(9_000)]
    start = time.process_time()

    found = _patched(
        {"containers": [{"name": "c", "env": old}]}, {"containers": [{"name": "c", "env": [{**e, "value": "2"} for e in old]}]}
    )

    assert {e["value"] for e in found["containers"][0]["env"]} == {"2"}
    assert time.process_time() - start < 2.0
