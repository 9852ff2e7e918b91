"""The one order of events, put together from what unselective watches and acknowledged writes saw, and states reckoned from it.

Revisions give the order of versions, so everything is checked against this log in nearly linear time. Whatever two observers saw
differently is a violation by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.consistency.history import NEVER, History, Key, Scope, Session, Version


class Violation(NamedTuple):
    """One broken promise: which rule, and what was seen."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(slots=True)
class LogEvent:
    """One event; `before` is what the key held, `began` when the write that made it was first asked for."""

    type: str
    revision: int
    version: Version
    before: Version | None = None
    began: float = -NEVER

    @property
    def after(self) -> Version | None:
        return None if self.type == "DELETED" else self.version


class Expected(NamedTuple):
    """What a watch of some scope has to be told at a revision."""

    revision: int
    type: str
    version: Version


class Log:
    """The events of a trial in order of revision."""

    def __init__(self, base: int, events: Sequence[LogEvent]) -> None:
        self.base = base
        self.events = events
        self._by_revision = {e.revision: e for e in events}
        self._by_key: dict[Key, list[LogEvent]] = {}
        for event in events:
            self._by_key.setdefault(event.version.key, []).append(event)
        self._revisions = {key: [e.revision for e in found] for key, found in self._by_key.items()}
        self._expected: dict[Scope, list[Expected]] = {}
        self._of_resource: dict[str, list[int]] = {}
        for event in events:
            self._of_resource.setdefault(event.version.key.resource, []).append(event.revision)

    @property
    def end(self) -> int:
        return self.events[-1].revision if self.events else self.base

    def at(self, revision: int) -> LogEvent | None:
        return self._by_revision.get(revision)

    def of(self, key: Key) -> Sequence[LogEvent]:
        return self._by_key.get(key, ())

    def state(self, scope: Scope, revision: int) -> list[Version]:
        """Return the objects of *scope* at *revision*, sorted by namespace and name."""
        found = []
        for key in sorted(self._by_key):
            if key.resource == scope.resource and (not scope.namespace or key.namespace == scope.namespace):
                version = self.value(key, revision)
                if version is not None and scope.covers(version):
                    found.append(version)
        return found

    def value(self, key: Key, revision: int) -> Version | None:
        """Return what *key* held at *revision*."""
        i = bisect_right(self._revisions.get(key, ()), revision)
        return self._by_key[key][i - 1].after if i else None

    def values(self, key: Key, low: int, high: int) -> Iterable[Version | None]:
        """Yield everything that *key* held between two revisions, both included."""
        yield self.value(key, low)
        revisions = self._revisions.get(key, ())
        for i in range(bisect_right(revisions, low), bisect_right(revisions, high)):
            yield self._by_key[key][i].after

    def changes_between(self, resource: str, low: int, high: int) -> list[int]:
        """Return the revisions of *resource* above *low* up to *high*."""
        revisions = self._of_resource.get(resource, [])
        return revisions[bisect_right(revisions, low) : bisect_right(revisions, high)]

    def expected(self, scope: Scope) -> list[Expected]:
        """Return all that a watch of *scope* from the beginning has to be told."""
        found = self._expected.get(scope)
        if found is None:
            found = self._expected[scope] = [e for event in self.events if (e := _seen_by(scope, event)) is not None]
        return found


def _seen_by(scope: Scope, event: LogEvent) -> Expected | None:
    """Return the event as a watch of *scope* sees it: entering is ADDED, leaving DELETED with the content before."""
    if not scope.selective:
        return Expected(event.revision, event.type, event.version) if scope.covers(event.version) else None
    before = event.before if event.before is not None and scope.covers(event.before) else None
    after = event.after if event.after is not None and scope.covers(event.after) else None
    if after is not None:
        return Expected(event.revision, "ADDED" if before is None else "MODIFIED", after)
    if before is None:
        return None
    last = event.version if event.type == "DELETED" else Version(before.key, event.revision, before.content)
    return Expected(event.revision, "DELETED", last)


def build(history: History, found: list[Violation]) -> Log:
    """Put the log together; what does not fit together goes to *found*."""
    events: dict[int, LogEvent] = {}
    for session in history.sessions:
        if not session.scope.selective and not session.scope.namespace and session.after is not None:
            _take(session, events, found)
    _take_answers(history, events, found)
    return Log(history.base, _chained([events[r] for r in sorted(events)], found))


def _take(session: Session, events: dict[int, LogEvent], found: list[Violation]) -> None:
    for event in session.events:
        if event.version is None:
            continue
        known = events.get(event.revision)
        if known is None:
            events[event.revision] = LogEvent(event.type, event.revision, event.version)
        elif known.type != event.type or not known.version.same(event.version):
            was = f"{known.type} {short(known.version)}"
            found.append(Violation("one history", f"revision {event.revision} was {was} and then {event.type} {short(event.version)}"))


def _take_answers(history: History, events: dict[int, LogEvent], found: list[Violation]) -> None:
    """Hold every object that an answer brought against the log: it is the version of its revision."""
    seen = [w.version for w in history.writes if w.version is not None and w.verb != "release"]
    seen += [r.version for r in history.reads if r.version is not None]
    seen += [v for listing in history.listings for page in listing.pages for v in page.versions]
    for version in {id(v): v for v in seen}.values():
        known = events.get(version.revision)
        if known is None:
            found.append(Violation("no event", f"{short(version)} was answered, and no watch saw it"))
            events[version.revision] = LogEvent("", version.revision, version)
        elif not known.version.same(version):
            found.append(Violation("one history", f"{short(version)} was answered, watches saw {short(known.version)} of other content"))


def _chained(events: list[LogEvent], found: list[Violation]) -> list[LogEvent]:
    """Give each event what its key held before, and check that one follows from the other."""
    held: dict[Key, Version] = {}
    uids: set[str] = set()
    for event in events:
        key, version = event.version.key, event.version
        before = event.before = held.pop(key, None)
        event.type = event.type or ("ADDED" if before is None else "MODIFIED")
        if event.type != "DELETED":
            held[key] = version
        why = _wrong_step(event, before, uids)
        uids.add(version.uid)
        if why:
            found.append(Violation("one life", f"{event.type} {short(version)} {why}"))
    return events


def _wrong_step(event: LogEvent, before: Version | None, uids: set[str]) -> str:
    version = event.version
    if event.type == "ADDED":
        if before is not None:
            return f"though it was there at {before.revision}"
        return f"with the uid {version.uid} of an earlier life" if version.uid in uids else ""
    if before is None:
        return "though it was not there"
    if version.uid != before.uid:
        return f"with the uid {version.uid}, it was {before.uid}"
    if event.type == "DELETED":
        return "" if version.content == before.content else "with other content than it had last"
    if version.content == before.content:
        return "though nothing changed"
    return _wrong_generation(version, before)


def _wrong_generation(version: Version, before: Version) -> str:
    old, new = before.content["metadata"].get("generation"), version.content["metadata"].get("generation")
    if old is None and new is None:
        return ""
    marked = version.terminating and not before.terminating
    wanted = (old or 0) + (1 if marked or version.content.get("spec") != before.content.get("spec") else 0)
    return "" if new == wanted else f"with generation {new}, not {wanted}"


def short(version: Version) -> str:
    """Name an object and its revision."""
    return f"{version.key.resource} {version.key.namespace}/{version.key.name} at {version.revision}"
