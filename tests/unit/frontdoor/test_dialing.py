"""How a node finds its hub among addresses, and without a name server (F24)."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.node.identity.dialing import dial, interleaved
from skerry.node.identity.hub_address import HubAddress
from tests.unit.frontdoor.stage import settle

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    await settle()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[int, tuple[str, int]]) -> None:
    """Let the name server answer with these; none means that it does not answer."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def getaddrinfo(host: str, port: int, **more: Any) -> Any:
        if host not in ("hub.example.org", b"hub.example.org"):  # names are sent as bytes
            return await real(host, port, **more)
        if not addresses:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(family, socket.SOCK_STREAM, 6, "", where) for family, where in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)


async def test_a_dead_address_costs_a_moment_and_no_more(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # 192.0.2.0/24 is for documentation: nobody answers, or the network says so at once.
    resolve_to(monkeypatch, (V4, ("192.0.2.1", port)), (V4, ("127.0.0.1", port)))

    async with asyncio.timeout(60):
        connected = await dial("hub.example.org", port)

    assert connected.getpeername() == ("127.0.0.1", port)
    connected.close()


async def test_one_family_that_does_not_work_is_no_matter(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, (V6, ("::1", port)), (V4, ("127.0.0.1", port)))

    connected = await dial("hub.example.org", port)

    assert connected.getpeername()[0] == "127.0.0.1"
    connected.close()


async def test_without_a_name_server_the_last_good_address_is_tried(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as before:
        resolve_to(before, (V4, ("127.0.0.1", port)))
        (await dial("hub.example.org", port, remembered=tmp_path / "last")).close()
    resolve_to(monkeypatch)

    connected = await dial("hub.example.org", port, remembered=tmp_path / "last")

    assert connected.getpeername() == ("127.0.0.1", port)
    connected.close()


@pytest.mark.parametrize("kept", ["", "other.example.org 127.0.0.1", "hub.example.org not-an-address", "hub.example.org"])
async def test_a_memory_that_is_no_good_is_not_used(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    (tmp_path / "last").write_text(kept)
    resolve_to(monkeypatch)

    with pytest.raises(socket.gaierror):
        await dial("hub.example.org", port, remembered=tmp_path / "last")


async def test_when_nobody_answers_the_reason_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        free = unused.getsockname()[1]

    with pytest.raises(ConnectionRefusedError):
        await dial("127.0.0.1", free)


async def test_a_try_that_is_given_up_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        where = full.getsockname()
        queued = [socket.create_connection(where)]  # the queue is full now: the next one waits
        resolve_to(monkeypatch, (V4, where), (V4, where))
        task = asyncio.create_task(dial("hub.example.org", where[1]))
        await asyncio.sleep(0.3)
        task.cancel()
        found = await asyncio.gather(task, return_exceptions=True)
        queued += [f for f in found if isinstance(f, socket.socket)]
        for each in queued:
            each.close()


@pytest.mark.parametrize("turns", range(16))
async def test_whoever_is_cancelled_at_any_turn_leaves_no_socket_open(port: int, tmp_path: Path, turns: int) -> None:
    """A socket that was found and handed to nobody was left to the collector, whose warning fails this test."""
    task = asyncio.create_task(dial("127.0.0.1", port, remembered=tmp_path / "last"))
    for _ in range(turns):
        await asyncio.sleep(0.001 if turns % 2 else 0)
    task.cancel()

    for found in await asyncio.gather(task, return_exceptions=True):
        if isinstance(found, socket.socket):
            found.close()
    del task, found
    gc.collect()


def test_families_take_turns() -> None:
    addresses = [(V6, ("a", 1)), (V6, ("b", 1)), (V6, ("c", 1)), (V4, ("d", 1))]

    assert [where[0] for _, where in interleaved(addresses)] == ["a", "d", "b", "c"]


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("https://hub:6443", ("hub", 6443)),
        ("hub", ("hub", 6443)),
        ("https://[::1]:7", ("::1", 7)),
        ("https://10.0.0.1", ("10.0.0.1", 6443)),
    ],
)
def test_a_hubs_address(url: str, means: tuple[str, int]) -> None:
    address = HubAddress.parse(url)

    assert (address.host, address.port) == means
    assert HubAddress.parse(str(address)) == address


@pytest.mark.parametrize("url", ["http://hub:6443", "https://", "https://hub/path", "https://me@hub", "https://hub:99999", "ftp://hub"])
def test_what_is_no_hubs_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"not a hub's address|range"):
        HubAddress.parse(url)
