"""What the store promises, checked by code of its own: a record of what was asked and answered, and the faults found in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from skerry.apiserver.store import Change, Index, Key, Store

State = dict[Key, bytes]


def no_index(_: Key, __: bytes) -> Index:
    return Index()


@dataclass(frozen=True)
class Asked:
    """One write as its encoder saw it."""

    revision: int
    type: str
    key: Key
    value: bytes


@dataclass
class Journal:
    """Everything asked of a store since a known state, and which revisions were answered."""

    base: State = field(default_factory=dict)
    base_revision: int = 0
    asked: list[Asked] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)

    def encoder(self, kind: str, key: Key, text: bytes) -> Callable[[int], bytes]:
        def encode(revision: int) -> bytes:
            value = b"%d:%s" % (revision, text)
            self.asked.append(Asked(revision, kind, key, value))
            return value

        return encode

    def state_at(self, revision: int) -> State:
        state = dict(self.base)
        for asked in self.asked:
            if asked.revision > revision:
                continue
            if asked.type == "DELETED":
                state.pop(asked.key, None)
            else:
                state[asked.key] = asked.value
        return state


async def create(store: Store, journal: Journal, key: Key, text: bytes) -> None:
    record = await store.create(key, journal.encoder("ADDED", key, text))
    journal.answered.add(record.revision)


async def update(store: Store, journal: Journal, key: Key, text: bytes, *, expected: int) -> None:
    record = await store.update(key, journal.encoder("MODIFIED", key, text), expected=expected)
    journal.answered.add(record.revision)


async def delete(store: Store, journal: Journal, key: Key, *, expected: int) -> None:
    record = await store.delete(key, journal.encoder("DELETED", key, b"gone"), expected=expected)
    journal.answered.add(record.revision)


def state_faults(journal: Journal, *, revision: int, state: State) -> list[str]:
    """Return what is wrong with a store that was opened again: it must hold all that was answered, and no half of a write."""
    faults = []
    newest = max(journal.answered, default=journal.base_revision)
    if revision < newest:
        faults.append(f"revision {newest} was acknowledged, but the store is back at {revision}")
    wanted = journal.state_at(revision)
    keys = [key for key in sorted(wanted.keys() | state.keys(), key=str) if wanted.get(key) != state.get(key)]
    return faults + [f"{key} is {state.get(key)!r}, at revision {revision} it was {wanted.get(key)!r}" for key in keys]


def state_of(store: Store, resources: Iterable[str]) -> State:
    """Return all objects as GET and LIST show them."""
    listed = {record.key: record.value for resource in resources for record in store.list(resource).records}
    assert all((found := store.get(key)) is not None and found.value == value for key, value in listed.items())
    return listed


def watch_faults(asked: Sequence[Asked], seen: Sequence[Change], *, after: int, until: int) -> list[str]:
    """Return what a watch of *asked* (one resource) missed, repeated, altered or put out of order between two revisions."""
    wanted = [(a.revision, a.type, a.key, a.value) for a in asked if after < a.revision <= until]
    got = [(c.revision, c.type, c.record.key, c.record.value) for c in seen]
    if wanted == got:
        return []
    revisions = [revision for revision, *_ in got]
    faults = [f"missed revision {revision}" for revision, *_ in wanted if revision not in revisions]
    faults += [f"repeated revision {revision}" for revision in set(revisions) if revisions.count(revision) > 1]
    return faults or [f"wrong content or order: wanted {wanted}, got {got}"]
