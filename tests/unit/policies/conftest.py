"""A server without HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.apiserver.server import ApiServer
from tests.unit.apiserver.asking import Asker


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    server = await ApiServer.open(tmp_path / "hub.sqlite")
    yield server
    await server.close()


@pytest.fixture
def ask(server: ApiServer) -> Asker:
    """Asks as an administrator."""
    return Asker(server)
