"""managedFields after updates: what is tracked, what churns not, and what becomes of too many."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from skerry.apiserver.patch import Type, Writer, is_reset, read_entries, same_but_times, type_of, updated
from skerry.apiserver.patch.managers import ANCIENT, MAX_UPDATERS, Entry
from skerry.apiserver.schema.shape import shape_of_schema
from skerry.model.objects import Object
from tests.unit.patch.applied import SCHEMA, TYPE, VERSION, Stored, config, types


def _entry(**more: Any) -> Entry:
    found = {
        "manager": "m", "operation": "Update", "apiVersion": VERSION, "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:a": {}}},
    }  # fmt: skip
    return {**found, **more}


def test_a_creator_owns_everything_with_the_maps_that_it_made() -> None:
    stored = Stored()

    stored.update("m", {**config(n={"x": "1"}, labels={}, set=["s"]), "metadata": {"name": "t", "uid": "u", "labels": {"l": "1"}}})

    assert stored.fields("m", "Update") == {
        "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
        "f:spec": {".": {}, "f:labels": {}, "f:n": {".": {}, "f:x": {}}, "f:set": {".": {}, 'v:"s"': {}}},
    }


def test_a_change_moves_the_field_and_nothing_else() -> None:
    stored = Stored()
    stored.update("one", config(a="1", b="1"))
    before = stored.entries[0]["time"]

    stored.update("two", config(a="2", b="1"))

    assert stored.fields("one", "Update") == {"f:spec": {".": {}, "f:b": {}}}
    assert stored.fields("two", "Update") == {"f:spec": {"f:a": {}}}
    assert [e["time"] for e in stored.entries] == [before, "2026-01-01T00:00:02Z"]


def test_a_removed_field_is_nobodys() -> None:
    stored = Stored()
    stored.update("one", config(a="1", items=[{"id": 1, "v": "x"}, {"id": 2}]))

    stored.update("two", config(a="1", items=[{"id": 2}]))

    assert stored.fields("two", "Update") is None
    assert stored.fields("one", "Update") == {
        "f:spec": {".": {}, "f:a": {}, "f:items": {".": {}, 'k:{"id":2,"zone":"z"}': {".": {}, "f:id": {}}}}
    }


def test_what_changes_nothing_leaves_the_very_entries() -> None:
    stored = Stored()
    stored.update("one", config(a="1"))

    found = updated(stored.entries, stored.writer("two"), stored.obj, copy.deepcopy(stored.obj), types)

    assert found is stored.entries


def test_an_entry_that_a_change_does_not_concern_is_the_same() -> None:
    stored = Stored()
    stored.update("one", config(a="1", b="1"))
    stored.update("two", config(a="1", b="2"))
    one = stored.entries[0]

    stored.update("three", config(a="1", b="3"))

    assert stored.entries[0] is one
    assert [e["manager"] for e in stored.entries] == ["one", "three"]


def test_who_writes_again_what_it_owns_has_a_new_time() -> None:
    stored = Stored()
    stored.update("one", config(a="1"))
    fields = stored.entries[0]["fieldsV1"]

    stored.update("one", config(a="2"))

    assert (stored.entries[0]["time"], stored.entries[0]["fieldsV1"] is fields) == ("2026-01-01T00:00:02Z", True)


def test_an_object_without_managers_is_not_tracked_until_it_is_applied() -> None:
    stored = Stored()
    stored.obj = config(a="1")

    stored.update("one", config(a="2"))
    untracked = list(stored.entries)
    stored.apply("two", config(b="1"))

    assert untracked == []
    assert [e["manager"] for e in stored.entries] == ["two", "before-first-apply"]


def test_subresources_and_versions_have_entries_of_their_own() -> None:
    stored = Stored()
    stored.update("m", config(a="1"))
    status = {**stored.obj, "status": {"phase": "x"}}

    entries = updated(stored.entries, stored.writer("m", "status"), stored.obj, status, types)

    assert [(e.get("subresource"), e["fieldsV1"]) for e in entries] == [
        (None, {"f:spec": {".": {}, "f:a": {}}}),
        ("status", {"f:status": {".": {}, "f:phase": {}}}),
    ]


def test_what_a_subresource_wipes_is_nobodys() -> None:
    writer = Writer("m", VERSION, "2026-01-01T00:00:00Z", "", {"f:status": {}})

    (entry,) = updated([], writer, {}, {**config(a="1"), "status": {"phase": "x"}}, types)

    assert entry["fieldsV1"] == {"f:spec": {".": {}, "f:a": {}}}


def test_more_than_ten_updaters_are_folded_oldest_first() -> None:
    stored = Stored()
    stored.update("creator", config(labels={}))
    for i in range(MAX_UPDATERS + 2):
        labels = {**(stored.spec["labels"]), f"k{i:02}": "1"}
        stored.update(f"m{i:02}", config(labels=labels))

    names = [e["manager"] for e in stored.entries]
    assert names == [ANCIENT, *(f"m{i:02}" for i in range(3, MAX_UPDATERS + 2))]
    labels = {".": {}, "f:k00": {}, "f:k01": {}, "f:k02": {}}
    assert stored.fields(ANCIENT, "Update") == {"f:spec": {".": {}, "f:labels": labels}}


def test_updates_of_several_versions_are_folded_by_version() -> None:
    other = "test.example.com/v2"
    both = {VERSION: TYPE, other: TYPE}
    entries: list[Entry] = []
    obj: Object = {}
    for i in range(MAX_UPDATERS + 2):
        new = config(labels={**(obj.get("spec") or {"labels": {}})["labels"], f"k{i:02}": "1"})
        writer = Writer(f"m{i:02}", (VERSION, other)[i % 2], f"2026-01-01T00:00:{i:02}Z")
        entries = updated(entries, writer, obj, new, both.get)
        obj = new

    assert [(e["manager"], e["apiVersion"]) for e in entries if e["manager"] == ANCIENT] == [(ANCIENT, VERSION), (ANCIENT, other)]
    assert len(entries) == MAX_UPDATERS


def test_an_entry_of_a_version_that_is_gone_goes_with_the_next_change() -> None:
    entries = [_entry(), _entry(manager="old", apiVersion="test.example.com/v0")]

    found = updated(entries, Writer("x", VERSION, "2026-01-01T00:00:09Z"), config(a="1", b="1"), config(a="1", b="2"), types)

    assert [e["manager"] for e in found] == ["m", "x"]


def test_an_entry_of_another_version_is_compared_in_that_versions_type() -> None:
    atomic = copy.deepcopy(SCHEMA)
    atomic["properties"]["spec"]["properties"]["labels"]["x-kubernetes-map-type"] = "atomic"
    second = type_of(shape_of_schema(atomic))
    versions: dict[str, Type] = {VERSION: TYPE, "test.example.com/v2": second}
    entries = [_entry(apiVersion="test.example.com/v2", fieldsV1={"f:spec": {"f:labels": {}, "f:a": {}}})]

    found = updated(entries, Writer("x", VERSION, "t"), config(labels={"p": "1"}), config(labels={"p": "2"}), versions.get)

    assert [(e["manager"], e["fieldsV1"]) for e in found] == [("m", {"f:spec": {"f:a": {}}}), ("x", {"f:spec": {"f:labels": {"f:p": {}}}})]


@pytest.mark.parametrize(
    "bad",
    [
        None, [], {}, "x", [1], [{}], [_entry(operation="Other")], [_entry(apiVersion="")], [_entry(fieldsType="")],
        [_entry(fieldsType="FieldsV2")], [_entry(fieldsV1={"a": {}})], [_entry(manager=1)], [_entry()] * 1001,
    ],
)  # fmt: skip
def test_entries_that_cannot_be_read_are_none(bad: Any) -> None:
    assert read_entries(bad) is None


def test_entries_are_read_into_one_order_and_spelling() -> None:
    given = [_entry(extra=1), _entry(manager="a", operation="Apply", fieldsV1={'k:{"b": 1, "a": 2}': {".": {}}})]

    found = read_entries(given)

    assert found is not None
    assert [(e["manager"], e["fieldsV1"]) for e in found] == [("a", {'k:{"a":2,"b":1}': {}}), ("m", {"f:spec": {"f:a": {}}})]
    assert "extra" not in found[1]


@pytest.mark.parametrize(("given", "reset"), [([], True), ([{}], True), (None, False), ([{}, {}], False), ([_entry()], False)])
def test_an_empty_list_or_entry_means_that_nobody_manages(given: Any, reset: bool) -> None:
    assert is_reset(given) is reset


def test_times_alone_do_not_count() -> None:
    assert same_but_times([_entry(), _entry(manager="n")], [_entry(manager="n", time="later"), _entry()])
    assert not same_but_times([_entry()], [_entry(fieldsV1={"f:b": {}})])
    assert not same_but_times([_entry()], [])
