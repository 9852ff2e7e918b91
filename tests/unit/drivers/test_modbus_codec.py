"""Registers and values: both ways, whatever the registers hold; and which requests read a set of points."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skerry.drivers.frames import MAX_FRAME, FrameError, FrameReader, frame
from skerry.drivers.modbus.batches import MAX_BITS, MAX_REGISTERS, blocks, cut
from skerry.drivers.modbus.codec import decode, encode, settled
from skerry.model.bindings import FORMATS, ORDERS, TABLES, ModbusPoint
from skerry.model.profiles import Property

points = st.builds(
    ModbusPoint,
    st.just("holding"),
    st.integers(0, 1000),
    st.sampled_from(list(FORMATS)),
    st.sampled_from(ORDERS),
    st.sampled_from([1.0, 0.1, 0.01, 2.0, -0.5]),
    st.sampled_from([0.0, -40.0, 100.0]),
)


def a_property(kind: str, **more: Any) -> Property:
    return Property("x", kind, access="readWrite", **more)


@settings(deadline=None)
@given(points, st.floats(-1e9, 1e9))
def test_what_is_written_reads_back_as_settled_says(point: ModbusPoint, value: float) -> None:
    prop = a_property("number")
    try:
        raw = encode(prop, point, value)
    except ValueError:
        return

    held = settled(prop, point, value)

    assert decode(prop, point, raw) == held
    assert encode(prop, point, held) == raw or point.format.startswith("float"), "settling twice changes nothing"
    assert isinstance(held, float)
    step = abs(point.scale) if not point.format.startswith("float") else abs(value) * 1e-5 + abs(point.offset) * 1e-6 + 1e-9
    assert abs(held - value) <= step


@settings(deadline=None)
@given(points, st.lists(st.integers(0, 65_535), min_size=4, max_size=4), st.sampled_from(["number", "integer", "enum", "boolean"]))
def test_any_registers_are_a_value_or_a_value_error(point: ModbusPoint, raw: list[int], kind: str) -> None:
    assume(kind == "number" or not point.format.startswith("float"))
    prop = a_property(kind, values=("a", "b"))
    try:
        value = decode(prop, point, raw[: point.count])
    except ValueError:
        return
    assert not isinstance(value, float) or math.isfinite(value)


@settings(deadline=None)
@given(st.integers(0, 65_535), st.sampled_from(ORDERS))
def test_an_integer_stays_one(raw: int, order: str) -> None:
    point = ModbusPoint("input", 0, "uint16", order)
    value = decode(a_property("integer"), point, encode(a_property("integer"), point, raw))

    assert (type(value), value) == (int, raw)


@pytest.mark.parametrize(
    ("order", "raw"), [("abcd", [0x4228, 0x6666]), ("badc", [0x2842, 0x6666]), ("cdab", [0x6666, 0x4228]), ("dcba", [0x6666, 0x2842])]
)
def test_the_orders_are_those_that_makers_mean(order: str, raw: list[int]) -> None:
    assert struct.unpack(">f", bytes.fromhex("42286666"))[0] == pytest.approx(42.1)

    assert decode(a_property("number"), ModbusPoint("input", 0, "float32", order), raw) == 42.1


@pytest.mark.parametrize("raw", [[0x7FC0, 0], [0x7F80, 0], [0xFF80, 0]])
def test_what_is_no_number_has_no_value(raw: list[int]) -> None:
    with pytest.raises(ValueError, match="the registers hold"):
        decode(a_property("number"), ModbusPoint("input", 0, "float32"), raw)


@pytest.mark.parametrize(("value", "form"), [(65_536, "uint16"), (-1, "uint16"), (2**31, "int32"), (1e39, "float32"), (1e400, "float64")])
def test_what_does_not_fit_is_named(value: float, form: str) -> None:
    with pytest.raises(ValueError, match=f"does not fit {form}"):
        encode(a_property("number"), ModbusPoint("holding", 0, form), value)


def test_text_is_cut_at_its_end_and_refused_when_it_is_too_long() -> None:
    point, prop = ModbusPoint("holding", 0, "string", length=3), a_property("string")

    assert decode(prop, point, encode(prop, point, "pümp")) == "pümp"
    with pytest.raises(ValueError, match="has 7 bytes, 3 registers hold 6"):
        encode(prop, point, "seventy")
    with pytest.raises(ValueError, match="no UTF-8"):
        decode(prop, point, [0xFFFF, 0xFFFF, 0])


places = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.builds(ModbusPoint, st.sampled_from(TABLES), st.integers(0, 400), st.sampled_from(list(FORMATS))),
    max_size=30,
)


@settings(deadline=None)
@given(places, st.integers(0, 16))
def test_every_point_lies_whole_in_exactly_one_block_that_the_protocol_allows(found: dict[str, ModbusPoint], gap: int) -> None:
    planned = blocks(found, gap=gap)

    assert sorted(n for b in planned for n in b.names) == sorted(found)
    for block in planned:
        assert block.count <= (MAX_BITS if block.table in ("coil", "discrete") else MAX_REGISTERS)
        answer = list(range(block.start, block.start + block.count))
        for name in block.names:
            point = found[name]
            assert point.table == block.table
            assert list(cut(block, point, answer)) == list(range(point.address, point.address + point.count))


def test_neighbours_share_a_request_and_far_points_do_not() -> None:
    found = {
        "a": ModbusPoint("holding", 0),
        "b": ModbusPoint("holding", 4, "float32"),
        "c": ModbusPoint("holding", 90),
        "d": ModbusPoint("input", 1),
    }

    assert [(b.table, b.start, b.count) for b in blocks(found, gap=8)] == [("holding", 0, 6), ("holding", 90, 1), ("input", 1, 1)]
    assert len(blocks(found, gap=0)) == 4


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 7))
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent: list[bytes], size: int) -> None:
    stream, reader = b"".join(frame(p) for p in sent), FrameReader()

    assert [p for i in range(0, len(stream), size) for p in reader.feed(stream[i : i + size])] == sent


def test_a_frame_that_claims_too_much_is_refused_at_once() -> None:
    with pytest.raises(FrameError):
        list(FrameReader().feed((MAX_FRAME + 1).to_bytes(4, "big")))
