"""Server-side apply by its laws, and against a model that knows only paths, values and owners."""

from __future__ import annotations

import copy
import os
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.apiserver.patch.fields import members
from skerry.apiserver.patch.managers import identity
from skerry.model.errors import ApiError
from skerry.model.objects import Object
from tests.unit.patch.applied import Stored, config

SLOW = (HealthCheck.too_slow,)
"""A busy machine is no reason to fail."""
SHARE = 30 if os.environ.get("SKERRY_SOAK") else 1
Path = tuple[Any, ...]
_TEXT = st.sampled_from(("0", "1"))
_ELEMENT = st.fixed_dictionaries({"id": st.integers(1, 3)}, optional={"v": _TEXT, "w": _TEXT})
_SPECS: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {},
    optional={
        "a": _TEXT,
        "b": _TEXT,
        "n": st.dictionaries(st.just("x"), _TEXT, min_size=1),
        "labels": st.dictionaries(st.sampled_from("pq"), _TEXT, min_size=1),
        "atom": st.dictionaries(st.sampled_from("pq"), _TEXT, min_size=1),
        "plain": st.lists(_TEXT, min_size=1, max_size=2),
        "set": st.lists(st.sampled_from("stu"), min_size=1, max_size=3, unique=True),
        "items": st.lists(_ELEMENT, min_size=1, max_size=3, unique_by=lambda e: e["id"]),
        "open": st.dictionaries(st.sampled_from("pq"), st.dictionaries(st.sampled_from("rs"), _TEXT, min_size=1), min_size=1),
    },
)
_MANAGERS = st.sampled_from(("one", "two", "three"))


def _values(spec: Object | None) -> dict[Path, Any]:
    """Return every field that can have an owner of its own, with its value."""
    found: dict[Path, Any] = {}
    for key, value in (spec or {}).items():
        match key:
            case "n" | "labels":
                found |= {(key, k): v for k, v in value.items()}
            case "set":
                found |= {(key, v): True for v in value}
            case "items":
                for element in value:
                    found[key, element["id"]] = True
                    found |= {(key, element["id"], k): v for k, v in element.items()}
            case "open":
                for k, inner in value.items():
                    found[key, k] = True
                    found |= {(key, k, i): v for i, v in (inner or {}).items()}
            case _:
                found[key,] = value
    return found


class Model:
    """What apply promises, without field sets or types."""

    def __init__(self) -> None:
        self.values: dict[Path, Any] = {}
        self.owners: dict[Path, set[str]] = {}

    def contested(self, manager: str, wanted: dict[Path, Any]) -> int:
        """Return how many owners would lose something."""
        lost = [p for p, v in wanted.items() if p in self.values and self.values[p] != v]
        return sum(len(self.owners.get(p, set()) - {manager}) for p in lost)

    def apply(self, manager: str, wanted: dict[Path, Any]) -> None:
        for path in [p for p, who in self.owners.items() if manager in who and p not in wanted]:
            self.owners[path].discard(manager)
            if not self.owners[path]:
                del self.owners[path], self.values[path]
        for path, value in wanted.items():
            if self.values.get(path) != value:
                self.owners[path] = set()
            self.values[path] = value
            self.owners.setdefault(path, set()).add(manager)


def _owners(stored: Stored) -> dict[str, int]:
    """Return how many fields below the spec each manager has."""
    return {e["manager"]: sum(1 for _ in members(e["fieldsV1"].get("f:spec", {"f:": {}}))) for e in stored.entries}


@settings(max_examples=150 * SHARE, deadline=None, suppress_health_check=SLOW)
@given(st.lists(st.tuples(_MANAGERS, _SPECS), min_size=1, max_size=6))
def test_forced_applies_go_as_the_model_says(applies: list[tuple[str, Object]]) -> None:
    stored, model = Stored(), Model()
    for manager, spec in applies:
        wanted = _values(spec)
        expected = model.contested(manager, wanted)
        try:
            stored.apply(manager, config(**spec), keep=False)
            refused = 0
        except ApiError as error:
            refused = len(error.details["causes"])

        stored.apply(manager, config(**spec), force=True)
        model.apply(manager, wanted)

        assert refused == expected
        assert _values(stored.spec) == model.values
        counted: dict[str, int] = {}
        for who in model.owners.values():
            for owner in who:
                counted[owner] = counted.get(owner, 0) + 1
        assert {m: n for m, n in _owners(stored).items() if n} == counted


@settings(max_examples=100 * SHARE, deadline=None, suppress_health_check=SLOW)
@given(_SPECS, _SPECS, _SPECS)
def test_applying_again_changes_nothing(first: Object, second: Object, wanted: Object) -> None:
    stored = Stored()
    stored.apply("one", config(**first))
    stored.apply("two", config(**second), force=True)
    stored.apply("two", config(**wanted), force=True)
    obj, entries = copy.deepcopy(stored.obj), copy.deepcopy(stored.entries)

    again = stored.apply("two", config(**wanted))

    assert not again.changed
    assert (stored.obj, stored.entries) == (obj, entries)


def _disjoint(mine: Object, theirs: Object) -> Object:
    """Return *mine* without what *theirs* names."""
    return {k: v for k, v in mine.items() if k not in theirs}


@settings(max_examples=100 * SHARE, deadline=None, suppress_health_check=SLOW)
@given(_SPECS, _SPECS, _SPECS)
def test_disjoint_owners_commute(first: Object, one: Object, other: Object) -> None:
    two = _disjoint(other, {**one, **first})
    forth, back = Stored(), Stored()
    for stored in (forth, back):
        stored.apply("zero", config(**_disjoint(first, one)))

    forth.apply("one", config(**one))
    forth.apply("two", config(**two))
    back.apply("two", config(**two))
    back.apply("one", config(**one))

    assert _values(forth.spec) == _values(back.spec)
    assert {identity(e): e["fieldsV1"] for e in forth.entries} == {identity(e): e["fieldsV1"] for e in back.entries}


@settings(max_examples=100 * SHARE, deadline=None, suppress_health_check=SLOW)
@given(_SPECS, _SPECS, _SPECS)
def test_what_another_applied_is_not_lost_without_force(mine: Object, theirs: Object, next_: Object) -> None:
    stored = Stored()
    stored.apply("one", config(**mine))
    stored.apply("other", config(**theirs), force=True)
    fields = stored.fields("other")

    with suppress(ApiError):
        stored.apply("one", config(**next_))

    found = _values(stored.spec)
    assert stored.fields("other") == fields
    assert all(found.get(p) == v for p, v in _values(theirs).items())


@settings(max_examples=100 * SHARE, deadline=None, suppress_health_check=SLOW)
@given(_SPECS, _SPECS, _SPECS)
def test_what_another_changed_is_not_lost_without_force(mine: Object, theirs: Object, next_: Object) -> None:
    # An element that only one manager has goes with everything in it, so here the others change what is in none.
    theirs = {k: v for k, v in theirs.items() if k not in ("items", "open")}
    stored = Stored()
    stored.apply("one", config(**mine))
    before = _values(stored.spec)
    stored.update("other", {**stored.obj, "spec": {**(stored.spec or {}), **theirs}})
    fields = stored.fields("other", "Update")

    with suppress(ApiError):
        stored.apply("one", config(**next_))

    found = _values(stored.spec)
    assert stored.fields("other", "Update") == fields
    assert all(found.get(p) == v for p, v in _values(theirs).items() if stored.entries and before and before.get(p) != v)


@settings(max_examples=100 * SHARE, deadline=None, suppress_health_check=SLOW)
@given(_SPECS, _SPECS)
def test_force_takes_what_it_changes_and_applying_nothing_gives_it_all_back(mine: Object, theirs: Object) -> None:
    stored = Stored()
    stored.apply("other", config(**theirs))
    stored.apply("one", config(**mine), force=True)
    taken = {p for p, v in _values(mine).items() if p in _values(theirs) and _values(theirs)[p] != v}

    stored.apply("one", config())

    left = {p: v for p, v in _values(theirs).items() if p not in taken}
    assert stored.fields("one") is None
    assert _values(stored.spec) == left


@settings(max_examples=100 * SHARE, deadline=None, suppress_health_check=SLOW)
@given(_SPECS, _SPECS, _SPECS)
def test_nothing_that_is_given_is_altered(first: Object, second: Object, third: Object) -> None:
    stored = Stored()
    stored.apply("one", config(**first))
    live, entries, wanted = copy.deepcopy(stored.obj), copy.deepcopy(stored.entries), config(**second)
    before = copy.deepcopy(wanted)
    kept_obj, kept_entries = stored.obj, stored.entries

    stored.apply("two", wanted, force=True)
    stored.update("three", config(**third))

    assert (kept_obj, kept_entries, wanted) == (live, entries, before)
