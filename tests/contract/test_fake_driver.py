"""The fake driver keeps the contract of the real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from skerry.drivers import Driver, Target
from skerry.model.profiles import Scalar
from skerry.testing.drivers import FakeDevice, FakePlugin
from tests.contract.driver import VALUES, DriverContract


class _Device(FakeDevice):
    async def held(self, name: str) -> Scalar:
        return self.values[name]

    async def commanded(self, name: str) -> bool:
        return [c for c, _ in self.commands] == [name]


class TestFakeDriver(DriverContract):
    @pytest.fixture
    def device(self) -> _Device:
        return _Device(VALUES)

    @pytest.fixture
    async def driver(self, device: _Device) -> AsyncIterator[Driver]:
        driver = await FakePlugin({"fake": device}).open(Target({"url": "fake"}), timeout_s=1.0)
        yield driver
        await driver.close()
