"""The MQTT codec: what is encoded reads back, and bytes are packets or a PeerError."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.drivers import PeerError
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
    Unsuback,
    Unsubscribe,
    Will,
    encode,
    may_subscribe,
    parse_topic,
)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
topic = st.text(st.characters(exclude_characters="\0#+", exclude_categories=["Cs"]), min_size=1, max_size=40)
number = st.integers(1, 65_535)
wills = st.none() | st.builds(Will, topic, st.binary(max_size=40), st.integers(0, 1))
connects = st.builds(Connect, text, text, st.none() | st.binary(max_size=40), st.integers(0, 65_535), st.booleans(), wills)
publishes = st.builds(Publish, topic, st.binary(max_size=300), st.just(1), number, st.booleans(), st.booleans()) | st.builds(
    Publish, topic, st.binary(max_size=300)
)
packets = st.one_of(
    connects,
    publishes,
    st.builds(Connack, st.integers(0, 5), st.booleans()),
    st.builds(Puback, number),
    st.builds(Subscribe, number, st.lists(st.tuples(topic, st.integers(0, 2)), min_size=1, max_size=5).map(tuple)),
    st.builds(Suback, number, st.lists(st.sampled_from([0, 1, 0x80]), max_size=5).map(tuple)),
    st.builds(Unsubscribe, number, st.lists(topic, min_size=1, max_size=5).map(tuple)),
    st.builds(Unsuback, number),
    st.sampled_from([Pingreq(), Pingresp(), Disconnect()]),
)


@settings(deadline=None)
@given(st.lists(packets, max_size=8), st.data())
def test_what_is_encoded_reads_back_however_it_is_cut(sent: list[Packet], data: st.DataObject) -> None:
    stream = b"".join(encode(p) for p in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = PacketReader(limit=1 << 20)

    found = [p for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) for p in reader.feed(stream[a:b])]

    assert found == sent


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_packets_or_a_peers_error(data: bytes) -> None:
    reader = PacketReader(limit=256)
    try:
        found = list(reader.feed(data))
    except PeerError:
        return
    assert all(not isinstance(p, bytes) for p in found)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x30\xff\xff\xff\x7f", "the limit is"),
        (b"\x30\xff\xff\xff\xff\x7f", "limit"),
        (b"\x36\x05\x00\x01a\x00\x01", "QoS 3"),
        (b"\x34\x05\x00\x01a\x00\x01", "QoS 2"),
        (b"\x32\x05\x00\x01a\x00\x00", "packet identifier 0"),
        (b"\x30\x03\x00\x01#", "wildcards"),
        (b"\x30\x02\x00\x00", "empty topic"),
        (b"\x30\x04\x00\x02a\x00", "U\\+0000"),
        (b"\x30\x04\x00\x02\xc3\x28", "UTF-8"),
        (b"\x30\x03\x00\x05a", "middle of a field"),
        (b"\x80\x06\x00\x01\x00\x01a\x00", "flags 0"),
        (b"\x82\x02\x00\x01", "without a filter"),
        (b"\xc0\x01\x00", "after the end"),
        (b"\x50\x02\x00\x01", "QoS 2"),
        (b"\xf0\x00", "not spoken"),
        (b"\x10\x0c\x00\x04MQTT\x04\x01\x00\x00\x00\x00", "reserved flag"),
        (b"\x10\x0c\x00\x04MQTT\x04\x40\x00\x00\x00\x00", "contradictory"),
        (b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x00\x00\x00", "another protocol"),
    ],
)
def test_what_is_no_packet_is_named(data: bytes, why: str) -> None:
    with pytest.raises(PeerError, match=why):
        list(PacketReader(limit=1 << 16).feed(data))


@pytest.mark.parametrize(
    "name",
    [
        "#",
        "+",
        "$SYS/x",
        "skerry/a/c/telemetry",
        "skerry/a/b/desired",
        "skerry/a/b/telemetry/x",
        "skerry/a/b/events/",
        "skerry/a/b/events/a b",
        "skerry/a/b",
        "skerry//b/telemetry",
    ],
)
def test_a_device_publishes_to_its_own_topics_only(name: str) -> None:
    assert parse_topic(name, "a/b") is None
    assert parse_topic("skerry/a/b/telemetry", "a/b")


def test_a_device_hears_its_own_wishes_only() -> None:
    asked = ["skerry/a/b/desired", "skerry/a/b/#", "skerry/a/+/desired", "skerry/#", "#", "skerry/a/c/desired", "$SYS/#"]

    assert [f for f in asked if may_subscribe(f, "a/b")] == asked[:2]
