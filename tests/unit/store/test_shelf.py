"""The shelf keeps its order, and its lists follow every change."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.apiserver.store import Index, Key, Record
from skerry.apiserver.store.shelf import Shelf

places = st.tuples(st.sampled_from(["", "a", "a-b", "ab", "b"]), st.sampled_from(["x", "y", "z-0", "z"]))
steps = st.lists(st.tuples(st.sampled_from(["put", "remove", "list"]), places))


def record(place: tuple[str, str], revision: int) -> Record:
    return Record.indexed(Key("pods", *place), revision, b"", Index())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # how busy the machine is says nothing about a shelf
@given(steps=steps)
def test_a_shelf_is_a_sorted_dictionary(steps: list[tuple[str, tuple[str, str]]]) -> None:
    shelf, model = Shelf(), dict[tuple[str, str], Record]()
    for revision, (step, place) in enumerate(steps):
        if step == "put":
            fresh = record(place, revision)
            assert shelf.put(fresh) is model.get(place)
            model[place] = fresh
        elif step == "remove":
            assert shelf.remove(Key("pods", *place)) is model.pop(place, None)
        else:
            shelf.records(place[0])  # a list that was made must not hide a later change
        assert list(shelf.records()) == [model[p] for p in sorted(model)]
        assert list(shelf.records(place[0])) == [model[p] for p in sorted(model) if place[0] in ("", p[0])]
        assert len(shelf) == len(model)
        assert shelf.get(Key("pods", *place)) is model.get(place)
    assert shelf.by_place() == model


def test_a_list_is_made_once_while_nothing_in_it_changes() -> None:
    shelf = Shelf()
    shelf.fill([record(("a", "x"), 1), record(("b", "x"), 2)])
    before = shelf.records("a")

    shelf.put(record(("b", "y"), 3))

    assert shelf.records("a") is before
    assert len(shelf.records()) == 3
