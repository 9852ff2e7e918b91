"""How expressions are computed: closures over values, total and bounded. CEL's answers; Python's where they are the same.

What must stay true: nothing here raises for any values that may come in; what cannot be computed is a `Failure`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

Kind = Literal["double", "int", "bool", "string"]
Value = float | int | bool | str

MAX_STRING = 65_536
INT_MIN, INT_MAX = -(2**63), 2**63 - 1


class Failure(msgspec.Struct, frozen=True):
    """What stands for a value that cannot be computed."""

    why: str


Result = Value | Failure
Run = Callable[[Mapping[str, Value]], Result]


def variable(name: str, kind: Kind) -> Run:
    def run(values: Mapping[str, Value]) -> Result:
        value = values.get(name)
        if value is None:
            return Failure(f"{name} has no value")
        if kind == "double" and type(value) is int and abs(value) <= 2**53:
            return float(value)
        if type(value) is not _PYTHON[kind] or (kind == "int" and not INT_MIN <= value <= INT_MAX):  # type: ignore[operator]
            return Failure(f"{name} is not a {kind}")
        return value

    return run


def single(operand: Run, work: Callable[[Value], Result]) -> Run:
    def run(values: Mapping[str, Value]) -> Result:
        value = operand(values)
        return value if isinstance(value, Failure) else work(value)

    return run


def binary(left: Run, right: Run, work: Callable[..., Result]) -> Run:
    def run(values: Mapping[str, Value]) -> Result:
        a = left(values)
        if isinstance(a, Failure):
            return a
        b = right(values)
        return b if isinstance(b, Failure) else work(a, b)

    return run


def logic(left: Run, right: Run, *, stop: bool) -> Run:
    """`&&` and `||` are commutative in CEL: a side that decides hides the failure of the other."""

    def run(values: Mapping[str, Value]) -> Result:
        a = left(values)
        if a is stop:
            return stop
        b = right(values)
        if b is stop:
            return stop
        return a if isinstance(a, Failure) else b

    return run


def choice(condition: Run, then: Run, other: Run) -> Run:
    def run(values: Mapping[str, Value]) -> Result:
        value = condition(values)
        if isinstance(value, Failure):
            return value
        return then(values) if value else other(values)

    return run


def contained(operand: Run, items: list[Run]) -> Run:
    def run(values: Mapping[str, Value]) -> Result:
        found = [item(values) for item in [operand, *items]]
        failed = next((f for f in found if isinstance(f, Failure)), None)
        return failed if failed is not None else any(COMPARE["=="](found[0], f) for f in found[1:])

    return run


def counted(items: list[Run]) -> Run:
    def run(values: Mapping[str, Value]) -> Result:
        failed = next((f for f in (item(values) for item in items) if isinstance(f, Failure)), None)
        return failed if failed is not None else len(items)

    return run


def _same(value: Value, other: Value) -> Any:
    """An int that is compared with a double becomes one, rounded: so does the engine, and so CEL is used everywhere."""
    return float(value) if type(value) is int and type(other) is float else value


def bounded(value: float) -> Result:
    if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        return Failure("integer overflow")
    return value


def _divide_int(a: int, b: int) -> Result:
    if b == 0:
        return Failure("division by zero")
    quotient = abs(a) // abs(b)
    return bounded(quotient if (a < 0) == (b < 0) else -quotient)


def _modulo_int(a: int, b: int) -> Result:
    if b == 0:
        return Failure("modulus by zero")
    if a == INT_MIN and b == -1:
        return Failure("integer overflow")
    rest = abs(a) % abs(b)
    return -rest if a < 0 else rest


def _divide_double(a: float, b: float) -> Result:
    if b:
        return a / b
    if a == 0 or math.isnan(a) or math.isnan(b):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _concatenate(a: str, b: str) -> Result:
    return a + b if len(a) + len(b) <= MAX_STRING else Failure(f"a string longer than {MAX_STRING} characters")


_PYTHON: dict[str, type] = {"double": float, "int": int, "bool": bool, "string": str}
METHODS: dict[str, Callable[..., Result]] = {
    "startsWith": lambda a, b: a.startswith(b),
    "endsWith": lambda a, b: a.endswith(b),
    "contains": lambda a, b: b in a,
}
COMPARE: dict[str, Callable[..., Result]] = {
    "<": lambda a, b: _same(a, b) < _same(b, a),
    "<=": lambda a, b: _same(a, b) <= _same(b, a),
    ">": lambda a, b: _same(a, b) > _same(b, a),
    ">=": lambda a, b: _same(a, b) >= _same(b, a),
    "==": lambda a, b: _same(a, b) == _same(b, a),
    "!=": lambda a, b: _same(a, b) != _same(b, a),
}
ARITHMETIC: dict[tuple[str, str], Callable[..., Result]] = {
    ("+", "int"): lambda a, b: bounded(a + b),
    ("-", "int"): lambda a, b: bounded(a - b),
    ("*", "int"): lambda a, b: bounded(a * b),
    ("/", "int"): _divide_int,
    ("%", "int"): _modulo_int,
    ("+", "double"): lambda a, b: a + b,
    ("-", "double"): lambda a, b: a - b,
    ("*", "double"): lambda a, b: a * b,
    ("/", "double"): _divide_double,
    ("+", "string"): _concatenate,
}
