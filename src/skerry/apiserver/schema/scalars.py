"""Values of built-in kinds that are one JSON value: checked as Go decodes them, given back as Go writes them.

Each takes (value, path, key, unknown) and returns the value to keep, or OMIT for Go's zero value of an `omitempty` field.
A value that Go could not decode raises MismatchError; the struct around it adds where it stands.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_CEILING
from functools import lru_cache
from typing import Any

from skerry.apiserver.schema.paths import Path
from skerry.model import quantity
from skerry.model.times import parse_time, rfc3339

Normalise = Callable[[Any, Path, Any, list[Path]], Any]

OMIT: Any = object()
"""Leave the field out."""

_INT_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_UTC_SECONDS = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ")
_UTC_MICRO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{6}(Z|[+-]\d\d:\d\d)")


class MismatchError(Exception):
    """A value of the wrong JSON type or form; `field` is filled in while the error travels outwards."""

    def __init__(self, found: str, wanted: str, *, message: str = "") -> None:
        super().__init__(message or f"{found} for {wanted}")
        self.found, self.wanted, self.message = found, wanted, message
        self.struct = ""
        self.field = ""

    def text(self) -> str:
        """Return Go's words for it."""
        if self.message:
            return self.message
        where = f"Go struct field {self.struct}.{self.field}" if self.struct else "Go value"
        return f"json: cannot unmarshal {self.found} into {where} of type {self.wanted}"


def json_type(value: Any) -> str:
    """Return what Go calls the JSON type of *value* in its errors."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "value")


def string(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    if value.__class__ is str:
        return value or OMIT
    raise MismatchError(json_type(value), "string")


def string_kept(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    if value.__class__ is str:
        return value
    raise MismatchError(json_type(value), "string")


def boolean(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    if value is True:
        return True
    if value is False:
        return OMIT
    raise MismatchError(json_type(value), "bool")


def boolean_kept(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    if value.__class__ is bool:
        return value
    raise MismatchError(json_type(value), "bool")


def _integer(width: str, *, keep_zero: bool) -> Normalise:
    low, high = _INT_RANGES[width]

    def integer(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
        if value.__class__ is int and low <= value <= high:
            return value if value or keep_zero else OMIT
        found = f"number {value}" if value.__class__ in (int, float) else json_type(value)
        raise MismatchError(found, width)

    return integer


INTEGERS = {(width, keep): _integer(width, keep_zero=keep) for width in _INT_RANGES for keep in (False, True)}


def number(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    if value.__class__ is float or value.__class__ is int:
        return value
    raise MismatchError(json_type(value), "float64")


def base64_bytes(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    if value.__class__ is not str:
        raise MismatchError(json_type(value), "[]uint8")
    return checked_base64(value)


def checked_base64(text: str) -> str:
    """Return *text* without line breaks; raises MismatchError with Go's words for the first byte that is not base64."""
    if "\n" in text or "\r" in text:
        text = text.replace("\n", "").replace("\r", "")
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise MismatchError("", "", message=f"illegal base64 data at input byte {_bad_base64_at(text)}") from None
    return text


def _bad_base64_at(text: str) -> int:
    bad = re.search(r"[^A-Za-z0-9+/]", text.rstrip("="))
    return bad.start() if bad else max(len(text) - 1, 0) // 4 * 4


def anything(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    return value


def any_object(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    if value.__class__ is not dict:
        raise MismatchError(json_type(value), "map[string]interface {}")
    return value


def int_or_string(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    if value.__class__ is str or (value.__class__ is int and -(2**31) <= value < 2**31):
        return value
    raise MismatchError(f"number {value}" if value.__class__ in (int, float) else json_type(value), "int32")


def time(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    """metav1.Time: RFC 3339, given back in UTC with second precision."""
    if value.__class__ is not str:
        raise MismatchError(json_type(value), "string")
    return value if _UTC_SECONDS.fullmatch(value) else rfc3339(_parsed(value, "2006-01-02T15:04:05Z07:00"))


def micro_time(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    """metav1.MicroTime: exactly six decimals, else Go cannot read it."""
    if value.__class__ is not str:
        raise MismatchError(json_type(value), "string")
    layout = "2006-01-02T15:04:05.000000Z07:00"
    match = _UTC_MICRO.fullmatch(value)
    if match is None:
        raise MismatchError("", "", message=f'parsing time "{value}" as "{layout}": cannot parse "{value}" as ".000000"')
    at = _parsed(value, layout)
    return value if match[2] == "Z" else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parsed(text: str, layout: str) -> datetime:
    try:
        if "T" not in text:
            raise ValueError(text)
        return parse_time(text)
    except ValueError:
        raise MismatchError("", "", message=f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"') from None


def quantity_value(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    return canonical_quantity(value)


def canonical_quantity(value: Any) -> str:
    """Return the canonical text of a quantity (a string or a number); raises MismatchError in Kubernetes' words."""
    if value.__class__ not in (str, int, float):
        raise MismatchError(json_type(value), "Quantity")
    return _canonical(str(value).strip())


def resource_quantity(value: Any, path: Path, key: Any, unknown: list[Path]) -> Any:
    """A quantity in a ResourceList: rounded up to thousandths."""
    if value.__class__ not in (str, int, float):
        raise MismatchError(json_type(value), "Quantity")
    return _rounded(str(value).strip())


@lru_cache(maxsize=2048)
def _canonical(text: str) -> str:
    try:
        return quantity.canonical(text)
    except quantity.QuantityError as error:
        raise MismatchError("", "", message=str(error)) from None


@lru_cache(maxsize=2048)
def _rounded(text: str) -> str:
    canonical = _canonical(text)
    if canonical[-1:] not in ("n", "u"):
        return canonical
    thousandths = (quantity.parse(canonical) * 1000).to_integral_value(rounding=ROUND_CEILING)
    return _canonical(f"{int(thousandths)}m")
