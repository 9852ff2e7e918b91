"""The checker finds nothing in sound histories and every kind of harm that is done to one."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.consistency.checker import check
from tests.consistency.history import NEVER, Event, Expired, History, Listing, Page, Read, Scope, Session, Version, Wanted, Write
from tests.consistency.made_up import BASE, KEYS, RED, SCOPES, acknowledged, session_of, sound, version
from tests.consistency.subjects import CONFIGMAPS

Harm = Callable[[History, random.Random], bool]
"""Do harm to a history; False when there is nothing in it to do it to."""


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**9))
def test_a_sound_history_is_found_sound(seed: int) -> None:
    assert check(sound(seed)) == []


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**9))
def test_writes_without_an_answer_may_have_happened_or_not(seed: int) -> None:
    history = sound(seed)
    for write in random.Random(seed).sample(history.writes, 3):
        write.ended, write.status, write.version, write.gone_uid = NEVER, 0, None, ""
    history.writes.append(Write("merge", KEYS[0], Wanted("never-came"), 0, 5.0))

    assert check(history) == []


def changes(session: Session) -> list[int]:
    return [i for i, e in enumerate(session.events) if e.version is not None]


def leave_an_event_out(history: History, rng: random.Random) -> bool:
    session = history.sessions[rng.randrange(1, len(history.sessions))]
    if places := changes(session):
        del session.events[rng.choice(places)]
    return bool(places)


def tell_an_event_twice(history: History, rng: random.Random) -> bool:
    session = rng.choice(history.sessions)
    if places := changes(session):
        i = rng.choice(places)
        session.events.insert(i, session.events[i])
    return bool(places)


def swap_two_events(history: History, rng: random.Random) -> bool:
    session = rng.choice(history.sessions)
    places = changes(session)
    if len(places) > 1:
        i = rng.randrange(len(places) - 1)
        a, b = places[i], places[i + 1]
        session.events[a], session.events[b] = session.events[b], session.events[a]
    return len(places) > 1


def put_a_bookmark_before_its_time(history: History, rng: random.Random) -> bool:
    session = rng.choice(history.sessions)
    if places := changes(session):
        i = rng.choice(places)
        session.events.insert(i, Event("BOOKMARK", session.events[i].revision, None, session.events[i].at))
    return bool(places)


def alter_the_content_of_an_event(history: History, rng: random.Random) -> bool:
    session = rng.choice(history.sessions)
    if places := changes(session):
        i = rng.choice(places)
        event = session.events[i]
        assert event.version is not None
        wrong = version(event.version.key, event.revision, "other", "red", event.version.uid)
        session.events[i] = replace(event, version=wrong)
    return bool(places)


def lose_an_acknowledged_write(history: History, rng: random.Random) -> bool:
    lost = rng.choice(acknowledged(history, "put", "merge") or [None])
    if lost is None or lost.version is None:
        return False
    for session in history.sessions:
        session.events = [e for e in session.events if e.revision != lost.version.revision]
    return True


def acknowledge_a_deletion_that_was_none(history: History, rng: random.Random) -> bool:
    history.writes.append(Write("delete", KEYS[0], Wanted(), 0, 1.0, 2.0, 200, gone_uid="nobody"))
    return True


def let_a_refused_write_happen(history: History, rng: random.Random) -> bool:
    found = acknowledged(history, "put", "merge", "create")
    if found:
        write = rng.choice(found)
        write.status, write.reason, write.version = 422, "Invalid", None
    return bool(found)


def read_what_is_long_gone(history: History, rng: random.Random) -> bool:
    old = [w for w in acknowledged(history, "create") if w.version is not None]
    later = [w.ended for w in history.writes if old and w.key == old[0].key and w.began > old[0].ended]
    if later:
        history.reads.append(Read(old[0].key, 0, max(later) + 1, max(later) + 2, old[0].version))
    return bool(later)


def ignore_the_expected_revision(history: History, rng: random.Random) -> bool:
    found = [w for w in history.writes if w.expected]
    if found:
        rng.choice(found).expected -= 1
    return bool(found)


def give_a_list_an_older_revision(history: History, rng: random.Random) -> bool:
    moved = [x for x in history.listings if x.scope == SCOPES[0] and x.pages[0].revision > BASE]
    if moved:
        for page in rng.choice(moved).pages:
            page.revision -= 1
    return bool(moved)


def mix_the_pages_of_two_revisions(history: History, rng: random.Random) -> bool:
    if history.listings:
        rng.choice(history.listings).pages[1].revision += 1
    return bool(history.listings)


def leave_an_object_out_of_a_list(history: History, rng: random.Random) -> bool:
    full = [page for x in history.listings for page in x.pages if page.versions]
    if full:
        rng.choice(full).versions.pop()
    return bool(full)


def use_a_revision_again(history: History, rng: random.Random) -> bool:
    events = session_of(history).events
    places = changes(session_of(history))
    if len(places) > 1:
        event = events[places[-1]]
        events[places[-1]] = replace(event, revision=events[places[-2]].revision)
    return len(places) > 1


def refuse_for_nothing(history: History, rng: random.Random) -> bool:
    history.expired.append(Expired(SCOPES[0], BASE, 1.0, 90.0))
    return True


def never_get_to_the_end(history: History, rng: random.Random) -> bool:
    session = session_of(history, SCOPES[1])
    session.must_reach += 1
    return True


def let_somebody_unknown_write(history: History, rng: random.Random) -> bool:
    found = acknowledged(history, "put", "merge", "create")
    if found:
        history.writes.remove(rng.choice(found))
    return bool(found)


HARMS: list[Harm] = [
    leave_an_event_out,
    tell_an_event_twice,
    swap_two_events,
    put_a_bookmark_before_its_time,
    alter_the_content_of_an_event,
    lose_an_acknowledged_write,
    acknowledge_a_deletion_that_was_none,
    let_a_refused_write_happen,
    read_what_is_long_gone,
    ignore_the_expected_revision,
    give_a_list_an_older_revision,
    mix_the_pages_of_two_revisions,
    leave_an_object_out_of_a_list,
    use_a_revision_again,
    refuse_for_nothing,
    never_get_to_the_end,
    let_somebody_unknown_write,
]


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**9), st.sampled_from(HARMS))
def test_harm_done_to_a_history_is_found(seed: int, harm: Harm) -> None:
    history = sound(seed)

    assume(harm(history, random.Random(seed)))

    assert check(history) != []


def a_history(*events: Event, after: int | None = BASE, initial: bool = False) -> History:
    """Return a history of two creates, and one watch that saw *events*."""
    history = History(base=BASE, held=100)
    for i, (key, color) in enumerate(((KEYS[0], "red"), (KEYS[1], "blue"))):
        wanted, at = Wanted(f"t{i}", color, "on"), float(i)
        history.writes.append(Write("create", key, wanted, 0, at, at + 0.5, 201, version=MADE[i]))
    seen = [Event("ADDED", v.revision, v, 3.0) for v in MADE]
    history.sessions = [Session(Scope(CONFIGMAPS), BASE, 0.0, events=seen)]
    history.sessions.append(Session(Scope(CONFIGMAPS, "", RED), after, 2.0, initial=initial, events=list(events)))
    return history


MADE = [version(KEYS[0], 11, "t0", "red", "u0"), version(KEYS[1], 12, "t1", "blue", "u1")]
RED_ONE = Event("ADDED", 11, MADE[0], 3.0)
END = Event("BOOKMARK", 12, None, 3.1, initial_end=True)


def test_initial_events_are_the_state_that_their_bookmark_names() -> None:
    assert check(a_history(RED_ONE, END, after=None, initial=True)) == []
    assert check(a_history(END, after=None, initial=True)) != []
    assert check(a_history(RED_ONE, after=None, initial=True)) != []
    assert check(a_history(RED_ONE, replace(END, revision=11), after=None, initial=True)) != []
    assert check(a_history(RED_ONE, END, RED_ONE, after=None, initial=True)) != []


def test_a_watch_of_the_present_shows_the_state_of_some_moment() -> None:
    assert check(a_history(RED_ONE, after=None)) == []
    assert check(a_history(after=None)) == [], "the watch ended before anything came"
    assert check(a_history(Event("ADDED", 12, MADE[1], 3.0), after=None)) != []
    assert check(a_history(RED_ONE, RED_ONE, after=None)) != []


def test_an_object_of_another_selection_is_not_told() -> None:
    assert check(a_history(RED_ONE)) == []
    assert check(a_history(RED_ONE, Event("ADDED", 12, MADE[1], 3.0))) != []


def test_who_leaves_a_selection_is_told_with_the_content_before() -> None:
    left = version(KEYS[0], 13, "t2", "blue", "u0")
    before = Version(KEYS[0], 13, MADE[0].content)
    for content, sound_ in ((before, True), (left, False)):
        history = a_history(RED_ONE, Event("DELETED", 13, content, 4.0))
        history.writes.append(Write("merge", KEYS[0], Wanted("t2", "blue"), 0, 3.5, 3.6, 200, version=left))
        history.sessions[0].events.append(Event("MODIFIED", 13, left, 4.0))

        assert (check(history) == []) is sound_


def test_a_refusal_says_what_was_so_at_some_moment() -> None:
    def refused(verb: str, status: int, reason: str, at: float, expected: int = 0) -> bool:
        history = a_history(RED_ONE)
        history.writes.append(Write(verb, KEYS[0], Wanted("no"), expected, at, at + 0.1, status, reason))
        return check(history) == []

    assert refused("create", 409, "AlreadyExists", 2.0)
    assert not refused("create", 409, "AlreadyExists", -1.0)
    assert refused("merge", 404, "NotFound", 0.1)
    assert not refused("merge", 404, "NotFound", 2.0)
    assert refused("put", 409, "Conflict", 2.0, expected=9)
    assert not refused("put", 409, "Conflict", 2.0, expected=11)


def test_pages_are_one_state_and_say_how_many_remain() -> None:
    def listed(*versions: Version, revision: int = 12, remaining: int = 1) -> bool:
        history = a_history(RED_ONE)
        first = Page(4.0, 4.1, revision, list(versions[:1]), remaining, last=False)
        history.listings.append(Listing(Scope(CONFIGMAPS), [first, Page(4.2, 4.3, revision, list(versions[1:]), None, last=True)]))
        return check(history) == []

    assert listed(*MADE)
    assert not listed(MADE[0])
    assert not listed(*MADE, remaining=2)
    assert not listed(MADE[0], revision=11), "a newer revision was known before"


def test_every_fault_to_seed_finds_what_it_replaces() -> None:
    """A renamed method is seen here, and not first in the long trial."""
    install = "from tests.consistency.faults import FAULTS; [install() for install in FAULTS.values()]"
    subprocess.run([sys.executable, "-c", install], check=True, timeout=60)
