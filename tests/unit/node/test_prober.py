"""What a probe that failed says: what was asked, and why there was no answer."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from skerry.node.pods.prober import ask
from skerry.node.runtimes.contract import ContainerKey


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def answer(action: dict[str, Any]) -> tuple[bool, str]:
    runtime: Any = None
    return await ask(action, runtime=runtime, key=ContainerKey("uid", "app"), address="127.0.0.1", ports={}, timeout_s=5)


async def test_a_page_that_nothing_serves_is_named_with_the_reason(closed_port: int) -> None:
    said = await answer({"httpGet": {"path": "/healthz", "port": closed_port}})

    assert said == (False, f'Get "http://127.0.0.1:{closed_port}/healthz": connection refused')


async def test_a_port_that_nothing_listens_on_is_named_with_the_reason(closed_port: int) -> None:
    assert await answer({"tcpSocket": {"port": closed_port}}) == (False, f"dial tcp 127.0.0.1:{closed_port}: connection refused")


async def test_a_port_that_has_no_number_is_named() -> None:
    assert await answer({"tcpSocket": {"port": "web"}}) == (False, "'web' is not a port from 1 to 65535, nor the name of one")
