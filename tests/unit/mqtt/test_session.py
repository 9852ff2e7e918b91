"""The rules of one MQTT session, without sockets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.drivers.mqtt import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketReader,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Topic,
    Will,
    encode,
)
from skerry.node.mqtt.session import Ended, Knock, Listening, Message, Session, State

DEVICE = "default/sensor-1"
TELEMETRY = f"skerry/{DEVICE}/telemetry"
HELLO = Connect("c", DEVICE, b"secret", keep_alive_s=20)


class Peer:
    """A session and what it sent."""

    def __init__(self) -> None:
        self.out = b""
        self.session = Session(now=0.0, send=self._take)

    def _take(self, data: bytes) -> None:
        self.out += data

    def say(self, *packets: Packet, now: float = 0.0) -> list[Any]:
        return list(self.session.receive(b"".join(encode(p) for p in packets), now))

    def said(self) -> list[Packet]:
        found, self.out = list(PacketReader(limit=1 << 20).feed(self.out)), b""
        return found


def admitted(hello: Connect = HELLO) -> Peer:
    peer = Peer()
    peer.say(hello)
    peer.session.admit(DEVICE)
    assert peer.said() == [Connack(0)]
    return peer


def test_a_client_knocks_and_is_let_in() -> None:
    peer = Peer()

    assert peer.say(HELLO) == [Knock(DEVICE, b"secret")]
    assert peer.said() == []
    peer.session.admit(DEVICE)
    assert peer.said() == [Connack(0)]


def test_acknowledgements_come_after_storing_and_in_the_order_of_messages() -> None:
    peer = admitted()
    events = peer.say(
        *(Publish(TELEMETRY, b"%d" % i, 1, 10 + i) for i in range(3)), Publish(TELEMETRY, b"x"), Publish(TELEMETRY, b"4", 1, 14)
    )
    assert [e.payload for e in events] == [b"0", b"1", b"2", b"x", b"4"]
    assert peer.said() == []

    for i in (1, 4, 2):
        peer.session.stored(events[i].token)
    assert peer.said() == []
    peer.session.stored(events[0].token)
    assert peer.said() == [Puback(10), Puback(11), Puback(12)]
    peer.session.stored(events[3].token)
    assert peer.said() == [Puback(14)]
    assert peer.session.unstored == 0


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (Publish("skerry/default/other/telemetry", b"{}", 1, 1), "may not publish"),
        (Publish("$SYS/x", b"{}"), "may not publish"),
        (HELLO, "not for a client to send now"),
        (Connack(0), "not for a client"),
    ],
)
def test_what_a_device_must_not_send_ends_the_session_unacknowledged(packet: Packet, why: str) -> None:
    peer = admitted()

    [ended] = peer.say(packet, Publish(TELEMETRY, b"{}", 1, 2))

    assert isinstance(ended, Ended)
    assert why in ended.why
    assert peer.said() == []
    assert peer.session.state is State.CLOSED
    assert peer.say(Pingreq(), Publish(TELEMETRY, b"{}", 1, 3)) == []
    assert peer.said() == []


def test_nothing_but_connect_comes_first_and_nothing_before_the_answer() -> None:
    assert "first packet" in Peer().say(Pingreq())[0].why
    assert "before the answer" in Peer().say(HELLO, Pingreq())[1].why


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (Connect("c", DEVICE, b"secret", level=5), 1),
        (Connect("", DEVICE, b"secret", clean=False), 2),
        (Connect("c"), 4),
        (Connect("c", DEVICE, b""), 4),
    ],
)
def test_a_hello_that_cannot_be_served_gets_its_code(hello: Connect, code: int) -> None:
    peer = Peer()

    [ended] = peer.say(hello)

    assert isinstance(ended, Ended)
    assert peer.said() == [Connack(code)]


def test_before_connect_little_memory_is_given_away() -> None:
    [ended] = Peer().session.receive(b"\x10\xff\xff\x7f", 0.0)

    assert isinstance(ended, Ended)
    assert "the limit is 16384" in ended.why


def test_a_silent_client_is_missed() -> None:
    peer = Peer()
    assert peer.session.dead_at() == 10.0
    peer.say(HELLO, now=1.0)
    peer.session.admit(DEVICE)

    assert peer.session.dead_at() == 31.0
    peer.say(Pingreq(), now=20.0)
    assert peer.session.dead_at() == 50.0
    assert peer.said() == [Connack(0), Pingresp()]


def test_a_hello_that_comes_byte_by_byte_has_no_more_time() -> None:
    """256 of them, kept alive by a byte now and then, kept every device out (input 1)."""
    peer, hello = Peer(), encode(HELLO)
    for second, byte in enumerate(hello[:9]):
        list(peer.session.receive(bytes((byte,)), float(second)))

    assert peer.session.dead_at() == 10.0


def test_only_the_own_wishes_can_be_subscribed_and_quality_2_becomes_1() -> None:
    peer = admitted()
    assert peer.say(Subscribe(1, (("#", 0), ("skerry/default/other/desired", 1)))) == []
    assert peer.say(Subscribe(2, ((f"skerry/{DEVICE}/desired", 2),))) == [Listening()]
    assert peer.said() == [Suback(1, (0x80, 0x80)), Suback(2, (1,))]

    peer.session.desire(b"{}")

    assert peer.said() == [Publish(f"skerry/{DEVICE}/desired", b"{}", 1, 1)]


def test_a_will_is_said_of_who_vanished_and_not_of_who_said_goodbye() -> None:
    hello = Connect("c", DEVICE, b"secret", will=Will(f"skerry/{DEVICE}/events/lost", b"{}"))

    assert admitted(hello).session.end("gone").will == (Topic("events", "lost"), b"{}")
    assert admitted(hello).say(Disconnect())[0].will is None
    other = Connect("c", DEVICE, b"secret", will=Will("skerry/default/other/events/lost", b"{}"))
    assert admitted(other).session.end("gone").will is None


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_events_and_nothing_is_sent_after_the_end(data: bytes, inside: bool) -> None:
    peer = admitted() if inside else Peer()

    events = list(peer.session.receive(data, 0.0))

    assert all(isinstance(e, Knock | Message | Listening | Ended) for e in events)
    assert [e for e in events[:-1] if isinstance(e, Ended)] == []
