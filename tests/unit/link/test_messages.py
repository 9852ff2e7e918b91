"""Control messages and channel frames: whole, byte by byte, at random."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.link import PeerError, channels, control


@given(st.lists(st.tuples(st.sampled_from(sorted(channels.CHANNELS)), st.binary(max_size=50)), max_size=6), st.integers(1, 9))
def test_frames_come_out_as_they_went_in_however_they_are_cut(frames: list[tuple[int, bytes]], step: int) -> None:
    raw = b"".join(channels.encode(channel, payload) for channel, payload in frames)
    reader = channels.Reader()

    found = [f for at in range(0, len(raw), step) for f in reader.feed(raw[at : at + step])]

    assert found == [channels.Frame(c, p) for c, p in frames]


def test_a_long_payload_is_split() -> None:
    frames = list(channels.Reader().feed(channels.encode(channels.STDOUT, b"x" * 150_000)))

    assert [len(f.payload) for f in frames] == [65536, 65536, 18928]


@given(st.binary(max_size=60))
def test_random_bytes_are_frames_or_a_peer_error(noise: bytes) -> None:
    try:
        frames = list(channels.Reader().feed(noise))
    except PeerError:
        return

    assert all(f.channel in channels.CHANNELS for f in frames)


@pytest.mark.parametrize("raw", [b"\x01\xff\xff\xff\xff", b"\x09\x00\x00\x00\x01x"])
def test_a_claim_beyond_the_limit_and_an_unknown_channel_are_refused_at_once(raw: bytes) -> None:
    with pytest.raises(PeerError):
        list(channels.Reader().feed(raw))


@given(st.integers(1, 7))
def test_messages_come_out_as_they_went_in_however_they_are_cut(step: int) -> None:
    sent: list[control.Message] = [control.Ping(), control.Open("s1", "logs", {"pod": "a"}), control.Ping()]
    raw = b"".join(control.encode(m) for m in sent)
    reader = control.Reader()

    assert [m for at in range(0, len(raw), step) for m in reader.feed(raw[at : at + step])] == sent


def test_messages_are_the_json_that_was_agreed_on() -> None:
    assert control.encode(control.Ping()) == b'{"type":"ping"}\n'
    assert control.encode(control.Open("1", "twin", {"name": "m"})) == b'{"type":"open","stream":"1","kind":"twin","params":{"name":"m"}}\n'


@pytest.mark.parametrize(
    "line", [b"{}\n", b'{"type":"reboot"}\n', b"<html>\n", b'{"type":"open"}\n', b'{"type":"\xb0"}\n', b"x" * (control.MAX_LINE + 1)]
)
def test_what_is_no_message_is_a_peer_error(line: bytes) -> None:
    with pytest.raises(PeerError):
        list(control.Reader().feed(line))
