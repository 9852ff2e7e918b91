"""The uploaded batch: every number once, no holes, whatever a node sends."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.events.log.batch import MAX_BATCH_BYTES, BatchError, Dropped, Stored, bounds, decode, encode, encode_dropped

RAW = b'{"specversion":"1.0","id":"1","source":"/s","type":"t"}'


@given(st.sets(st.integers(1, 300), min_size=1, max_size=100), st.integers(0, 50))
def test_every_number_is_in_exactly_one_line(numbers: set[int], after: int) -> None:
    rows = [(n + after, RAW) for n in sorted(numbers)]

    entries = decode(encode(after, rows, reason="bound"))

    accounted = [n for e in entries for n in range(bounds(e)[0], bounds(e)[1] + 1)]
    assert accounted == list(range(after + 1, rows[-1][0] + 1))
    assert [e.seq for e in entries if isinstance(e, Stored)] == [n for n, _ in rows]


def test_an_event_is_kept_byte_for_byte() -> None:
    raw = '{"specversion":"1.0", "id":"ä","source":"/s","type":"t","data":{"x": 1.50}}'.encode()

    assert decode(encode(6, [(7, raw)], reason="")) == [Stored(7, raw)]


def test_a_range_may_be_dropped_alone() -> None:
    assert decode(encode_dropped(3, 9, reason="age")) == [Dropped(3, 9, "age")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"[]",
        b'{"seq":1}',
        b'{"seq":1,"event":null}',
        b'{"seq":0,"event":%b}' % RAW,
        b'{"seq":1e3,"event":{}}',
        b'{"seq":9223372036854775808,"event":%b}' % RAW,
        b'{"seq":1,"event":{"specversion":"1.0","id":"","source":"/s","type":"t"}}',
        b'{"seq":1,"event":{"specversion":"1.0","id":7,"source":"/s","type":"t"}}',
        b'{"seq":1,"event":{"specversion":"1.0","source":"/s","type":"t"}}',
        b'{"seq":1,"event":"\xff"}',
        b'{"seq":1,"event":%b}\n{"seq":3,"event":%b}' % (RAW, RAW),
        b'{"seq":2,"event":%b}\n{"seq":1,"event":%b}' % (RAW, RAW),
        b'{"seq":1,"event":%b}\n{"seq":1,"event":%b}' % (RAW, RAW),
        b'{"dropped":{"first":5,"last":4}}',
        b'{"seq":1,"event":%b,"dropped":{"first":1,"last":4}}' % RAW,
        b"[" * 100_000,
        b"x" * (MAX_BATCH_BYTES + 1),
        b'{"seq":1,"event":%b}\n' % RAW + b'{"seq":2,"event":{"specversion',
    ],
    ids=lambda b: repr(b[:24]),
)
def test_what_is_not_a_batch_is_refused(body: bytes) -> None:
    with pytest.raises(BatchError):
        decode(body)


@given(st.binary(max_size=300))
def test_random_bytes_are_a_batch_or_an_error(body: bytes) -> None:
    with contextlib.suppress(BatchError):
        decode(body)
