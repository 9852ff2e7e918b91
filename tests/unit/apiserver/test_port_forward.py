"""port-forward: the frames, the streams of one WebSocket, and what a bad peer can do."""

from __future__ import annotations

import asyncio
import struct
import zlib
from typing import Any

import pytest

from skerry.apiserver.http import port_forward
from skerry.apiserver.http.spdy import DICTIONARY, FLAG_FIN, MAX_DATA_BYTES, Data, Opened, Reset, Spdy, SpdyError
from skerry.model.errors import ApiError
from tests.unit.apiserver.test_pod_streams import FakeStream


class Peer:
    """kubectl's end, written from the protocol's text and sharing nothing with ours but the dictionary."""

    def __init__(self) -> None:
        self._pack = zlib.compressobj(zdict=DICTIONARY)

    def syn(self, stream: int, headers: dict[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            plain += struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(value)) + value.encode()
        block = self._pack.compress(plain) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        return self.control(1, struct.pack(">IIH", stream, 0, 0) + block)

    @staticmethod
    def control(kind: int, payload: bytes, flags: int = 0) -> bytes:
        return struct.pack(">HHI", 0x8003, kind, flags << 24 | len(payload)) + payload

    @staticmethod
    def data(stream: int, payload: bytes, flags: int = 0) -> bytes:
        return struct.pack(">II", stream, flags << 24 | len(payload)) + payload


def frames(data: bytes) -> list[tuple[str, int, bytes]]:
    """Return (type, stream, payload) of what the server sent, but for window updates."""
    found, at = [], 0
    while at < len(data):
        first, rest = struct.unpack_from(">II", data, at)
        length, flags = rest & 0xFFFFFF, rest >> 24
        payload = data[at + 8 : at + 8 + length]
        at += 8 + length
        if first & 0x80000000:
            kind = {2: "reply", 3: "reset", 6: "ping", 7: "goaway", 9: ""}[first & 0xFFFF]
            found.append((kind, struct.unpack_from(">I", payload)[0], payload[4:]))
        else:
            found.append(("fin" if flags & FLAG_FIN else "data", first, payload))
    return [f for f in found if f[0]]


def test_the_dictionary_is_the_protocols() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_frames_come_out_whatever_the_cuts() -> None:
    peer = Peer()
    wire = peer.syn(1, {"streamType": "error", "port": "80"}) + peer.data(1, b"abc") + peer.data(1, b"", FLAG_FIN) + peer.syn(3, {"a": "b"})
    wire += peer.control(3, struct.pack(">II", 3, 5)) + peer.control(6, b"\0\0\0\1") + peer.control(4, b"\0\0\0\0")
    for size in (1, 7, len(wire)):
        spdy = Spdy()
        seen = [e for at in range(0, len(wire), size) for e in spdy.feed(wire[at : at + size])]
        assert seen == [
            Opened(1, {"streamtype": "error", "port": "80"}, False),
            Data(1, b"abc", False),
            Data(1, b"", True),
            Opened(3, {"a": "b"}, False),
            Reset(3),
        ]
        assert frames(spdy.to_send()) == [("ping", 1, b"")]


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(struct.pack(">II", 1, MAX_DATA_BYTES + 1), id="data too long"),
        pytest.param(Peer.control(1, b"\0" * 20_000), id="headers too long"),
        pytest.param(struct.pack(">HHI", 0x8002, 6, 4) + b"\0\0\0\1", id="version 2"),
        pytest.param(Peer.control(1, struct.pack(">IIH", 2, 0, 0) + b"x"), id="even stream"),
        pytest.param(Peer.control(1, struct.pack(">IIH", 1, 0, 0) + b"junk"), id="junk for headers"),
        pytest.param(Peer.control(1, b"\0\0"), id="short"),
        pytest.param(Peer().syn(1, {"a": "x" * 1_000_000}), id="headers that grow"),
        pytest.param(Peer().syn(1, {str(n): "" for n in range(65)}), id="many headers"),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_refused(wire: bytes) -> None:
    with pytest.raises(SpdyError):
        list(Spdy().feed(wire))


class Socket:
    """A WebSocket in memory."""

    def __init__(self, protocol: str = port_forward.TUNNEL) -> None:
        self.protocol = protocol
        self.inward: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.sent = bytearray()
        self.messages: list[bytes] = []
        self.said = asyncio.Event()
        self.closed = False

    async def receive(self) -> bytes | None:
        return await self.inward.get()

    async def send(self, data: bytes) -> None:
        self.sent += data
        self.messages.append(data)
        self.said.set()

    async def close(self, code: int = 1000) -> None:
        self.closed = True

    async def until(self, count: int) -> list[tuple[str, int, bytes]]:
        async with asyncio.timeout(60):
            while len(found := frames(bytes(self.sent))) < count:
                self.said.clear()
                await self.said.wait()
        return found


def opening(*streams: FakeStream | ApiError) -> tuple[Any, list[int]]:
    waiting, asked = list(streams), list[int]()

    async def opened(port: int) -> FakeStream:
        asked.append(port)
        stream = waiting.pop(0)
        if isinstance(stream, ApiError):
            raise stream
        return stream

    return opened, asked


async def test_two_streams_are_a_connection() -> None:
    peer, socket, node = Peer(), Socket(), FakeStream()
    opened, asked = opening(node)
    task = asyncio.create_task(port_forward.tunnel(socket, opened))
    for stream, kind in ((1, "error"), (3, "data")):
        socket.inward.put_nowait(peer.syn(stream, {"streamtype": kind, "port": "8080", "requestid": "0"}))
    socket.inward.put_nowait(peer.data(3, b"GET / HTTP/1.0\r\n\r\n") + peer.data(3, b"", FLAG_FIN))
    async with asyncio.timeout(60):
        await node.heard.wait()
    node.give(b"hello", b"x" * 40_000)

    seen = await socket.until(7)

    assert [(kind, stream) for kind, stream, _ in seen[:2]] == [("reply", 1), ("reply", 3)]
    assert b"".join(payload for kind, stream, payload in seen if stream == 3 and kind == "data") == b"hello" + b"x" * 40_000
    assert seen[-2:] == [("fin", 3, b""), ("fin", 1, b"")]
    assert asked == [8080]
    assert bytes(node.got) == b"GET / HTTP/1.0\r\n\r\n"
    assert node.finished
    socket.inward.put_nowait(None)
    await task
    assert socket.closed
    assert node.was_reset


async def test_a_refusal_is_told_on_the_error_stream() -> None:
    peer, socket = Peer(), Socket()
    opened, _ = opening(ApiError(400, "BadRequest", "port 22 is not one of Pod p"))
    task = asyncio.create_task(port_forward.tunnel(socket, opened))
    for stream, kind in ((1, "error"), (3, "data")):
        socket.inward.put_nowait(peer.syn(stream, {"streamtype": kind, "port": "22", "requestid": "0"}))

    seen = await socket.until(4)

    assert ("fin", 1, b"port 22 is not one of Pod p") in seen
    assert [f[:2] for f in seen if f[0] == "reset"] == [("reset", 3)]
    socket.inward.put_nowait(None)
    await task


@pytest.mark.parametrize("headers", [{"streamtype": "data", "port": "80", "requestid": "1"}, {"streamtype": "error", "port": "0"}, {}])
async def test_streams_that_make_no_connection_are_refused(headers: dict[str, str]) -> None:
    peer, socket = Peer(), Socket()
    task = asyncio.create_task(port_forward.tunnel(socket, opening()[0]))
    socket.inward.put_nowait(peer.syn(1, headers))

    assert (await socket.until(1))[0][:2] == ("reset", 1)
    socket.inward.put_nowait(struct.pack(">II", 1, MAX_DATA_BYTES + 1))
    await task
    assert frames(bytes(socket.sent))[-1][0] == "goaway"


async def test_a_message_of_frames_that_unpack_to_much_lets_others_have_their_turn() -> None:
    """A megabyte of them unpacks to 280 MB, in a third of a second during which nobody was answered."""
    peer, socket, turns = Peer(), Socket(), 0
    message = b"".join(peer.syn(1 + 2 * i, {"a" * 8000: "b" * 8000}) for i in range(2000))
    serving = asyncio.create_task(port_forward.tunnel(socket, opening()[0]))
    socket.inward.put_nowait(message)
    socket.inward.put_nowait(None)

    while not serving.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > len(message) // port_forward.BYTES_AT_ONCE > 5
    assert len([kind for kind, _, _ in frames(bytes(socket.sent)) if kind == "reset"]) == 2000


async def test_channels_begin_with_their_port() -> None:
    socket, first, second = Socket("v4.channel.k8s.io"), FakeStream(), FakeStream()
    opened, asked = opening(first, second)
    task = asyncio.create_task(port_forward.channels(socket, [80, 443], opened))
    socket.inward.put_nowait(b"\x02to the second")
    first.give(b"from the first")
    async with asyncio.timeout(60):
        while len(socket.messages) < 5 or not second.got:
            await asyncio.sleep(0)
    socket.inward.put_nowait(None)
    await task

    assert socket.messages[:4] == [b"\x00\x50\x00", b"\x01\x50\x00", b"\x02\xbb\x01", b"\x03\xbb\x01"]
    assert socket.messages[4] == b"\x00from the first"
    assert bytes(second.got) == b"to the second"
    assert asked == [80, 443]
    assert second.was_reset
