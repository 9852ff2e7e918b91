"""An informer knows what the API knows, whatever happens to the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.kube import Backoff, Change, Informer
from skerry.model.errors import unavailable
from skerry.model.objects import Name, Object, dig
from skerry.model.resources import CONFIGMAPS
from skerry.testing.clock import run_virtually
from skerry.testing.fakeapi import FakeApi

CALM = Backoff(first_s=1.0, limit_s=8.0, jitter=lambda: 1.0)


def a_configmap(name: str, value: str = "1", **labels: str) -> Object:
    return {"metadata": {"namespace": "s", "name": name, "labels": labels}, "data": {"a": value}}


@asynccontextmanager
async def running(informer: Informer) -> AsyncIterator[Informer]:
    task = asyncio.create_task(informer.run())
    await informer.wait_synced()
    try:
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def virtually(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        async with asyncio.timeout(3600):
            await test()

    def runner() -> None:
        run_virtually(main())

    runner.__doc__, runner.__name__ = test.__doc__, getattr(test, "__name__", "test")
    return runner


def words(changes: list[Change]) -> list[str]:
    def word(c: Change) -> str:
        return "added" if c.old is None else "gone" if c.new is None else "changed"

    return [f"{word(c)} {c.name.name}" for c in changes]


@virtually
async def test_changes_are_told_once_and_in_order() -> None:
    api, seen = FakeApi(), list[Change]()
    api.seed(CONFIGMAPS, a_configmap("a"))
    informer = Informer(api, CONFIGMAPS)
    informer.subscribe(seen.append)

    async with running(informer):
        await api.create(CONFIGMAPS, a_configmap("b"))
        await api.patch(CONFIGMAPS, "s", "a", {"data": {"a": "2"}})
        await api.delete(CONFIGMAPS, "s", "b")
        await settle()

    assert words(seen) == ["added a", "added b", "changed a", "gone b"]
    assert dig(informer.get("s", "a"), "data", "a") == "2"


@virtually
async def test_a_lost_watch_goes_on_where_it_was_after_a_pause() -> None:
    api = FakeApi()
    api.seed(CONFIGMAPS, a_configmap("a"))

    async with running(Informer(api, CONFIGMAPS, backoff=CALM)) as informer:
        await settle()
        api.disconnect()
        await settle()
        api.seed(CONFIGMAPS, a_configmap("b"))
        missing = informer.get("s", "b")
        await asyncio.sleep(1.1)

        assert missing is None
        assert informer.get("s", "b") is not None
    assert [a.verb for a in api.actions] == ["list", "watch", "watch"]


@virtually
async def test_an_expired_watch_lists_again_and_tells_the_difference() -> None:
    api, seen = FakeApi(), list[Change]()
    api.seed(CONFIGMAPS, a_configmap("kept"), a_configmap("gone"))

    async with running(Informer(api, CONFIGMAPS, backoff=CALM)) as informer:
        await settle()
        informer.subscribe(seen.append)
        api.disconnect()
        await settle()
        api.erase(CONFIGMAPS, "s", "gone")
        api.seed(CONFIGMAPS, a_configmap("new"))
        api.compact()
        await asyncio.sleep(10)

    assert words(seen) == ["added new", "gone gone"]
    assert [a.verb for a in api.actions] == ["list", "watch", "watch", "list", "watch"]


@virtually
async def test_retries_get_slower_while_the_api_is_away() -> None:
    api = FakeApi()
    for _ in range(6):
        api.fail_next(unavailable("starting"), "list")
    loop = asyncio.get_running_loop()

    async with running(Informer(api, CONFIGMAPS, backoff=CALM)):
        assert loop.time() == 1 + 2 + 4 + 8 + 8 + 8


@virtually
async def test_a_bookmark_moves_the_watch_on_so_that_it_does_not_expire() -> None:
    api = FakeApi()

    async with running(Informer(api, CONFIGMAPS, labels="mine=yes", backoff=CALM)):
        await settle()
        api.seed(CONFIGMAPS, a_configmap("other"))
        api.bookmark()
        await settle()
        api.compact()
        api.disconnect()
        await asyncio.sleep(5)

    assert [a.verb for a in api.actions] == ["list", "watch", "watch"]


@virtually
async def test_our_own_write_is_known_at_once_and_told_once() -> None:
    api, seen = FakeApi(), list[Change]()

    async with running(Informer(api, CONFIGMAPS)) as informer:
        informer.subscribe(seen.append)
        informer.learn(await api.create(CONFIGMAPS, a_configmap("a")))
        known = informer.get("s", "a")
        await settle()

    assert known is not None
    assert words(seen) == ["added a"]


@virtually
async def test_a_late_answer_does_not_bring_back_what_is_gone() -> None:
    api = FakeApi()

    async with running(Informer(api, CONFIGMAPS)) as informer:
        await settle()
        created = await api.create(CONFIGMAPS, a_configmap("a"))
        await api.delete(CONFIGMAPS, "s", "a")
        await settle()
        informer.learn(created)

        assert informer.get("s", "a") is None


@virtually
async def test_shrunk_objects_hold_only_what_was_kept_and_removals_are_still_told() -> None:
    api, seen = FakeApi(), list[Change]()
    api.seed(CONFIGMAPS, a_configmap("a"))
    informer = Informer(api, CONFIGMAPS, shrink=lambda o: None)
    informer.subscribe(seen.append)

    async with running(informer):
        await settle()
        await api.delete(CONFIGMAPS, "s", "a")
        await settle()

    assert words(seen) == ["gone a"]
    assert not informer.objects()


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "label", "delete", "cut", "end", "compact", "wait"]), st.sampled_from("abc")), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_in_the_end_the_informer_has_what_the_api_has(steps: list[tuple[str, str]]) -> None:
    async def main() -> None:
        api = FakeApi()
        informer = Informer(api, CONFIGMAPS, labels="mine", backoff=CALM)
        informer.add_index("value", lambda o: [o["data"]["a"]])
        async with running(informer):
            for i, (step, name) in enumerate(steps):
                await _do(api, step, name, i)
            await asyncio.sleep(60)
            wanted = {Name("s", o["metadata"]["name"]): o for o in api.all(CONFIGMAPS) if "mine" in o["metadata"]["labels"]}
            assert dict(informer.view()) == wanted
            for obj in wanted.values():
                assert obj in informer.indexed("value", obj["data"]["a"])

    run_virtually(main())


async def _do(api: FakeApi, step: str, name: str, i: int) -> None:
    match step:
        case "put":
            api.seed(CONFIGMAPS, a_configmap(name, str(i), mine="yes"))
        case "label":
            api.seed(CONFIGMAPS, a_configmap(name, str(i), other="yes"))
        case "delete" if api.peek(CONFIGMAPS, "s", name):
            api.erase(CONFIGMAPS, "s", name)
        case "cut":
            api.disconnect()
        case "end":
            api.end_watches()
        case "compact":
            api.compact()
            api.disconnect()
        case "wait":
            await asyncio.sleep(0.3)
