"""Faults to seed into a server, each of which breaks one promise now and then: a checker that finds none of them proves nothing.

They replace methods of the running server process (`tests.consistency.server`); the product has no switch for them. Each strikes only
the resources of a trial.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from skerry.apiserver.registry import read, update, watch
from skerry.apiserver.store import Change, Key, Only, Record, Snapshot, Store, TooOldError, Watcher, store
from skerry.apiserver.store.history import Ring
from skerry.apiserver.store.pending import DELETED, Pending
from tests.consistency.subjects import RESOURCES

COMMIT_S = 0.1
"""How long a slow disk takes for a commit."""
FAULTS: dict[str, Callable[[], None]] = {}


def fault(install: Callable[[], None]) -> Callable[[], None]:
    FAULTS[install.__name__] = install
    return install


def every(n: int) -> Callable[[], bool]:
    """Return what is true at each *n*th call."""
    count = itertools.count(1)
    return lambda: next(count) % n == 0


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


def ours(key: Key) -> bool:
    return key.resource in RESOURCES


# Writes.


@fault
def acknowledges_before_the_commit() -> None:
    def make(stage: Any) -> Any:
        def staged(self: Store, key: Key, kind: int, encode: Any) -> Any:
            future = stage(self, key, kind, encode)
            pending = self._queue.newest(key)
            if pending is not None and ours(key):
                pending.resolve()
            return future

        return staged

    replace(Store, "_stage", make)


def _take_long_to_commit() -> None:
    """Commit as on a slow disk: there is time to see what is wrong meanwhile."""

    def make(insert: Any) -> Any:
        def late(db: Any, rows: Any) -> Any:
            time.sleep(COMMIT_S)
            return insert(db, rows)

        return late

    replace(store, "insert", make)


def _loses(doomed: Callable[[Any], bool]) -> None:
    """Leave some rows out of the file: memory has them until the process ends."""
    replace(store, "insert", lambda insert: lambda db, rows: insert(db, [row for row in rows if not doomed(row)]))


@fault
def a_write_is_not_on_the_disk() -> None:
    due = every(3)
    _loses(lambda row: row[1] in RESOURCES and due())


@fault
def a_deletion_is_not_on_the_disk() -> None:
    _loses(lambda row: row[1] in RESOURCES and row[4] == DELETED)


@fault
def a_revision_is_given_twice() -> None:
    due = every(20)

    def make(stage: Any) -> Any:
        def staged(self: Store, key: Key, kind: int, encode: Any) -> Any:
            twice = ours(key) and due()
            return stage(self, key, kind, (lambda revision: encode(revision - 1)) if twice else encode)

        return staged

    replace(Store, "_stage", make)


@fault
def the_expected_revision_is_ignored() -> None:
    replace(update._Attempt, "_preconditions", lambda _: lambda self, meta: None)


@fault
def two_changes_build_on_the_same_object() -> None:
    replace(Store, "_require", lambda require: lambda self, key, expected: None if ours(key) else require(self, key, expected))


@fault
def a_refused_write_happens() -> None:
    def make(preconditions: Any) -> Any:
        def check(self: Any, meta: Any) -> None:
            try:
                preconditions(self, meta)
            except Exception:
                key = self._record.key
                new = {**self._change.transform(self._old)}
                new["metadata"] = {**self._old["metadata"], "labels": (new.get("metadata") or {}).get("labels") or {}}
                tail = self._change.kind.encoding.tail(new)
                self._registry.store._stage(key, 1, self._registry.stored_as(self._change.kind).later(tail))
                raise

        return check

    replace(update._Attempt, "_preconditions", make)


# Reads.


@fault
def reads_see_what_is_not_committed() -> None:
    _take_long_to_commit()
    replace(Store, "get", lambda get: lambda self, key: self._newest_of(key, get) if ours(key) else get(self, key))

    def newest_of(self: Store, key: Key, get: Any) -> Record | None:
        pending = self._queue.newest(key)
        if pending is None:
            return get(self, key)  # type: ignore[no-any-return]
        return None if pending.kind == DELETED else pending.record

    Store._newest_of = newest_of  # type: ignore[attr-defined]


def _remembering(answer: Callable[[Store, Snapshot, Snapshot], Snapshot]) -> None:
    """Answer each fifth list with the help of one made a while ago."""
    kept: dict[tuple[str, str], Snapshot] = {}
    due = every(5)

    def make(list_: Any) -> Any:
        def listed(self: Store, resource: str, namespace: str = "") -> Snapshot:
            fresh: Snapshot = list_(self, resource, namespace)
            if resource not in RESOURCES:
                return fresh
            old = kept.setdefault((resource, namespace), fresh)
            if not due():
                return fresh
            kept[resource, namespace] = fresh
            return answer(self, old, fresh)

        return listed

    replace(Store, "list", make)


@fault
def a_list_is_stale() -> None:
    _remembering(lambda self, old, fresh: old)


@fault
def a_list_says_a_newer_revision_than_it_is_of() -> None:
    _remembering(lambda self, old, fresh: Snapshot(old.records, fresh.revision))


@fault
def a_list_mixes_two_states() -> None:
    _remembering(
        lambda self, old, fresh: Snapshot([*fresh.records[:2], *[r for r in old.records if r not in fresh.records[:2]]], fresh.revision)
    )


@fault
def pages_are_of_the_present() -> None:
    replace(
        read,
        "_snapshot_at",
        lambda _: lambda registry, kind, namespace, revision, start: Snapshot(registry.store.list(kind.key, namespace).records, revision),
    )


@fault
def a_page_leaves_out_its_first_object() -> None:
    replace(
        read,
        "_page",
        lambda page: (
            lambda kind, records, revision, options, *, start, limit: page(
                kind, [r for r in records if read._place(r) > start][1:] if start else records, revision, options, start=start, limit=limit
            )
        ),
    )


# Watches.


def _handing_out(alter: Callable[[list[Change]], list[Change]]) -> None:
    """Alter what watches are handed, at each seventh time."""
    due = every(7)

    def make(take: Any) -> Any:
        def taken(self: Watcher) -> list[Change]:
            found: list[Change] = take(self)
            return alter(found) if found and ours(found[0].record.key) and due() else found

        return taken

    replace(Watcher, "take", make)


@fault
def an_event_is_left_out() -> None:
    _handing_out(lambda changes: [*changes[:-2], changes[-1]] if len(changes) > 1 else changes)


@fault
def an_event_is_told_twice() -> None:
    _handing_out(lambda changes: [*changes, changes[-1]])


@fault
def two_events_are_swapped() -> None:
    _handing_out(lambda changes: [*changes[:-2], changes[-1], changes[-2]] if len(changes) > 1 else changes)


@fault
def a_bookmark_is_too_new() -> None:
    replace(
        watch._Watch, "_bookmark", lambda mark: lambda self, revision, end=False: mark(self, revision if end else revision + 5, end=end)
    )


@fault
def the_initial_events_end_too_soon() -> None:
    replace(watch._Watch, "_initial", lambda initial: lambda self, records: initial(self, records[:-1]))


def _beginning(at: int) -> None:
    def make(begin: Any) -> Any:
        def begun(self: Store, resource: str, namespace: str = "", *, after: int, only: Only | None = None) -> Watcher:
            shifted = max(after + at, 0) if resource in RESOURCES else after
            found: Watcher = begin(self, resource, namespace, after=min(shifted, self.revision), only=only)
            return found

        return begun

    replace(Store, "watch", make)


@fault
def a_watch_begins_one_too_late() -> None:
    _beginning(+1)


@fault
def a_watch_begins_one_too_early() -> None:
    _beginning(-1)


@fault
def a_deletion_makes_no_event() -> None:
    due = every(4)

    def make(apply: Any) -> Any:
        def applied(self: Store, pending: Pending) -> Change:
            silent = pending.kind == DELETED and ours(pending.record.key) and due()
            if not silent:
                return apply(self, pending)  # type: ignore[no-any-return]
            append, self._history.append = self._history.append, lambda change: None  # type: ignore[method-assign]
            try:
                return apply(self, pending)  # type: ignore[no-any-return]
            finally:
                self._history.append = append  # type: ignore[method-assign]

        return applied

    replace(Store, "_apply", make)


@fault
def who_leaves_a_selection_shows_its_new_content() -> None:
    replace(watch._Watch, "_cached", lambda cached: lambda self, change, type_, record: cached(self, change, type_, change.record))


@fault
def who_leaves_a_selection_is_not_told() -> None:
    def make(selected: Any) -> Any:
        def line(self: Any, change: Change) -> bytes:
            found: bytes = selected(self, change)
            return b"" if found.startswith(b'{"type":"DELETED"') and change.type != "DELETED" else found

        return line

    replace(watch._Watch, "_selected", make)


@fault
def who_enters_a_selection_is_called_modified() -> None:
    def make(selected: Any) -> Any:
        def line(self: Any, change: Change) -> bytes:
            found: bytes = selected(self, change)
            return found.replace(b'"ADDED"', b'"MODIFIED"', 1) if change.type != "ADDED" else found

        return line

    replace(watch._Watch, "_selected", make)


@fault
def a_namespace_leaks() -> None:
    def every_namespace(self: Watcher, news: Sequence[Change]) -> list[Change]:
        return list(news)

    replace(Watcher, "_matching", lambda _: every_namespace)


@fault
def a_watch_from_the_forgotten_past_says_nothing_of_it() -> None:
    def silent(self: Ring, revision: int) -> None:
        pass

    replace(Ring, "require", lambda _: silent)


@fault
def a_watch_is_told_to_begin_anew_for_nothing() -> None:
    due = every(25)

    def make(require: Any) -> Any:
        def required(self: Ring, revision: int) -> None:
            if self.resource in RESOURCES and due():
                raise TooOldError(self.resource, revision=revision, oldest=revision + 1)
            require(self, revision)

        return required

    replace(Ring, "require", make)
