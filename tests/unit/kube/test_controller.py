"""The queue and the loop on it: once at a time, again when it failed, later when asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from skerry.kube import Backoff, Controller, WorkQueue
from skerry.model.errors import conflict
from skerry.testing.clock import run_virtually

DOUBLING = Backoff(first_s=1.0, limit_s=5.0, jitter=lambda: 1.0)


@asynccontextmanager
async def running(controller: Controller[str]) -> AsyncIterator[None]:
    task = asyncio.create_task(controller.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_that_waits_is_not_added_twice() -> None:
    queue = WorkQueue[str]()

    queue.add("a")
    queue.add("a")
    queue.add("b")

    assert [await queue.get(), await queue.get(), len(queue)] == ["a", "b", 0]


async def test_a_key_added_while_it_is_worked_on_comes_again_afterwards() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    await queue.get()

    queue.add("a")
    before = len(queue)
    queue.done("a")

    assert (before, len(queue)) == (0, 1)


def test_of_two_timers_the_earlier_stays() -> None:
    async def main() -> tuple[float, float, int]:
        loop, queue = asyncio.get_running_loop(), WorkQueue[str]()
        queue.add_after("a", 10)
        queue.add_after("a", 3)
        queue.add_after("a", 20)
        await queue.get()
        first = loop.time()
        queue.done("a")
        await asyncio.sleep(60)
        return first, loop.time(), len(queue)

    assert run_virtually(main()) == (3.0, 63.0, 0)


def test_failures_are_tried_again_ever_more_slowly_until_it_goes_well() -> None:
    times: list[float] = []

    async def reconcile(key: str) -> float | None:
        times.append(asyncio.get_running_loop().time())
        match len(times):
            case 1:
                raise ConnectionError("lost")
            case 2:
                raise ValueError("broken")
            case 3 | 4:
                raise conflict("pods", "", "p")
        return 100.0 if len(times) == 5 else None

    async def main() -> None:
        controller = Controller("test", reconcile, backoff=DOUBLING)
        async with running(controller):
            controller.queue.add("a")
            await asyncio.sleep(200)

    run_virtually(main())

    assert times == [0.0, 1.0, 3.0, 7.0, 12.0, 112.0]


def test_one_key_is_never_worked_on_twice_at_once_while_others_go_on() -> None:
    active: list[str] = []
    log: list[str] = []

    async def reconcile(key: str) -> None:
        assert key not in active
        active.append(key)
        await asyncio.sleep(1)
        active.remove(key)
        log.append(key)

    async def main() -> float:
        controller = Controller("test", reconcile, workers=2)
        async with running(controller):
            controller.queue.add("a")
            await asyncio.sleep(0.1)
            controller.queue.add("a")
            controller.queue.add("b")
            await asyncio.sleep(2.5)
        return asyncio.get_running_loop().time()

    run_virtually(main())

    assert log == ["a", "b", "a"]


@pytest.mark.parametrize(("attempt", "low", "high"), [(0, 0.5, 1.0), (2, 2.0, 4.0), (40, 2.5, 5.0)])
def test_delays_are_between_half_and_the_whole(attempt: int, low: float, high: float) -> None:
    for draw, expected in ((0.0, low), (1.0, high)):
        assert Backoff(1.0, 5.0, jitter=lambda draw=draw: draw).delay_s(attempt) == expected  # type: ignore[misc]


async def test_others_have_their_turn_between_many_keys_that_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skerry.kube.controller.SLICE_S", -1.0)  # over as soon as it begins
    looked: list[str] = []

    async def reconcile(key: str) -> None:
        looked.append(key)

    controller = Controller("test", reconcile)
    for number in range(100):
        controller.queue.add(str(number))
    async with running(controller):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen = len(looked)

    assert 0 < seen < 100
