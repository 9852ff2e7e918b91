"""Processes that are killed and started again, at random or at a failpoint."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Victim:
    """One process that comes back after each death; `deaths` counts by cause."""

    name: str
    argv: Sequence[str]
    failpoints: Sequence[str]
    rng: random.Random
    env: dict[str, str] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)
    process: asyncio.subprocess.Process | None = None

    async def start(self, *, failpoint: str = "", times: int = 0) -> None:
        env = {**os.environ, **self.env}
        if failpoint:
            env["SKERRY_FAILPOINT"] = f"{failpoint}:{times or self.rng.choice([1, 2, 3, 10, 30])}"
        command = self.argv if self.argv[0].startswith("/") else [sys.executable, *self.argv]
        self.process = await asyncio.create_subprocess_exec(*command, env=env, cwd=ROOT, start_new_session=True)

    def kill(self, cause: str = "random") -> None:
        assert self.process is not None
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it died at its failpoint this very moment
                os.kill(self.process.pid, signal.SIGKILL)
            self.deaths[cause] += 1

    async def suffer(self, *, every_s: tuple[float, float]) -> None:
        """Die and come back until cancelled: at a failpoint, or killed after a random time; then it runs unharmed."""
        while True:
            failpoint = self.rng.choice(["", *self.failpoints])
            await self.start(failpoint=failpoint)
            assert self.process is not None
            try:
                async with asyncio.timeout(self.rng.uniform(*every_s)):
                    code = await self.process.wait()
            except TimeoutError:
                self.kill()
                await self.process.wait()
                continue
            if code != -signal.SIGKILL:
                raise AssertionError(f"{self.name} ended by itself with {code}")
            self.deaths[failpoint] += 1

    async def end(self) -> None:
        if self.process is not None:
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.process.pid, signal.SIGKILL)
            await self.process.wait()
