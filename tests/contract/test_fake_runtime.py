"""The fake runtime keeps the contract, so that tests which use it prove something."""

from __future__ import annotations

import pytest

from skerry.node.runtimes.contract import Runtime
from skerry.testing.runtime import FakeHost, FakeRuntime
from tests.contract.runtime import Again, RuntimeContract


class TestFakeRuntime(RuntimeContract):
    @pytest.fixture
    async def runtime(self) -> Runtime:
        found = FakeRuntime(FakeHost())
        await found.open()
        return found

    @pytest.fixture
    def again(self, runtime: FakeRuntime) -> Again:
        async def next_life() -> Runtime:
            await runtime.close()
            found = FakeRuntime(runtime.host)
            await found.open()
            return found

        return next_life
