"""Between registers and values, both ways, pure. Source: Modbus Application Protocol 1.1b3; word orders are makers' habits.

What must stay true: `decode(encode(v))` is what `settled(v)` says, and no register content raises anything but ValueError.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from skerry.model.bindings import FORMATS, ModbusPoint, modbus_point
from skerry.model.profiles import Property, Scalar

_STRUCT = {"uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "float32": "f", "float64": "d"}


def point_of(prop: Property) -> ModbusPoint:
    return modbus_point(prop.binding["modbus"])


def decode(prop: Property, point: ModbusPoint, raw: Sequence[int]) -> Scalar:
    """Return the value that *raw* (registers, or one bit) holds; ValueError says why it holds none."""
    if point.table in ("coil", "discrete"):
        return bool(raw[0])
    if point.format == "string":
        return _text(raw, point.order)
    number = _number(raw, point)
    match prop.type:
        case "boolean":
            return bool(int(number) >> (point.bit or 0) & 1) if point.bit is not None else number != 0
        case "enum":
            return _choice(prop, int(number))
    if not math.isfinite(number):
        raise ValueError(f"the registers hold {number}")
    value = _scaled(number, point)
    return int(value) if prop.type == "integer" else value


def encode(prop: Property, point: ModbusPoint, value: Scalar) -> list[int]:
    """Return the registers (or the one bit) for *value*; ValueError names what they can hold. Bits in a register are not here."""
    if point.table == "coil":
        return [int(bool(value))]
    if point.format == "string":
        return _text_registers(str(value), point)
    if prop.type == "boolean":
        return [int(bool(value))]
    if prop.type == "enum":
        return _words(prop.values.index(str(value)), point)
    assert isinstance(value, (int, float))
    return _words(_raw(value, point), point)


def settled(prop: Property, point: ModbusPoint, value: Scalar) -> Scalar:
    """Return *value* as it reads back from the device."""
    return value if point.bit is not None else decode(prop, point, encode(prop, point, value))


def _scaled(number: float, point: ModbusPoint) -> float:
    value = number * point.scale + point.offset
    if point.format == "float64" or (point.scale == 1 and point.offset == 0 and not point.format.startswith("float")):
        return value
    return _shortest32(value) if point.format == "float32" else float(f"{value:.12g}")


def _shortest32(value: float) -> float:
    """Return the shortest number that is the same 32-bit float: 42.1, not 42.099998474121094."""
    try:
        exact = struct.pack(">f", value)
    except OverflowError:
        return value
    return next((s for digits in (6, 7, 8) if struct.pack(">f", s := float(f"{value:.{digits}g}")) == exact), float(f"{value:.9g}"))


def _raw(value: float, point: ModbusPoint) -> float:
    raw = (value - point.offset) / point.scale if (point.scale, point.offset) != (1, 0) else value
    if not point.format.startswith("float"):
        raw = raw if isinstance(raw, int) else round(raw)
    _, low, high = FORMATS[point.format]
    if not low <= raw <= high:
        raise ValueError(f"{value} does not fit {point.format} with scale {point.scale:g} and offset {point.offset:g}")
    return raw


def _words(raw: float, point: ModbusPoint) -> list[int]:
    data = struct.pack(f">{_STRUCT[point.format]}", raw)
    return _ordered([int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)], point.order)


def _number(raw: Sequence[int], point: ModbusPoint) -> float:
    data = b"".join(w.to_bytes(2, "big") for w in _ordered(list(raw), point.order))
    number: float = struct.unpack(f">{_STRUCT[point.format]}", data)[0]
    return number


def _ordered(words: list[int], order: str) -> list[int]:
    """Apply *order*; it is its own inverse."""
    if order in ("badc", "dcba"):
        words = [(w >> 8) | (w & 0xFF) << 8 for w in words]
    return words[::-1] if order in ("cdab", "dcba") else words


def _text(raw: Sequence[int], order: str) -> str:
    swapped = [(w >> 8) | (w & 0xFF) << 8 for w in raw] if order == "badc" else raw
    data = b"".join(w.to_bytes(2, "big") for w in swapped).split(b"\0", 1)[0]
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError("the registers hold no UTF-8 text") from error
    return text.rstrip(" ")


def _text_registers(text: str, point: ModbusPoint) -> list[int]:
    data = text.encode()
    if len(data) > point.length * 2:
        raise ValueError(f"has {len(data)} bytes, {point.length} registers hold {point.length * 2}")
    data = data.ljust(point.length * 2, b"\0")
    words = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    return [(w >> 8) | (w & 0xFF) << 8 for w in words] if point.order == "badc" else words


def _choice(prop: Property, position: int) -> str:
    if not 0 <= position < len(prop.values):
        raise ValueError(f"the register holds {position}, the enum has {len(prop.values)} values")
    return prop.values[position]
