"""How a property is reached in a protocol: the typed form of `binding.<protocol>`, checked at admission and read by drivers.

What must stay true: a binding that passes here can be spoken by the driver of that protocol; a protocol that is not listed
here comes from elsewhere (an entry point of `skerry.drivers`) and its binding is that driver's to check.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from skerry.model.errors import Cause, invalid_value, not_supported, required

TABLES = ("input", "holding", "coil", "discrete")
FORMATS: dict[str, tuple[int, float, float]] = {
    "uint16": (1, 0, 2**16 - 1),
    "int16": (1, -(2**15), 2**15 - 1),
    "uint32": (2, 0, 2**32 - 1),
    "int32": (2, -(2**31), 2**31 - 1),
    "float32": (2, -3.4028234663852886e38, 3.4028234663852886e38),
    "float64": (4, -1.7976931348623157e308, 1.7976931348623157e308),
}
"""Registers, least and greatest raw value of each number format; `string` has a length of its own."""
ORDERS = ("abcd", "badc", "cdab", "dcba")
"""abcd: most significant word first, big-endian words; b swaps bytes in a word, c the words."""
MAX_STRING_REGISTERS = 64
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}")


class ModbusPoint(msgspec.Struct, frozen=True):
    """Where a value stands in a Modbus device: `table`, the protocol's own zero-based address, and how it is encoded."""

    table: str
    address: int
    format: str = "uint16"
    order: str = "abcd"
    scale: float = 1.0
    offset: float = 0.0
    bit: int | None = None
    length: int = 1

    @property
    def count(self) -> int:
        """Registers (or bits) that it takes."""
        if self.table in ("coil", "discrete"):
            return 1
        return self.length if self.format == "string" else FORMATS[self.format][0]

    @property
    def writable(self) -> bool:
        return self.table in ("holding", "coil")

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__struct_fields__}


def modbus_point(binding: Mapping[str, Any]) -> ModbusPoint:
    """Return the point of a binding that `modbus_causes` found nothing wrong with."""
    table = next(t for t in TABLES if t in binding)
    return ModbusPoint(
        table,
        int(binding[table]),
        str(binding.get("as") or "uint16"),
        str(binding.get("order") or "abcd"),
        float(binding.get("scale", 1.0)),
        float(binding.get("offset", 0.0)),
        binding.get("bit"),
        int(binding.get("length", 1)),
    )


def modbus_causes(field: str, binding: Mapping[str, Any], *, kind: str, writes: bool) -> list[Cause]:
    """Say what is wrong with *binding* for a property of type *kind* ("" when not known) that is written or only read."""
    tables = [t for t in TABLES if t in binding]
    if len(tables) != 1:
        return [required(field, f"exactly one of {', '.join(TABLES)} with the address")]
    table, found = tables[0], []
    if not _whole(binding[table], 0, 65_535):
        found.append(invalid_value(f"{field}.{table}", binding[table], "must be an address between 0 and 65535"))
    if writes and table in ("input", "discrete"):
        found.append(invalid_value(f"{field}.{table}", binding[table], f"the {table} table cannot be written: use holding or coil"))
    if table in ("coil", "discrete"):
        return found + _bit_table_causes(field, binding, table, kind)
    return found + _register_causes(field, binding, kind)


def _bit_table_causes(field: str, binding: Mapping[str, Any], table: str, kind: str) -> list[Cause]:
    found = [
        invalid_value(f"{field}.{name}", binding[name], f"is not for the {table} table, which holds single bits")
        for name in ("as", "order", "scale", "offset", "bit", "length")
        if name in binding
    ]
    if kind not in ("boolean", ""):
        found.append(invalid_value(field, table, f"the {table} table holds booleans, the property is a {kind}"))
    return found


def _register_causes(field: str, binding: Mapping[str, Any], kind: str) -> list[Cause]:
    form, order = binding.get("as", "uint16"), binding.get("order", "abcd")
    found: list[Cause] = []
    if form != "string" and form not in FORMATS:
        return [not_supported(f"{field}.as", form, [*FORMATS, "string"])]
    if order not in ORDERS:
        found.append(not_supported(f"{field}.order", order, list(ORDERS)))
    if kind and (form == "string") != (kind == "string"):
        found.append(invalid_value(f"{field}.as", form, f"does not hold a {kind}"))
    if kind in ("integer", "enum", "boolean") and str(form).startswith("float"):
        found.append(invalid_value(f"{field}.as", form, f"does not hold a {kind}: use an integer format"))
    found += _scaling_causes(field, binding, kind)
    found += _part_causes(field, binding, form, kind)
    return found


def _scaling_causes(field: str, binding: Mapping[str, Any], kind: str) -> list[Cause]:
    found: list[Cause] = []
    for name in ("scale", "offset"):
        value = binding.get(name)
        if value is None:
            continue
        if not _finite(value) or (name == "scale" and value == 0):
            found.append(invalid_value(f"{field}.{name}", value, "must be a finite number, and a scale not 0"))
        elif kind not in ("number", "integer", ""):
            found.append(invalid_value(f"{field}.{name}", value, f"is for numbers and integers, the property is a {kind}"))
        elif kind == "integer" and value != int(value):
            found.append(invalid_value(f"{field}.{name}", value, "must be whole for an integer"))
    return found


def _part_causes(field: str, binding: Mapping[str, Any], form: str, kind: str) -> list[Cause]:
    found: list[Cause] = []
    if "bit" in binding and (not _whole(binding["bit"], 0, 15) or kind not in ("boolean", "") or form != "uint16"):
        found.append(invalid_value(f"{field}.bit", binding["bit"], "must be 0 to 15, for a boolean in a uint16"))
    if form == "string" and not _whole(binding.get("length"), 1, MAX_STRING_REGISTERS):
        found.append(required(f"{field}.length", f"the registers of the string, 1 to {MAX_STRING_REGISTERS}"))
    if form != "string" and "length" in binding:
        found.append(invalid_value(f"{field}.length", binding["length"], "is for as: string only"))
    return found


def modbus_span(point: ModbusPoint) -> tuple[float, float]:
    """Return the least and the greatest value that the point can hold after scale and offset."""
    _, low, high = FORMATS[point.format]
    ends = (low * point.scale + point.offset, high * point.scale + point.offset)
    return min(ends), max(ends)


def mqtt_causes(field: str, binding: Mapping[str, Any]) -> list[Cause]:
    name = binding.get("name")
    if name is not None and (not isinstance(name, str) or not 1 <= len(name) <= 128):
        return [invalid_value(f"{field}.name", name, "must be the JSON key of the value, 1 to 128 characters")]
    return []


def binding_causes(field: str, protocol: str, binding: Mapping[str, Any], *, kind: str, writes: bool) -> list[Cause]:
    """Say what is wrong with one protocol's binding of one property."""
    if protocol == "modbus":
        return modbus_causes(field, binding, kind=kind, writes=writes)
    if protocol == "mqtt":
        return mqtt_causes(field, binding)
    return []


def connection_causes(field: str, protocol: str, connection: Mapping[str, Any]) -> list[Cause]:
    """Say what is wrong with one protocol's part of `spec.connection`."""
    if protocol != "modbus":
        return []
    url, unit = connection.get("url"), connection.get("unit", 1)
    found = [] if _whole(unit, 1, 247) else [invalid_value(f"{field}.unit", unit, "must be between 1 and 247 (0 is broadcast)")]
    if not isinstance(url, str):
        return [*found, required(f"{field}.url", "such as tcp://10.4.0.7:502")]
    try:
        tcp_address(url)
    except ValueError as error:
        found.append(invalid_value(f"{field}.url", url, str(error)))
    return found


def tcp_address(url: str, *, default_port: int = 502) -> tuple[str, int]:
    """Return host and port of `tcp://host:port`; raises ValueError saying what is wrong."""
    if any(c.isspace() or not c.isprintable() for c in url) or len(url) > 256:
        raise ValueError("must have no spaces or control characters and at most 256 characters")
    parts = urlsplit(url)
    if parts.scheme != "tcp":
        raise ValueError("must be tcp://host:port; serial lines are not supported yet")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be tcp://host:port and nothing else")
    if not _HOST.fullmatch(parts.hostname):
        raise ValueError("must name a host or an address")
    return parts.hostname, parts.port or default_port


def _whole(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
