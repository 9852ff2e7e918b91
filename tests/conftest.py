"""What every test gets: no task, thread-pool future or transport may outlive it, and no property fails because a machine is busy."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


async def closed(timeout_s: float = 2.0) -> None:
    """Give the connections of this loop that were closed the turns that they need: TLS waits for the other side's goodbye.

    The loop ends with the test; what is half closed then looks as if nobody had closed it. What nobody closed stays, and is told.
    """
    transports = getattr(asyncio.get_running_loop(), "_transports", {})
    end = asyncio.get_running_loop().time() + timeout_s
    while any(getattr(t, "_sock", None) is not None for t in transports.values()) and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
async def no_leaked_tasks(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Fail a test that leaves a task running; what a slow one left unclosed is told in its own name."""
    yield
    if request.node.get_closest_marker("slow"):
        gc.collect()
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task() and not t.done()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await closed()
    if left:
        pytest.fail(f"{len(left)} tasks still ran after the test: {', '.join(sorted(str(t.get_coro()) for t in left))}")
