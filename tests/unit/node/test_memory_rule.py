"""The rule of removal (F14, F15, F33): only our cluster, in our epoch, not older, may take something away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skerry.kube.api import Origin
from skerry.model.objects import Name, Object
from skerry.node.memory import Position, Trust, changes_of_event, changes_of_list, trust_in

OURS = Origin("ours", "epoch-1")
RESTORED = Origin("ours", "epoch-2")
FOREIGN = Origin("theirs", "epoch-1")


def an_object(name: str, revision: int = 1, uid: str = "u") -> Object:
    return {"metadata": {"name": name, "uid": uid, "resourceVersion": str(revision)}}


def judge(answer: Origin, *, revision: int = 10, joined: Origin = OURS, seen: Position | None = None) -> Trust:
    return trust_in(answer, joined=joined, revision=revision, seen=seen or Position(OURS, 5))


def test_our_cluster_at_a_newer_or_equal_revision_is_believed() -> None:
    assert judge(OURS) is Trust.FULL
    assert judge(OURS, revision=5) is Trust.FULL


def test_an_older_answer_changes_nothing() -> None:
    assert judge(OURS, revision=4) is Trust.NONE


def test_a_foreign_or_nameless_answer_changes_nothing() -> None:
    assert judge(FOREIGN) is Trust.NONE
    assert judge(Origin()) is Trust.NONE
    assert judge(Origin("ours", "")) is Trust.NONE


def test_a_restored_backup_may_add_but_not_remove() -> None:
    trust = judge(RESTORED, revision=1)
    have = {Name("a", "old"): an_object("old")}

    changes = changes_of_list(have, {Name("a", "new"): an_object("new")}, trust)

    assert trust is Trust.NO_REMOVAL
    assert set(changes.put) == {Name("a", "new")}
    assert not changes.drop


def test_an_accepted_epoch_is_ours_again() -> None:
    assert judge(RESTORED, revision=1, joined=RESTORED) is Trust.FULL


def test_the_first_answer_is_believed() -> None:
    assert judge(OURS, joined=Origin(), seen=Position()) is Trust.FULL


def test_a_deletion_drops_only_the_object_it_means() -> None:
    have = {Name("a", "x"): an_object("x", 7, uid="second")}

    other = changes_of_event(have, "DELETED", Name("a", "x"), an_object("x", 9, uid="first"), Trust.FULL)
    this = changes_of_event(have, "DELETED", Name("a", "x"), an_object("x", 9, uid="second"), Trust.FULL)

    assert not other.drop
    assert this.drop == {Name("a", "x")}


def test_an_event_that_is_older_than_what_we_have_is_a_repetition() -> None:
    have = {Name("a", "x"): an_object("x", 7)}

    assert not changes_of_event(have, "MODIFIED", Name("a", "x"), an_object("x", 6), Trust.FULL).put


NAMES = st.sampled_from([Name("a", n) for n in "pqrst"])
COLLECTIONS = st.dictionaries(NAMES, st.integers(1, 20)).map(lambda d: {n: an_object(n.name, r) for n, r in d.items()})
ORIGINS = st.sampled_from([OURS, RESTORED, FOREIGN, Origin(), Origin("theirs", "epoch-2")])


@given(COLLECTIONS, COLLECTIONS, ORIGINS, st.integers(0, 30), st.integers(0, 30))
def test_nothing_is_dropped_unless_all_three_hold(
    have: dict[Name, Object], listed: dict[Name, Object], answer: Origin, revision: int, seen: int
) -> None:
    trust = trust_in(answer, joined=OURS, revision=revision, seen=Position(OURS, seen))

    changes = changes_of_list(have, listed, trust)

    if not (answer == OURS and revision >= seen):
        assert not changes.drop
    if answer.cluster != "ours":
        assert not changes.put


@given(COLLECTIONS, COLLECTIONS)
def test_a_list_taken_twice_changes_nothing_the_second_time(have: dict[Name, Object], listed: dict[Name, Object]) -> None:
    first = changes_of_list(have, listed, Trust.FULL)
    after = {n: o for n, o in {**have, **first.put}.items() if n not in first.drop}

    second = changes_of_list(after, listed, Trust.FULL)

    assert after == listed or {n: o["metadata"] for n, o in after.items()} == {n: o["metadata"] for n, o in listed.items()}
    assert not second.put
    assert not second.drop
