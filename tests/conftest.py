"""What every test gets: no task, thread-pool future or transport may outlive it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest


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
    if left:
        pytest.fail(f"{len(left)} tasks still ran after the test: {', '.join(sorted(str(t.get_coro()) for t in left))}")
