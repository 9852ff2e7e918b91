"""Watches: what a watch resumed by resourceVersion misses or repeats, over random histories with compaction and restarts."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.apiserver.store import NAME, Change, Index, Key, Only, Store, TooOldError, Watcher
from skerry.apiserver.store import store as store_module
from skerry.apiserver.store.history import Ring
from tests.unit.store.checks import Asked, Journal, create, delete, no_index, state_faults, state_of, update, watch_faults

HISTORY = 6
RESOURCES = ("pods", "leases")
KEYS = [Key(resource, f"n{n % 2}", f"x{n}") for resource in RESOURCES for n in range(3)]

Step = tuple[str, int]
steps = st.lists(
    st.tuples(st.sampled_from(["write", "write", "write", "delete", "watch", "take", "burst", "reopen"]), st.integers(0, len(KEYS) - 1)),
    min_size=1,
    max_size=30,
)


class Run:
    """Carries out steps on a store with a small history, and checks every watch against the journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal()
        self.faults: list[str] = []
        self.watches: list[tuple[Watcher, str, int, list[Change]]] = []  # with the resource, where it began, what it saw
        self.store: Store

    async def carry_out(self, plan: list[Step]) -> list[str]:
        self.store = await self.open()
        for step, which in plan:
            await getattr(self, step)(which)
        await self.reopen(0)
        self.check_every_resume()
        await self.take(0)
        await self.store.close()
        return self.faults

    async def open(self) -> Store:
        return await Store.open(self.path, index=no_index, history=HISTORY)

    async def write(self, which: int) -> None:
        key = KEYS[which]
        found = self.store.get(key)
        if found is None:
            await create(self.store, self.journal, key, b"a")
        else:
            await update(self.store, self.journal, key, b"b", expected=found.revision)

    async def delete(self, which: int) -> None:
        found = self.store.get(KEYS[which])
        if found is not None:
            await delete(self.store, self.journal, KEYS[which], expected=found.revision)

    async def burst(self, which: int) -> None:
        """Write all objects at once, and one that may exist."""
        present = [record for key in KEYS if (record := self.store.get(key)) is not None]
        jobs: list[Any] = [update(self.store, self.journal, r.key, b"c", expected=r.revision) for r in present]
        key = Key("pods", "n0", f"burst{len(self.journal.asked)}")
        await asyncio.gather(
            *jobs, create(self.store, self.journal, key, b"d"), create(self.store, self.journal, KEYS[which], b"e"), return_exceptions=True
        )

    async def watch(self, which: int) -> None:
        resource = KEYS[which].resource
        self.watches.append((self.store.watch(resource, after=self.store.revision), resource, self.store.revision, []))

    async def take(self, _: int) -> None:
        for watcher, resource, after, seen in list(self.watches):
            try:
                while news := watcher.take():
                    seen += news
            except TooOldError:
                self.watches.remove((watcher, resource, after, seen))
                self.expect_forgotten(resource, seen[-1].revision if seen else after)
                continue
            self.faults += watch_faults(self.asked(resource), seen, after=after, until=self.store.revision)

    async def reopen(self, _: int) -> None:
        """Start the store again; each watch resumes where it was."""
        at = [(resource, after, watcher.revision, seen) for watcher, resource, after, seen in self.watches_within_history()]
        await self.store.close()
        self.store = await self.open()
        self.faults += state_faults(self.journal, revision=self.store.revision, state=state_of(self.store, RESOURCES))
        self.watches = [(self.store.watch(resource, after=revision), resource, after, seen) for resource, after, revision, seen in at]

    def watches_within_history(self) -> list[tuple[Watcher, str, int, list[Change]]]:
        kept = []
        for watch in self.watches:
            try:
                while news := watch[0].take():
                    watch[3].extend(news)
                kept.append(watch)
            except TooOldError:
                self.expect_forgotten(watch[1], watch[3][-1].revision if watch[3] else watch[2])
        return kept

    def check_every_resume(self) -> None:
        for resource in RESOURCES:
            for after in range(self.store.revision + 1):
                self.check_resume(resource, after)

    def check_resume(self, resource: str, after: int) -> None:
        try:
            watcher = self.store.watch(resource, after=after)
            listed = self.store.list_at(resource, "", after)
        except TooOldError:
            self.expect_forgotten(resource, after)
            return
        seen = watcher.take()
        watcher.close()
        self.faults += watch_faults(self.asked(resource), seen, after=after, until=self.store.revision)
        if {r.key: r.value for r in listed.records} != {k: v for k, v in self.journal.state_at(after).items() if k.resource == resource}:
            self.faults.append(f"the list of {resource} at {after} is not what it was")

    def expect_forgotten(self, resource: str, after: int) -> None:
        if sum(a.revision > after for a in self.asked(resource)) <= HISTORY:
            self.faults.append(f"{resource} after {after} was refused, although the history reaches further back")

    def asked(self, resource: str) -> list[Asked]:
        return [a for a in self.journal.asked if a.key.resource == resource]


def run(plan: list[Step]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(Run(Path(folder) / "hub.sqlite").carry_out(plan))


@pytest.fixture(autouse=True)
def compaction_happens_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "GARBAGE_ROWS", 3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=steps)
def test_a_resumed_watch_misses_and_repeats_nothing(plan: list[Step]) -> None:
    assert run(plan) == []


SELECTIONS = (Only(NAME, "x0"), Only("letter", "a"))
naps = st.lists(st.tuples(st.sampled_from(["write", "write", "delete", "give up"]), st.integers(0, 2), st.sampled_from("ab")), max_size=40)


class Nap:
    """A watch of one name or value, which sleeps until it is woken or given up, held against all changes."""

    def __init__(self, store: Store, only: Only) -> None:
        self.watcher = store.watch("pods", after=0, only=only)
        self.only = only
        self.seen: list[int] = []
        self.waiting = asyncio.ensure_future(anext(self.watcher))

    async def look(self, told: list[Change], *, give_up: bool) -> None:
        """Take what came, and compare it with what a bookmark would say now."""
        if give_up:
            self.waiting.cancel()
            await asyncio.wait([self.waiting])
        if self.waiting.done():
            if not self.waiting.cancelled():
                self.seen += [change.revision for change in self.waiting.result()]
            self.waiting = asyncio.ensure_future(anext(self.watcher))
        mark = self.watcher.revision
        assert [r for r in self.seen if r <= mark] == [c.revision for c in told if c.revision <= mark and self.concerns(c)]

    def concerns(self, change: Change) -> bool:
        if self.only.path == NAME:
            return change.record.key.name == self.only.value
        return self.only.value in [r.value.decode() for r in (change.record, change.previous) if r is not None]


async def nap(plan: list[tuple[str, int, str]], path: Path) -> None:
    store = await Store.open(path, index=lambda _, value: Index(fields={"letter": value.decode()}), history=HISTORY)
    told: list[Change] = []
    store.subscribe(told.extend)
    naps = [Nap(store, only) for only in SELECTIONS]
    for step, which, letter in plan:
        key = Key("pods", "n0", f"x{which}")
        found = store.get(key)
        if step == "delete" and found is not None:
            await store.delete(key, lambda _, found=found: found.value, expected=found.revision)  # type: ignore[misc]
        elif step == "write" and found is not None:
            await store.update(key, lambda _, letter=letter: letter.encode(), expected=found.revision)  # type: ignore[misc]
        elif step == "write":
            await store.create(key, lambda _, letter=letter: letter.encode())  # type: ignore[misc]
        for one in naps:
            await one.look(told, give_up=step == "give up" and which % 2 == naps.index(one))
    for one in naps:
        await one.look(told, give_up=True)
        assert one.watcher.take() == []
        one.waiting.cancel()
    await asyncio.wait([one.waiting for one in naps])
    await store.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=naps)
def test_who_sleeps_misses_nothing_and_no_bookmark_is_ahead_of_what_was_told(plan: list[tuple[str, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(nap(plan, Path(folder) / "hub.sqlite"))


LONG = [("watch", 0), *[("write", n % len(KEYS)) for n in range(40)], ("take", 0), ("burst", 1), ("delete", 2), ("take", 0)]


def test_a_long_history_is_compacted_and_still_complete() -> None:
    assert run(LONG) == []


def test_a_history_that_drops_one_event_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Ring.append
    monkeypatch.setattr(Ring, "append", lambda ring, change: None if change.revision == 41 else real(ring, change))

    assert any(fault == "missed revision 41" for fault in run(LONG))


def test_a_watch_that_hands_out_an_event_twice_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Ring.after

    def stuttering(ring: Ring, revision: int, *, limit: int) -> list[Change]:
        news = list(real(ring, revision, limit=limit))
        return [*news, news[-1]] if [c for c in news if c.revision == 41] else news

    monkeypatch.setattr(Ring, "after", stuttering)

    assert any(fault.startswith("repeated revision") for fault in run(LONG))
