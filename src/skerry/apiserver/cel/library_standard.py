"""The operators and conversions of the language itself. Source: cel-spec, doc/langdef.md (list of standard definitions)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from skerry.apiserver.cel.errors import EvaluationError
from skerry.apiserver.cel.functions import define, length
from skerry.apiserver.cel.times import MAX_DURATION, add_time, duration_text, parse_duration, parse_timestamp, timestamp_text, zone
from skerry.apiserver.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    A,
    B,
    list_of,
    map_of,
    optional_of,
)  # fmt: skip
from skerry.apiserver.cel.values import (
    NOTHING,
    Optional,
    TypeValue,
    UInt,
    Value,
    checked_int,
    checked_uint,
    compare,
    equal,
    map_get,
    type_name,
)  # fmt: skip

_LIST, _MAP = list_of(A), map_of(A, B)
_ORDERED = (BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION)
_NUMBERS = (INT, UINT, DOUBLE)


def add() -> None:
    _arithmetic()
    _comparisons()
    _conversions()
    _sizes()
    _times()
    _optionals()


def _arithmetic() -> None:
    for kind, checked in ((INT, checked_int), (UINT, checked_uint)):
        for name, do in (("_+_", operator.add), ("_-_", operator.sub), ("_*_", operator.mul)):
            define(name, (kind, kind), kind, _checked(do, checked))
        define("_/_", (kind, kind), kind, _checked(_quotient, checked))
        define("_%_", (kind, kind), kind, _checked(_remainder, checked))
    for name, do in (("_+_", operator.add), ("_-_", operator.sub), ("_*_", operator.mul)):
        define(name, (DOUBLE, DOUBLE), DOUBLE, do)
    define("_/_", (DOUBLE, DOUBLE), DOUBLE, _ratio)
    define("-_", (INT,), INT, lambda x: checked_int(-x))
    define("-_", (DOUBLE,), DOUBLE, operator.neg)
    define("!_", (BOOL,), BOOL, operator.not_)
    joined = lambda x, y: 1 + (len(x) + len(y)) // 10 if hasattr(x, "__len__") and hasattr(y, "__len__") else 1  # noqa: E731
    define("_+_", (STRING, STRING), STRING, operator.add, cost=joined)
    define("_+_", (BYTES, BYTES), BYTES, operator.add)
    define("_+_", (_LIST, _LIST), _LIST, operator.add)
    define("_+_", (TIMESTAMP, DURATION), TIMESTAMP, add_time)
    define("_+_", (DURATION, TIMESTAMP), TIMESTAMP, lambda d, t: add_time(t, d))
    define("_+_", (DURATION, DURATION), DURATION, lambda x, y: _in_range(x + y))
    define("_-_", (DURATION, DURATION), DURATION, lambda x, y: _in_range(x - y))
    define("_-_", (TIMESTAMP, DURATION), TIMESTAMP, lambda t, d: add_time(t, -d))
    define("_-_", (TIMESTAMP, TIMESTAMP), DURATION, operator.sub)


def _in_range(value: timedelta) -> timedelta:
    if abs(value) > MAX_DURATION:
        raise EvaluationError("duration out of range")
    return value


def _checked(do: Callable[[int, int], int], checked: Callable[[int], int]) -> Callable[[int, int], int]:
    return lambda x, y: checked(do(int(x), int(y)))


def _quotient(x: int, y: int) -> int:
    if y == 0:
        raise EvaluationError("division by zero")
    found = abs(x) // abs(y)
    return found if (x < 0) == (y < 0) else -found


def _remainder(x: int, y: int) -> int:
    if y == 0:
        raise EvaluationError("modulus by zero")
    if y == -1 and x == -(2**63):
        raise EvaluationError("integer overflow")
    found = abs(x) % abs(y)
    return found if x >= 0 else -found


def _ratio(x: float, y: float) -> float:
    if y:
        return x / y
    if x == 0 or math.isnan(x):
        return math.nan
    return math.copysign(math.inf, x) * math.copysign(1.0, y)


def _comparisons() -> None:
    tests: dict[str, Callable[[int], bool]] = {
        "_<_": lambda c: c < 0,
        "_<=_": lambda c: c <= 0,
        "_>_": lambda c: c > 0,
        "_>=_": lambda c: c >= 0,
    }
    for name, test in tests.items():
        for kind in _ORDERED:
            define(name, (kind, kind), BOOL, _compared(test), cost=_shorter)
        for left in _NUMBERS:
            for right in _NUMBERS:
                if left != right:
                    define(name, (left, right), BOOL, _compared(test))
    define("@in", (A, list_of(A)), BOOL, lambda x, found: any(equal(x, e) for e in found), cost=lambda x, found: 1 + len(found))
    define("@in", (A, map_of(A, B)), BOOL, lambda x, found: map_get(found, x)[0])


def _shorter(x: Value, y: Value) -> int:
    return 1 + min(len(x), len(y)) // 10 if x.__class__ is str and y.__class__ is str else 1


def _compared(test: Callable[[int], bool]) -> Callable[[Value, Value], bool]:
    def do(x: Value, y: Value) -> bool:
        order = compare(x, y)
        return order is not None and test(order)

    return do


def _sizes() -> None:
    for kind in (STRING, BYTES, _LIST, _MAP):
        define("size", (kind,), INT, len)
        define("size", (kind,), INT, len, member=True)


def _conversions() -> None:
    define("dyn", (A,), DYN, lambda x: x)
    define("type", (A,), TYPE, lambda x: TypeValue(type_name(x)))
    for name, kind, do in (("int", INT, _to_int), ("uint", UINT, _to_uint), ("double", DOUBLE, _to_double)):
        sources = [INT, UINT, DOUBLE, STRING, *((TIMESTAMP, DURATION) if name == "int" else ())]
        for source in sources:
            define(name, (source,), kind, do)
    for source in (INT, UINT, DOUBLE, BOOL, STRING, BYTES, TIMESTAMP, DURATION):
        define("string", (source,), STRING, to_string, cost=lambda x: length(x) if x.__class__ in (str, bytes) else 1)
    define("bytes", (STRING,), BYTES, str.encode, cost=length)
    define("bytes", (BYTES,), BYTES, lambda x: x)
    define("bool", (BOOL,), BOOL, lambda x: x)
    define("bool", (STRING,), BOOL, _to_bool)
    define("timestamp", (STRING,), TIMESTAMP, parse_timestamp)
    define("timestamp", (TIMESTAMP,), TIMESTAMP, lambda x: x)
    define("timestamp", (INT,), TIMESTAMP, _from_unix)
    define("duration", (STRING,), DURATION, parse_duration)
    define("duration", (DURATION,), DURATION, lambda x: x)


def _from_unix(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise EvaluationError("timestamp overflow") from None


def _to_int(value: Any) -> int:
    if value.__class__ is float:
        if math.isnan(value) or not -(2.0**63) < value < 2.0**63:
            raise EvaluationError("integer overflow")
        return int(value)
    if value.__class__ is str:
        return checked_int(_number(value, int, "ParseInt"))
    if value.__class__ is datetime:
        return math.floor(value.timestamp())
    if value.__class__ is timedelta:
        return (value.days * 86_400 + value.seconds) * 1_000_000_000 + value.microseconds * 1000
    return checked_int(int(value))


def _to_uint(value: Any) -> UInt:
    if value.__class__ is float:
        if math.isnan(value) or not 0 <= value < 2.0**64:
            raise EvaluationError("unsigned integer overflow")
        return UInt(int(value))
    return checked_uint(_number(value, int, "ParseUint") if value.__class__ is str else int(value))


def _to_double(value: Any) -> float:
    return _number(value, float, "ParseFloat") if value.__class__ is str else float(value)


def _number(text: str, kind: Callable[[str], Any], parser: str) -> Any:
    try:
        if "_" in text or text.strip() != text or len(text) > 400:
            raise ValueError
        return kind(text)
    except ValueError:
        raise EvaluationError(f'strconv.{parser}: parsing "{text[:64]}": invalid syntax') from None


def _to_bool(text: str) -> bool:
    if text in ("true", "True", "TRUE", "t", "1"):
        return True
    if text in ("false", "False", "FALSE", "f", "0"):
        return False
    raise EvaluationError(f'strconv.ParseBool: parsing "{text[:64]}": invalid syntax')


def to_string(value: Any) -> str:
    """Return what `string(x)` gives."""
    if value.__class__ is str:
        return str(value)
    if value.__class__ is bool:
        return "true" if value else "false"
    if value.__class__ is float:
        return _double_text(value)
    if value.__class__ is bytes:
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if value.__class__ is datetime:
        return timestamp_text(value)
    if value.__class__ is timedelta:
        return duration_text(value)
    return str(int(value))


def _double_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def _times() -> None:
    parts: dict[str, Callable[[datetime], int]] = {
        "getFullYear": lambda t: t.year,
        "getMonth": lambda t: t.month - 1,
        "getDate": lambda t: t.day,
        "getDayOfMonth": lambda t: t.day - 1,
        "getDayOfWeek": lambda t: t.isoweekday() % 7,
        "getDayOfYear": lambda t: t.timetuple().tm_yday - 1,
        "getHours": lambda t: t.hour,
        "getMinutes": lambda t: t.minute,
        "getSeconds": lambda t: t.second,
        "getMilliseconds": lambda t: t.microsecond // 1000,
    }
    for name, part in parts.items():
        define(name, (TIMESTAMP,), INT, part, member=True)
        define(name, (TIMESTAMP, STRING), INT, _in_zone(part), member=True)
    units = {"getHours": 3600, "getMinutes": 60, "getSeconds": 1}
    for name, seconds in units.items():
        define(name, (DURATION,), INT, _whole(seconds), member=True)
    define("getMilliseconds", (DURATION,), INT, lambda d: abs(d) // timedelta(milliseconds=1) % 1000, member=True)


def _in_zone(part: Callable[[datetime], int]) -> Callable[[datetime, str], int]:
    return lambda t, name: part(t.astimezone(zone(name)))


def _whole(seconds: int) -> Callable[[timedelta], int]:
    return lambda d: int(d.total_seconds() / seconds)


def _optionals() -> None:
    inner = optional_of(A)
    define("optional.of", (A,), inner, lambda x: Optional(True, x))
    define("optional.none", (), inner, lambda: NOTHING)
    define("optional.ofNonZeroValue", (A,), inner, lambda x: NOTHING if _is_zero(x) else Optional(True, x))
    define("hasValue", (inner,), BOOL, lambda x: x.present, member=True)
    define("value", (inner,), A, _value, member=True)


def _is_zero(value: Any) -> bool:
    if value.__class__ is timedelta:
        return not value
    return value is None or (value.__class__ in (bool, int, UInt, float, str, bytes, list, dict) and not value)


def _value(value: Optional) -> Value:
    if not value.present:
        raise EvaluationError("optional.none() dereference")
    return value.value
