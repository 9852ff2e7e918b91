"""A virtual clock for asyncio: time jumps to the next timer when nothing is ready, so no test sleeps.

Use it for code that only waits on timers and on itself; real sockets and subprocesses need real time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jumped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is None or timeout > 0 else timeout)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(0.05)  # woken from another thread, or stuck: then the test's own timeout speaks
        self.jumped_s += timeout
        return []


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` starts at 0 and jumps."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)) -> None:
        self._jumping = _JumpingSelector()
        self._start = start
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.jumped_s

    def now(self) -> datetime:
        """Return the wall-clock time that goes with `time()`."""
        return self._start + timedelta(seconds=self.time())


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run *main* on a virtual clock; tasks that it leaves behind are cancelled."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)
