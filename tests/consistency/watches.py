"""Rules for watches: in order, each event once, none left out, from where it began to where a bookmark or its end says it is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from tests.consistency.history import Event, History, Session
from tests.consistency.log import Log, Violation, short
from tests.consistency.windows import Windows

MAX_CANDIDATES = 400
_revision = attrgetter("revision")


def check(log: Log, history: History, windows: Windows, found: list[Violation]) -> None:
    """Check every watch."""
    for session in history.sessions:
        why = _wrong(session, log, windows)
        if why:
            found.append(Violation("watches", f"{session.scope} from {session.after}: {why}"))


def _wrong(session: Session, log: Log, windows: Windows) -> str:
    if session.after is not None:
        why = _wrong_stream(session, session.events, log, session.after)
    elif session.initial:
        why = _wrong_initial(session, log, windows)
    else:
        why = _wrong_unmarked(session, log, windows)
    reached = max((e.revision for e in session.events), default=session.after or 0)
    if not why and reached < session.must_reach:
        why = f"it never got beyond {reached}, {session.must_reach} was there"
    return why


def _wrong_stream(session: Session, events: Sequence[Event], log: Log, after: int) -> str:
    """The events are the next ones above *after*, and no bookmark is ahead of one that is still to come."""
    expected = log.expected(session.scope)
    i = bisect_right(expected, after, key=_revision)
    told = after
    for event in events:
        nearest = expected[i] if i < len(expected) else None
        if event.version is None:
            if event.initial_end:
                return "a second end of the initial events"
            if nearest is not None and nearest.revision <= event.revision:
                return f"a bookmark said {event.revision} before {nearest.type} {short(nearest.version)} was told"
            if event.revision < told:
                return f"a bookmark went back from {told} to {event.revision}"
        elif nearest is None or nearest.revision != event.revision:
            wanted = f"{nearest.type} {short(nearest.version)}" if nearest is not None else "nothing"
            return f"{event.type} {short(event.version)} was told after {told}, where {wanted} is next"
        elif nearest.type != event.type or not nearest.version.same(event.version):
            return f"{event.type} {short(event.version)} is not the {nearest.type} that it is to this watch, or not its content"
        else:
            i += 1
        told = event.revision
    return ""


def _wrong_initial(session: Session, log: Log, windows: Windows) -> str:
    """With sendInitialEvents, a bookmark ends the initial events and says of which revision they are."""
    at = next((i for i, e in enumerate(session.events) if e.initial_end), None)
    if at is None:
        if session.end == "closed":
            return "the initial events never ended"
        broken = [e for e in session.events if e.type != "ADDED"]
        return "events came before the end of the initial ones" if broken else _unknown_among(session.events, log)
    mark = session.events[at]
    low = max(windows.low(session.began), session.not_older)
    if not low <= mark.revision <= windows.high(mark.at):
        return f"the initial events are of {mark.revision}, not between {low} and {windows.high(mark.at)}"
    why = _not_the_state(session.events[:at], session, log, mark.revision)
    return why or _wrong_stream(session, session.events[at + 1 :], log, mark.revision)


def _wrong_unmarked(session: Session, log: Log, windows: Windows) -> str:
    """Without sendInitialEvents nothing says where the state ends: some revision must explain everything."""
    if not session.events:
        return ""
    low, high = windows.low(session.began), windows.high(session.events[0].at)
    candidates = [low, *log.changes_between(session.scope.resource, low, high)]
    first = ""
    for revision in reversed(candidates[-MAX_CANDIDATES:]):
        count = len(log.state(session.scope, revision))
        initial, live = session.events[:count], session.events[count:]
        if len(initial) < count and session.end != "closed":
            why = _unknown_among(initial, log)
        else:
            why = _not_the_state(initial, session, log, revision) or _wrong_stream(session, live, log, revision)
        if not why:
            return ""
        first = first or why
    return f"no revision from {low} to {high} explains it; at the last: {first}"


def _not_the_state(initial: Sequence[Event], session: Session, log: Log, revision: int) -> str:
    given = sorted((e.version.key, e.revision) for e in initial if e.version is not None and e.type == "ADDED")
    wanted = [(v.key, v.revision) for v in log.state(session.scope, revision)]
    if len(given) != len(initial) or given != sorted(wanted):
        return f"its initial events {given} are not the state at {revision}: {wanted}"
    return _unknown_among(initial, log)


def _unknown_among(events: Sequence[Event], log: Log) -> str:
    for event in events:
        known = log.at(event.revision)
        if event.version is not None and (known is None or not known.version.same(event.version)):
            return f"{short(event.version)} is not what it was"
    return ""
