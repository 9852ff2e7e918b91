"""The persisted list and watch against the fake API: what survives, what is announced, what is never dropped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.kube import Origin
from skerry.kube.backoff import Backoff
from skerry.model.objects import Name
from skerry.model.resources import CONFIGMAPS
from skerry.node.memory import Memory, Mirror
from skerry.testing.fakeapi import FakeApi

AT_ONCE = Backoff(first_s=0.001, limit_s=0.01)


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    found = await Memory.open(tmp_path)
    yield found
    await found.close()


@contextlib.asynccontextmanager
async def running(api: FakeApi, memory: Memory) -> AsyncIterator[Mirror]:
    mirror = Mirror(api, memory, CONFIGMAPS, backoff=AT_ONCE)
    task = asyncio.create_task(mirror.run())
    try:
        yield mirror
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(mirror: Mirror, *names: str) -> None:
    async with asyncio.timeout(60):
        while {n.name for n in mirror.items()} != set(names):
            await asyncio.sleep(0.001)


def put(api: FakeApi, *names: str) -> None:
    api.seed(CONFIGMAPS, *({"metadata": {"name": n, "namespace": "default"}} for n in names))


async def test_it_follows_and_tells(memory: Memory) -> None:
    api, told = FakeApi(), list[Name]()
    put(api, "a")

    async with running(api, memory) as mirror:
        mirror.subscribe(told.append)
        await until(mirror, "a")
        put(api, "b")
        await until(mirror, "a", "b")
        api.erase(CONFIGMAPS, "default", "a")
        await until(mirror, "b")

    assert mirror.synced
    assert told == [Name("default", n) for n in ("a", "b", "a")]


async def test_who_owns_a_field_is_not_kept(memory: Memory) -> None:
    api = FakeApi()
    owned = {"managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:data": {}}}]}

    async with running(api, memory) as mirror:
        api.seed(CONFIGMAPS, {"metadata": {"name": "listed", "namespace": "default", **owned}})
        await until(mirror, "listed")
        api.seed(CONFIGMAPS, {"metadata": {"name": "watched", "namespace": "default", **owned}})
        await until(mirror, "listed", "watched")

    assert [o["metadata"].get("managedFields") for o in mirror.items().values()] == [None, None]


async def test_everything_is_there_before_a_hub_is_seen(tmp_path: Path) -> None:
    api = FakeApi()
    put(api, "a", "b")
    first = await Memory.open(tmp_path)
    async with running(api, first) as mirror:
        await until(mirror, "a", "b")
    await first.close()

    second = await Memory.open(tmp_path)
    later = Mirror(api, second, CONFIGMAPS)

    assert {n.name for n in later.items()} == {"a", "b"}
    assert not later.synced
    await second.close()


async def test_a_foreign_hub_changes_nothing(memory: Memory) -> None:
    ours, theirs = FakeApi(origin=Origin("ours", "1")), FakeApi(origin=Origin("theirs", "1"))
    put(ours, "a")
    put(theirs, "x", "y", "z")
    async with running(ours, memory) as mirror:
        await until(mirror, "a")

    async with running(theirs, memory) as mirror:
        while not mirror.doubt:
            await asyncio.sleep(0.001)

    assert {n.name for n in mirror.items()} == {"a"}
    assert not mirror.synced
    assert "theirs" in mirror.doubt


async def test_a_restored_hub_adds_and_removes_only_once_its_epoch_is_accepted(memory: Memory, tmp_path: Path) -> None:
    api = FakeApi(origin=Origin("ours", "1"))
    put(api, "a", "b")
    async with running(api, memory) as mirror:
        await until(mirror, "a", "b")
        api.erase(CONFIGMAPS, "default", "a")
        await until(mirror, "b")
    restored = FakeApi(origin=Origin("ours", "2"))
    put(restored, "c")

    async with running(restored, memory) as mirror:
        await until(mirror, "b", "c")
        assert "accept-epoch 2" in mirror.doubt
    (tmp_path / "accepted-epoch").write_text("2\n")
    async with running(restored, memory) as mirror:
        await until(mirror, "c")


async def test_a_hub_that_went_back_adds_and_removes_only_once_that_is_accepted(memory: Memory, tmp_path: Path) -> None:
    """Its files were put back by hand: the epoch is the same, and its revisions come a second time with other contents."""
    api = FakeApi(origin=Origin("ours", "1"))
    put(api, "a", "b", "c")
    async with running(api, memory) as mirror:
        await until(mirror, "a", "b", "c")
    older = FakeApi(origin=Origin("ours", "1"))
    put(older, "a")

    async with running(older, memory) as mirror:
        while "accept-epoch 1~1" not in mirror.doubt:
            await asyncio.sleep(0.001)
        put(older, "d", "e", "f", "g")  # its revisions are now higher than any that we saw
        await until(mirror, "a", "b", "c", "d", "e", "f", "g")
    async with running(older, memory) as mirror:  # as after a start of the node
        await asyncio.sleep(0.05)
        assert len(mirror.items()) == 7
    (tmp_path / "accepted-epoch").write_text("1~1\n")
    async with running(older, memory) as mirror:
        await until(mirror, "a", "d", "e", "f", "g")
        assert not mirror.doubt


async def test_a_hub_that_went_back_twice_has_to_be_accepted_twice(memory: Memory, tmp_path: Path) -> None:
    for names, accepted, doubt in (("abcd", "", ""), ("abc", "", "1~1"), ("abc", "1~1", ""), ("ab", "1~1", "1~2")):
        (tmp_path / "accepted-epoch").write_text(accepted)
        api = FakeApi(origin=Origin("ours", "1"))
        put(api, *names)
        async with running(api, memory) as mirror, asyncio.timeout(60):
            while doubt not in mirror.doubt or not (doubt or mirror.synced):
                await asyncio.sleep(0.001)

    assert {n.name for n in mirror.items()} == set("abc")


async def test_a_lost_connection_and_a_forgotten_history_are_overcome(memory: Memory) -> None:
    api = FakeApi()
    put(api, "a")
    async with running(api, memory) as mirror:
        await until(mirror, "a")
        api.disconnect()
        put(api, "b")
        await until(mirror, "a", "b")
        api.compact()
        api.disconnect()
        put(api, "c")
        await until(mirror, "a", "b", "c")


async def test_forget_leaves_nothing(memory: Memory) -> None:
    api = FakeApi()
    put(api, "a")
    async with running(api, memory) as mirror:
        await until(mirror, "a")

    await memory.forget(mirror.key)

    assert not mirror.items()
    assert list(memory.mirrors()) == []


async def test_who_needs_it_again_while_it_is_forgotten_keeps_it(memory: Memory, tmp_path: Path) -> None:
    """A Pod that came as the last user of its ConfigMap went was told for minutes that there is none."""
    api = FakeApi()
    put(api, "a")
    async with running(api, memory) as mirror:
        await until(mirror, "a")

    forgetting = asyncio.create_task(memory.forget(mirror.key))
    await asyncio.sleep(0)
    async with running(api, memory) as again:
        await again.wait_synced()
        await forgetting
        await until(again, "a")
    await memory.close()

    reopened = await Memory.open(tmp_path)
    assert [n.name for n in reopened.objects(mirror.key)] == ["a"]
    await reopened.close()
