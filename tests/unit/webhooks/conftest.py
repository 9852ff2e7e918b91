"""A server without HTTP, and a webhook with TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import Asker
from tests.unit.webhooks.serving import Served, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    server = await ApiServer.open(tmp_path / "hub.sqlite")
    yield server
    await server.close()


@pytest.fixture
def ask(server: ApiServer) -> Asker:
    """Asks as an administrator."""
    return Asker(server)


@pytest.fixture
async def hook() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served
