"""Strategic merge by its laws: what kubectl computes of two objects, applied to the one, gives the other, order and all."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.apiserver.patch import strategic
from skerry.model.objects import Object
from tests.unit.schema.pipeline import kind

SLOW = (HealthCheck.too_slow,)
"""A busy machine is no reason to fail."""
POD, DEPLOYMENT = kind("Pod"), kind("Deployment", group="apps")
_NAMES = st.lists(st.sampled_from("abcde"), unique=True, max_size=4)
_FINALIZERS = st.lists(st.sampled_from(("x/1", "x/2", "x/3", "x/4")), unique=True, max_size=4)


@st.composite
def _pods(draw: st.DrawFn) -> Object:
    containers = [_container(name, draw(st.sampled_from("12")), draw(_NAMES)) for name in draw(_NAMES)]
    labels = draw(st.dictionaries(st.sampled_from("lmn"), st.sampled_from("12"), max_size=3))
    return {"metadata": {"labels": labels, "finalizers": draw(_FINALIZERS)}, "spec": {"containers": containers}}


def _container(name: str, image: str, variables: list[str]) -> Object:
    return {"name": name, "image": image, "env": [{"name": v, "value": image} for v in variables]}


def _difference(old: Object, new: Object) -> Object:
    """Return the patch that kubectl would send."""
    patch: Object = {"metadata": {}, "spec": {}}
    labels, wanted = old["metadata"]["labels"], new["metadata"]["labels"]
    patch["metadata"]["labels"] = {k: None for k in labels if k not in wanted} | wanted
    patch["metadata"] |= _primitives("finalizers", old["metadata"]["finalizers"], new["metadata"]["finalizers"])
    patch["spec"] |= _elements("containers", old["spec"]["containers"], new["spec"]["containers"], _of_container)
    return patch


def _primitives(name: str, old: list[str], new: list[str]) -> Object:
    return {
        name: [v for v in new if v not in old],
        f"$deleteFromPrimitiveList/{name}": [v for v in old if v not in new],
        f"$setElementOrder/{name}": new,
    }


def _elements(name: str, old: list[Object], new: list[Object], of: Any) -> Object:
    before, after = {e["name"]: e for e in old}, {e["name"]: e for e in new}
    changed = [of(before[k], e) if k in before else e for k, e in after.items()]
    doomed = [{"name": k, "$patch": "delete"} for k in before if k not in after]
    return {name: [*changed, *doomed], f"$setElementOrder/{name}": [{"name": k} for k in after]}


def _of_container(old: Object, new: Object) -> Object:
    return {"name": new["name"], "image": new["image"], **_elements("env", old["env"], new["env"], lambda _, e: e)}


@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(_pods(), _pods())
def test_the_difference_of_two_pods_applied_to_the_one_gives_the_other(old: Object, new: Object) -> None:
    assert strategic(old, _difference(old, new), POD) == new


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(_pods(), _pods())
def test_applying_it_twice_is_applying_it_once_and_nothing_is_altered(old: Object, new: Object) -> None:
    patch = _difference(old, new)
    before = copy.deepcopy((old, patch))

    once = strategic(old, patch, POD)

    assert strategic(once, patch, POD) == once
    assert (old, patch) == before


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(_pods())
def test_a_patch_that_says_nothing_changes_nothing(pod: Object) -> None:
    assert strategic(pod, {}, POD) == pod
    assert strategic(pod, {"spec": {"containers": []}, "metadata": {"labels": {}}}, POD) == pod
    assert strategic(pod, {"spec": {"containers": [{"$patch": "merge", "name": c["name"]} for c in pod["spec"]["containers"]]}}, POD) == pod


_STRATEGIES = st.dictionaries(st.sampled_from(("type", "rollingUpdate")), st.sampled_from("12"), min_size=1)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(_STRATEGIES, _STRATEGIES)
def test_retained_keys_are_all_that_is_left(old: Object, new: Object) -> None:
    patch = {"spec": {"strategy": {**new, "$retainKeys": sorted(new)}}}

    assert strategic({"spec": {"strategy": old}}, patch, DEPLOYMENT) == {"spec": {"strategy": new}}


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(_pods(), _pods())
def test_a_replaced_list_is_the_patchs_own(old: Object, new: Object) -> None:
    patch = {"spec": {"containers": [{"$patch": "replace"}, *new["spec"]["containers"]]}, "metadata": {"$patch": "replace", "labels": {}}}

    assert strategic(old, patch, POD) == {"spec": new["spec"], "metadata": {"labels": {}}}
