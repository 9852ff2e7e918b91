"""Links over real sockets on loopback, and on a virtual clock where only time matters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from skerry.link import Limits, LinkClosedError, LinkConnection, LinkStream
from skerry.testing.clock import run_virtually

Serve = Callable[[LinkStream], Awaitable[None]]


@asynccontextmanager
async def a_link(
    serve: Serve, *, hub: Limits | None = None, node: Limits | None = None
) -> AsyncIterator[tuple[LinkConnection, LinkConnection]]:
    """Yield node's and hub's end, joined by a real socket; the hub serves each stream with *serve*."""
    loop = asyncio.get_running_loop()
    ends: list[LinkConnection] = []
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(stream: LinkStream) -> None:
        try:
            await serve(stream)
        except (ConnectionError, asyncio.CancelledError):
            stream.reset()

    def on_stream(stream: LinkStream) -> None:
        task = asyncio.ensure_future(guarded(stream))
        stream.on_abort = task.cancel
        tasks.add(task)

    def at_hub() -> LinkConnection:
        ends.append(LinkConnection(client=False, limits=hub or Limits(), on_stream=on_stream))
        return ends[0]

    server = await loop.create_server(at_hub, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    _, client = await loop.create_connection(lambda: LinkConnection(client=True, limits=node or Limits()), host, port)
    while not ends:
        await asyncio.sleep(0)
    try:
        yield client, ends[0]
    finally:
        client.close("the test is over")
        await ends[0].wait_closed()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*tasks, return_exceptions=True)


async def echo(stream: LinkStream) -> None:
    stream.respond(200)
    while (data := await stream.receive()) is not None:
        await stream.send(data)
    await stream.finish()


async def test_bytes_come_back_as_they_went() -> None:
    sent = bytes(range(256)) * 8192
    async with a_link(echo) as (node, _):
        stream = node.open_stream("POST", "/echo", ended=False)
        sending = asyncio.ensure_future(stream.send(sent, ended=True))

        assert await stream.response() == 200
        assert await stream.read(limit_bytes=len(sent)) == sent
        await sending
        assert node.streams == 0


async def test_a_sender_waits_while_nobody_reads() -> None:
    async def reads_nothing(stream: LinkStream) -> None:
        stream.respond(200)
        await asyncio.sleep(30)

    async with a_link(reads_nothing, hub=Limits(stream_window=65536)) as (node, hub):
        stalled = node.open_stream("POST", "/stalled", ended=False)
        sending = asyncio.ensure_future(stalled.send(b"x" * 1_000_000))
        await stalled.response()
        for _ in range(50):
            await asyncio.sleep(0)

        assert not sending.done()
        assert sum(s.buffered for s in hub._streams.values()) <= 65536
        stalled.reset()
        with pytest.raises(LinkClosedError):
            await sending


async def test_the_others_go_on_beside_a_stalled_stream() -> None:
    async def serve(stream: LinkStream) -> None:
        if stream.target == "/stalled":
            await asyncio.sleep(30)
        await echo(stream)

    async with a_link(serve, hub=Limits(stream_window=65536)) as (node, _):
        stalled = node.open_stream("POST", "/stalled", ended=False)
        sending = asyncio.ensure_future(stalled.send(b"x" * 1_000_000))
        await asyncio.sleep(0)
        other = node.open_stream("POST", "/other", ended=False)
        await other.send(b"hello", ended=True)

        assert await other.read(limit_bytes=10) == b"hello"
        stalled.reset()
        with pytest.raises(LinkClosedError):
            await sending


async def test_a_reset_ends_what_the_hub_does_for_the_stream() -> None:
    ended = asyncio.Event()

    async def endless(stream: LinkStream) -> None:
        stream.respond(200)
        try:
            while True:
                await stream.send(b"tick\n")
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    async with a_link(endless) as (node, hub):
        stream = node.open_stream("GET", "/watch")
        assert await stream.receive()
        stream.reset()

        await asyncio.wait_for(ended.wait(), 60)
        assert node.streams == 0
        assert hub.streams == 0


async def test_a_body_beyond_the_limit_is_given_up() -> None:
    async with a_link(echo) as (node, _):
        stream = node.open_stream("POST", "/echo", ended=False)
        await stream.send(b"x" * 2000, ended=True)

        with pytest.raises(LinkClosedError, match="more than 1000 bytes"):
            await stream.read(limit_bytes=1000)


async def test_when_the_link_closes_every_stream_says_why() -> None:
    async def silent(stream: LinkStream) -> None:
        await asyncio.sleep(30)

    async with a_link(silent) as (node, hub):
        stream = node.open_stream("GET", "/x")
        await asyncio.sleep(0.01)
        hub.close("this key was denied")

        with pytest.raises(LinkClosedError, match="this key was denied"):
            await stream.response()
        assert node.closed


async def test_a_stream_on_a_closed_link_is_a_connection_error() -> None:
    async with a_link(echo) as (node, _):
        node.close("done")

        with pytest.raises(ConnectionError):
            node.open_stream("GET", "/x")


async def test_what_is_not_http_2_closes_the_link() -> None:
    loop = asyncio.get_running_loop()
    hub: list[LinkConnection] = []

    def at_hub() -> LinkConnection:
        hub.append(LinkConnection(client=False))
        return hub[0]

    server = await loop.create_server(at_hub, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    await asyncio.wait_for(reader.read(), 60)
    assert "HTTP/2" in await hub[0].wait_closed()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


class _Pipe(asyncio.Transport):
    """A transport that hands bytes to the other end, as long as it is not cut."""

    def __init__(self) -> None:
        super().__init__()
        self.other: LinkConnection | None = None
        self.cut = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.other is not None and not self.cut:
            asyncio.get_running_loop().call_soon(self.other.data_received, bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def _joined() -> tuple[LinkConnection, LinkConnection, _Pipe, _Pipe]:
    node, hub = LinkConnection(client=True), LinkConnection(client=False)
    up, down = _Pipe(), _Pipe()
    up.other, down.other = hub, node
    node.connection_made(up)
    hub.connection_made(down)
    return node, hub, up, down


def test_a_link_with_nothing_to_say_stays_open() -> None:
    async def idle() -> None:
        node, hub, _, _ = _joined()
        await asyncio.sleep(3600)
        assert not node.closed
        assert not hub.closed
        node.close("the test is over")
        hub.abort("the test is over")

    run_virtually(idle())


@pytest.mark.parametrize("way", ["up", "down", "both"])
def test_a_dead_link_is_found_within_30_s_also_when_one_way_is_lost(way: str) -> None:
    async def partition() -> None:
        node, hub, up, down = _joined()
        await asyncio.sleep(100)
        up.cut, down.cut = way in ("up", "both"), way in ("down", "both")
        cut_at = asyncio.get_running_loop().time()

        first = await (hub if way == "up" else node).wait_closed()

        assert "nothing was heard" in first
        assert asyncio.get_running_loop().time() - cut_at <= 30
        node.abort("the test is over")
        hub.abort("the test is over")

    run_virtually(partition())
