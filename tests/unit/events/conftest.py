"""Events, an outbox and a hub log on real files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.events.log import HubLog, Outbox


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    made = await Outbox.open(tmp_path / "outbox.sqlite")
    yield made
    await made.close()


@pytest.fixture
async def hublog(tmp_path: Path) -> AsyncIterator[HubLog]:
    made = await HubLog.open(tmp_path / "hub-events.sqlite")
    yield made
    await made.close()
