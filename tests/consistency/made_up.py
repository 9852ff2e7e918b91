"""Histories made by a model that keeps every promise, for the tests of the checker: what is found in them is the checker's fault."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.consistency.history import Event, History, Key, Listing, Page, Read, Scope, Session, Version, Wanted, Write
from tests.consistency.subjects import CONFIGMAPS

BASE = 10
RED = (("color", "red"),)
KEYS = [Key(CONFIGMAPS, namespace, name) for namespace in ("trial-a", "trial-b") for name in ("x", "y")]
SCOPES = [Scope(CONFIGMAPS), Scope(CONFIGMAPS, "trial-a"), Scope(CONFIGMAPS, "", RED), Scope(CONFIGMAPS, fields=(("metadata.name", "x"),))]


def version(key: Key, revision: int, token: str, color: str, uid: str) -> Version:
    meta = {"name": key.name, "namespace": key.namespace, "uid": uid, "labels": {"color": color}}
    return Version(key, revision, {"metadata": meta, "data": {"token": token, "mode": "on"}})


@dataclass
class Model:
    """One sound server and its clients; each commit is a tick of the clock."""

    rng: random.Random
    history: History = field(default_factory=lambda: History(base=BASE, held=1_000))
    revision: int = BASE
    clock: float = 0.0
    now: dict[Key, Version] = field(default_factory=dict)
    lives: int = 0

    def __post_init__(self) -> None:
        self.history.sessions = [Session(scope, BASE, 0.0) for scope in SCOPES]

    def step(self) -> None:
        self.clock += 1.0
        pick = self.rng.random()
        if pick < 0.6:
            self.write(self.rng.choice(KEYS))
        elif pick < 0.8:
            self.read(self.rng.choice(KEYS))
        elif pick < 0.95:
            self.list(self.rng.choice(SCOPES))
        else:
            self.bookmark(self.rng.choice(self.history.sessions))

    def span(self) -> tuple[float, float]:
        """Return when a request that takes effect now began and ended: others overlap it."""
        return self.clock - self.rng.uniform(0, 2), self.clock + self.rng.uniform(0, 2)

    def write(self, key: Key) -> None:
        before = self.now.get(key)
        self.revision += 1
        began, ended = self.span()
        color, token = self.rng.choice(("red", "blue")), f"t-{self.revision}"
        if before is not None and self.rng.random() < 0.3:
            gone = Version(key, self.revision, before.content)
            self._tell("DELETED", gone, before)
            del self.now[key]
            self.history.writes.append(Write("delete", key, Wanted(), 0, began, ended, 200, gone_uid=before.uid))
            return
        self.lives += before is None
        made = version(key, self.revision, token, color, before.uid if before is not None else f"u-{self.lives}")
        wanted = Wanted(token, color, "on")
        verb = "create" if before is None else self.rng.choice(("put", "merge"))
        expected = before.revision if before is not None and self.rng.random() < 0.5 else 0
        self.now[key] = made
        self.history.writes.append(Write(verb, key, wanted, expected, began, ended, 201 if before is None else 200, version=made))
        self._tell("MODIFIED" if before is not None else "ADDED", made, before)

    def _tell(self, type_: str, made: Version, before: Version | None) -> None:
        for session in self.history.sessions:
            event = self._seen(session.scope, type_, made, before)
            if event is not None:
                session.events.append(event)

    def _seen(self, scope: Scope, type_: str, made: Version, before: Version | None) -> Event | None:
        was, is_ = before is not None and scope.covers(before), type_ != "DELETED" and scope.covers(made)
        at = self.clock + 0.1
        if is_:
            return Event("MODIFIED" if was else "ADDED", made.revision, made, at)
        if not was:
            return None
        assert before is not None
        return Event("DELETED", made.revision, Version(made.key, made.revision, before.content), at)

    def read(self, key: Key) -> None:
        self.history.reads.append(Read(key, 0, *self.span(), self.now.get(key)))

    def list(self, scope: Scope) -> None:
        began, ended = self.span()
        found = [self.now[key] for key in sorted(self.now) if scope.covers(self.now[key])]
        cut = self.rng.randint(0, len(found))
        first = Page(began, ended, self.revision, found[:cut], None, last=False)
        rest = Page(ended, ended + 1, self.revision, found[cut:], None, last=True)
        self.history.listings.append(Listing(scope, [first, rest]))

    def bookmark(self, session: Session) -> None:
        session.events.append(Event("BOOKMARK", self.revision, None, self.clock + 0.1))


def sound(seed: int, steps: int = 60) -> History:
    """Return a history that breaks no promise."""
    model = Model(random.Random(seed))
    for _ in range(steps):
        model.step()
    for session in model.history.sessions:
        session.must_reach = max([BASE, *(e.revision for e in session.events)])
    return model.history


def session_of(history: History, scope: Scope = SCOPES[0]) -> Session:
    return next(s for s in history.sessions if s.scope == scope)


def acknowledged(history: History, *verbs: str) -> list[Write]:
    return [w for w in history.writes if w.verb in verbs]
