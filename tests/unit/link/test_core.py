"""The link's protocol: fed whole, byte by byte, as a joined pair and at random."""

from __future__ import annotations

from collections.abc import Iterable

import h2.connection
import pytest
from hyperframe.frame import DataFrame, Frame, RstStreamFrame, WindowUpdateFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.link.core import DataReceived, Ended, Event, Goodbye, HeadersReceived, LinkCore, PeerError, Reset, RoomMade
from skerry.link.limits import Limits

REQUEST = [(":method", "POST"), (":scheme", "https"), (":authority", "hub"), (":path", "/api/v1/nodes?x=1"), ("accept", "*/*")]
EVENTS = (HeadersReceived, DataReceived, Ended, Reset, RoomMade, Goodbye)


def a_pair(limits: Limits | None = None) -> tuple[LinkCore, LinkCore]:
    node, hub = LinkCore(client=True, limits=limits or Limits()), LinkCore(client=False, limits=limits or Limits())
    node.start()
    hub.start()
    exchange(node, hub)
    return node, hub


def exchange(node: LinkCore, hub: LinkCore) -> tuple[list[Event], list[Event]]:
    """Carry bytes both ways until both are quiet; return what node and hub saw."""
    at_node: list[Event] = []
    at_hub: list[Event] = []
    while True:
        up, down = node.outgoing(), hub.outgoing()
        if not up and not down:
            return at_node, at_hub
        if up:
            at_hub += hub.feed(up)
        if down:
            at_node += node.feed(down)


def without_room(events: Iterable[Event]) -> list[Event]:
    return [e for e in events if not isinstance(e, RoomMade)]


def test_a_request_and_its_answer_arrive_whole() -> None:
    node, hub = a_pair()

    stream = node.open(REQUEST)
    node.data(stream, b"hello", ended=True)
    _, at_hub = exchange(node, hub)
    hub.headers(stream, [(":status", "200"), ("content-type", "text/plain")])
    hub.data(stream, b"world", ended=True)
    at_node, _ = exchange(node, hub)

    assert without_room(at_hub) == [HeadersReceived(stream, dict(REQUEST)), DataReceived(stream, b"hello"), Ended(stream)]
    answer = HeadersReceived(stream, {":status": "200", "content-type": "text/plain"})
    assert without_room(at_node) == [answer, DataReceived(stream, b"world"), Ended(stream)]


def test_of_streams_that_ended_well_nothing_is_kept() -> None:
    node, hub = a_pair()

    for _ in range(700):
        stream = node.open(REQUEST, ended=True)
        exchange(node, hub)
        hub.headers(stream, [(":status", "204")], ended=True)
        exchange(node, hub)

    assert [len(end._h2._closed_streams) for end in (node, hub)] == [0, 0]
    assert all(len(end._h2.streams) <= 1 for end in (node, hub))  # the last one goes with the next


@pytest.mark.parametrize("late", [DataFrame(1, b"late"), RstStreamFrame(1), WindowUpdateFrame(1, 9)], ids=lambda f: type(f).__name__)
@pytest.mark.parametrize("others", [0, 2])
def test_what_comes_late_on_a_stream_that_ended_well_breaks_nothing(late: Frame, others: int) -> None:
    node, hub = a_pair()
    for _ in range(1 + others):
        stream = node.open(REQUEST, ended=True)
        exchange(node, hub)
        hub.headers(stream, [(":status", "204")], ended=True)
        exchange(node, hub)

    assert without_room(hub.feed(late.serialize())) == []
    assert without_room(node.feed(late.serialize())) == []


def test_what_is_under_way_as_a_stream_is_reset_breaks_nothing_though_many_others_end_meanwhile() -> None:
    node, hub = a_pair()
    given_up = node.open(REQUEST)
    exchange(node, hub)
    node.data(given_up, b"under way")
    late = node.outgoing()
    hub.reset(given_up)
    hub.outgoing()
    for _ in range(600):
        stream = node.open(REQUEST, ended=True)
        hub.feed(node.outgoing())
        hub.headers(stream, [(":status", "204")], ended=True)
        node.feed(hub.outgoing())

    assert hub.feed(late) == []


def a_conversation() -> bytes:
    """What a node sends: hello, a request with a body, one that is reset, a ping."""
    node = LinkCore(client=True)
    node.start()
    first = node.open(REQUEST)
    node.data(first, b"x" * 100, ended=True)
    node.reset(node.open(REQUEST))
    node.ping()
    return node.outgoing()


def test_bytes_one_by_one_give_the_same_events_as_all_at_once() -> None:
    raw = a_conversation()
    whole, single = LinkCore(client=False), LinkCore(client=False)
    whole.start()
    single.start()

    at_once = whole.feed(raw)
    one_by_one = [event for i in range(len(raw)) for event in single.feed(raw[i : i + 1])]

    assert one_by_one == at_once
    assert len(without_room(at_once)) == 5


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.booleans(), st.integers(0, 200))
def test_random_bytes_are_an_event_or_a_peer_error(noise: bytes, client: bool, keep: int) -> None:
    core = LinkCore(client=client)
    core.start()
    real = b"" if client else a_conversation()

    try:
        events = core.feed(real[:keep] + noise)
    except PeerError:
        return

    assert all(isinstance(e, EVENTS) for e in events)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_an_event_or_a_peer_error(data: st.DataObject) -> None:
    raw = bytearray(a_conversation())
    at = data.draw(st.integers(24, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    hub = LinkCore(client=False)
    hub.start()

    try:
        events = hub.feed(bytes(raw))
    except PeerError:
        return

    assert all(isinstance(e, EVENTS) for e in events)


def test_what_nobody_reads_stops_at_the_window() -> None:
    node, hub = a_pair(Limits(stream_window=70_000, connection_window=200_000))
    stream = node.open(REQUEST)
    sent = 0

    while room := node.room(stream):
        node.data(stream, b"x" * room)
        sent += room
        exchange(node, hub)

    assert sent == 70_000
    hub.consumed(stream, 70_000)
    exchange(node, hub)
    assert node.room(stream) > 0


def test_one_stalled_stream_leaves_room_for_the_others() -> None:
    node, hub = a_pair(Limits(stream_window=70_000, connection_window=200_000))
    stalled, other = node.open(REQUEST), node.open(REQUEST)
    while room := node.room(stalled):
        node.data(stalled, b"x" * room)

    node.data(other, b"y", ended=True)
    _, at_hub = exchange(node, hub)

    assert DataReceived(other, b"y") in at_hub


def test_a_peer_that_resets_streams_without_end_is_refused() -> None:
    node, hub = a_pair(Limits(max_resets=10))

    def reset_streams(count: int) -> None:
        for _ in range(count):
            node.reset(node.open(REQUEST))
            exchange(node, hub)

    reset_streams(10)
    with pytest.raises(PeerError, match="10 streams"):
        reset_streams(1)

    assert hub.outgoing()  # it is told why


def test_streams_that_end_well_do_not_count_as_resets() -> None:
    node, hub = a_pair(Limits(max_resets=5))

    for _ in range(20):
        stream = node.open(REQUEST, ended=True)
        exchange(node, hub)
        hub.headers(stream, [(":status", "200")], ended=True)
        exchange(node, hub)
        reset = node.open(REQUEST)
        node.reset(reset)
        exchange(node, hub)


def test_more_streams_than_the_limit_are_refused_before_they_leave() -> None:
    node, _ = a_pair(Limits(max_streams=3))
    for _ in range(3):
        node.open(REQUEST)

    with pytest.raises(ConnectionError, match="no further stream"):
        node.open(REQUEST)


def test_headers_beyond_the_limit_are_a_peer_error() -> None:
    node, hub = a_pair(Limits(max_headers=4096))
    node.open([*REQUEST, ("x-long", "a" * 5000)])

    with pytest.raises(PeerError):
        exchange(node, hub)


def test_a_frame_beyond_the_limit_is_a_peer_error() -> None:
    hub = LinkCore(client=False, limits=Limits(max_frame=16384))
    hub.start()

    with pytest.raises(PeerError):
        hub.feed(a_conversation() + (1_000_000).to_bytes(3, "big") + b"\x00\x00\x00\x00\x00\x01" + b"x" * 100)


def test_goodbye_carries_the_reason() -> None:
    node, hub = a_pair()

    hub.close("this key was denied")
    at_node, _ = exchange(node, hub)

    assert at_node == [Goodbye("this key was denied")]


def test_http_1_is_not_taken_for_a_link() -> None:
    hub = LinkCore(client=False)
    hub.start()

    with pytest.raises(PeerError):
        hub.feed(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")


def test_streams_that_were_reset_do_not_pile_up() -> None:
    """The library keeps 65,536 of them unless it is told otherwise; a node has no memory for that."""
    node, hub = a_pair()

    for _ in range(700):
        stream = node.open(REQUEST, ended=True)
        exchange(node, hub)
        hub.reset(stream)
        exchange(node, hub)

    kept: h2.connection.H2Connection = node._h2
    assert 0 < len(kept._closed_streams) <= 512


def test_requests_that_are_whole_before_they_are_reset_count_too() -> None:
    """The rapid reset attack as it was done: each request ends before it is reset."""
    node, hub = a_pair(Limits(max_resets=10))

    def reset_a_request() -> None:
        node.reset(node.open(REQUEST, ended=True))
        exchange(node, hub)

    for _ in range(10):
        reset_a_request()
    with pytest.raises(PeerError, match="reset more than 10 streams"):
        reset_a_request()


def test_a_peer_that_makes_us_reset_its_streams_is_refused_too() -> None:
    """CVE-2025-8671: a window update beyond the limit makes the receiver reset the stream."""
    node, hub = a_pair(Limits(max_resets=10))

    def opened_and_spoilt() -> bytes:
        stream = node.open(REQUEST, ended=True)
        return node.outgoing() + b"\0\0\x04\x08\0" + stream.to_bytes(4, "big") + (0x7FFFFFFF).to_bytes(4, "big")

    for _ in range(10):
        hub.feed(opened_and_spoilt())
    with pytest.raises(PeerError, match="reset more than 10 streams"):
        hub.feed(opened_and_spoilt())


NOISE = {
    "settings": b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff",
    "ping": b"\0\0\x08\x06" + bytes(5) + b"abcdefgh",
    "empty data": b"\0\0\0\0\0\0\0\0\x01",
    "window update": b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",
}


@pytest.mark.parametrize("frame", NOISE.values(), ids=NOISE)
def test_a_peer_that_only_makes_noise_is_refused(frame: bytes) -> None:
    """CVE-2019-9512, 9515, 9518: a flood kept everybody else waiting for seconds."""
    node, hub = a_pair(Limits(max_noise=100))
    node.open(REQUEST)
    exchange(node, hub)

    hub.feed(frame * 50)
    for _ in range(60):  # streams that end well earn it again
        stream = node.open(REQUEST, ended=True)
        exchange(node, hub)
        hub.headers(stream, [(":status", "200")], ended=True)
    exchange(node, hub)
    hub.feed(frame * 99)
    with pytest.raises(PeerError, match="frames that carry nothing"):
        hub.feed(frame * 101)
    assert b"too many frames that carry nothing" in hub.outgoing()
