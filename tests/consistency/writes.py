"""Rules for writes: each that was acknowledged happened once, at its revision, on what it says it was based on; no other happened.

Events are traced to the write that asked for them: by its token, or, for deletions, by the uid that went.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.consistency.history import NEVER, History, Key, Version, Write
from tests.consistency.log import Log, LogEvent, Violation, short
from tests.consistency.subjects import View, view
from tests.consistency.windows import Windows

WITH_TOKEN = frozenset(("create", "put", "merge", "apply", "status"))


class Traced:
    """Which write made which event."""

    def __init__(self, log: Log, history: History, found: list[Violation]) -> None:
        self._found = found
        self._tokens = {w.wanted.token: w for w in history.writes if w.wanted.token}
        self._others: dict[Key, list[Write]] = {}
        for write in history.writes:
            if write.verb not in WITH_TOKEN and write.status in (0, 200):
                self._others.setdefault(write.key, []).append(write)
        self._gone = {w.gone_uid: w for w in history.writes if w.gone_uid}
        self.made: dict[str, LogEvent] = {}
        self.ended: dict[str, LogEvent] = {}
        for event in log.events:
            event.began = self._trace(event)

    def removals(self) -> list[tuple[float, int]]:
        """Return when deletions were acknowledged, and their revisions."""
        return [(w.ended, self.ended[uid].revision) for uid, w in self._gone.items() if uid in self.ended]

    def _trace(self, event: LogEvent) -> float:
        """Return when the write behind *event* was asked for."""
        if event.type == "DELETED":
            self.ended[event.version.uid] = event
            known = self._gone.get(event.version.uid)
            return known.began if known is not None else self._untold(event, ("delete", "release"))
        after, before = view(event.version), view(event.before) if event.before is not None else None
        token = _news(after, before)
        if token:
            return self._by_token(event, token, before, after)
        if event.before is not None and event.version.terminating and not event.before.terminating:
            return self._untold(event, ("delete",))
        return self._untold(event, ("release",))

    def _by_token(self, event: LogEvent, token: str, before: View | None, after: View) -> float:
        write = self._tokens.get(token)
        if write is None:
            return self._complain(event, f"brings {token!r}, which nobody wrote")
        if token in self.made:
            return self._complain(event, f"brings {token!r} again, after {self.made[token].revision}")
        self.made[token] = event
        if write.key != event.version.key:
            return self._complain(event, f"brings {token!r}, which was written to {write.key}")
        wanted = effect(write, before)
        if wanted != after:
            self._complain(event, f"is {after} after {write.verb} on {before}, not {wanted}")
        if write.expected and (event.before is None or event.before.revision != write.expected):
            at = event.before.revision if event.before is not None else "nothing"
            self._complain(event, f"was to replace {write.expected} and replaced {at}")
        if write.status == 201 and event.before is not None:
            self._complain(event, "was said to be new")
        return write.began

    def _untold(self, event: LogEvent, verbs: tuple[str, ...]) -> float:
        """An event without a token: some write of these verbs must have been under way, answered or not."""
        began = [w.began for w in self._others.get(event.version.key, ()) if w.verb in verbs]
        return min(began) if began else self._complain(event, "was asked for by nobody")

    def _complain(self, event: LogEvent, text: str) -> float:
        self._found.append(Violation("writes", f"{event.type} {short(event.version)} {text}"))
        return -NEVER


def _news(after: View, before: View | None) -> str:
    if before is None:
        return after.token
    return after.token if after.token != before.token else after.status if after.status != before.status else ""


def effect(write: Write, before: View | None) -> View | None:
    """Return what an object is after *write*; None when the write cannot have worked. Pure."""
    wanted = write.wanted
    if write.verb == "create" or (write.verb == "apply" and before is None):
        return None if before is not None else View(wanted.token, wanted.color or "", wanted.mode or "", wanted.finalizers or (), "")
    if before is None:
        return None
    if write.verb == "put":
        return View(wanted.token, wanted.color or "", wanted.mode or "", wanted.finalizers or (), before.status)
    if write.verb == "status":
        return before._replace(status=wanted.token)
    color = before.color if wanted.color is None else wanted.color
    return before._replace(token=wanted.token, color=color, mode=before.mode if wanted.mode is None else wanted.mode)


def check(log: Log, history: History, windows: Windows, traced: Traced, found: list[Violation]) -> None:
    """Check every answer to a write."""
    deleted: dict[str, Write] = {}
    for write in history.writes:
        why = _wrong_answer(write, log, windows, traced)
        if write.gone_uid and deleted.setdefault(write.gone_uid, write) is not write:
            why = f"says that it removed {write.gone_uid}, as another one did"
        if why:
            found.append(Violation("writes", f"{write.verb} of {_name(write)} answered {write.status or 'nothing'} and {why}"))


def _wrong_answer(write: Write, log: Log, windows: Windows, traced: Traced) -> str:
    if write.status in (200, 201):
        event, why = _made(write, log, traced)
        if event is not None and event.revision <= windows.low(write.began):
            return f"its revision is {event.revision}, {windows.low(write.began)} was known before it began"
        return why
    event = traced.made.get(write.wanted.token) if write.wanted.token else None
    if event is not None and write.status:
        return f"happened nevertheless at {event.revision}"
    if write.status in (404, 409):
        return _wrong_refusal(write, log, windows)
    return ""


def _made(write: Write, log: Log, traced: Traced) -> tuple[LogEvent | None, str]:
    """Return the event that an acknowledged write made, if it is one that it alone can have made, and what is wrong."""
    if write.gone_uid:
        event = traced.ended.get(write.gone_uid)
        return event, "" if event is not None else "no event tells of it"
    assert write.version is not None
    if write.verb in WITH_TOKEN:
        event = traced.made.get(write.wanted.token)
        if event is None:
            return None, f"nothing tells of it, it named revision {write.version.revision}"
        return event, "" if event.revision == write.version.revision else f"named revision {write.version.revision}, it is {event.revision}"
    known = log.at(write.version.revision)
    if known is not None and known.version.same(write.version):
        return None, ""
    return None, _wrong_release(write, write.version, traced)


def _wrong_release(write: Write, version: Version, traced: Traced) -> str:
    """The last finalizer's removal answers with the object at its previous revision, and the object is gone."""
    event = traced.ended.get(version.uid)
    if write.verb != "release" or not version.terminating or event is None or event.before is None:
        return f"brought {short(version)}, which never was"
    return "" if event.before.revision == version.revision else f"named {version.revision}, the object was at {event.before.revision} last"


def _wrong_refusal(write: Write, log: Log, windows: Windows) -> str:
    """A refusal tells of the state at some moment between question and answer."""
    low, high = windows.low(write.began), windows.high(write.ended)
    fits: Callable[[Version | None], bool]
    if write.status == 404:
        fits, what = lambda v: v is None, "it was there all the time"
    elif write.reason == "AlreadyExists":
        fits, what = lambda v: v is not None, "it was not there"
    elif write.expected:
        fits, what = lambda v: v is not None and v.revision != write.expected, f"it was at {write.expected} all the time"
    else:
        return ""
    return "" if any(fits(v) for v in log.values(write.key, low, high)) else f"{what} between {low} and {high}"


def _name(write: Write) -> str:
    return f"{write.key.resource} {write.key.namespace}/{write.key.name} ({write.wanted.token or 'no token'})"


__all__ = ["Traced", "check", "effect"]
