"""CEL values as Python has them, and what Python sees otherwise: equality, order, the range of integers, names of types.

int, float, str, bytes, bool, None, list, dict, datetime and timedelta stand for themselves; what Python lacks is here.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from skerry.apiserver.cel.errors import EvaluationError, no_such_overload

Value = Any


class UInt(int):
    """An unsigned integer, of 64 bits as the signed ones."""


class Optional(msgspec.Struct, frozen=True):
    """A value that may be absent."""

    present: bool
    value: Value = None


NOTHING = Optional(False)


class TypeValue(msgspec.Struct, frozen=True):
    """What `type(x)` gives."""

    name: str


class Quantity(msgspec.Struct, frozen=True):
    """A Kubernetes quantity; equal when the amounts are."""

    amount: Decimal
    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.amount == other.amount

    def __hash__(self) -> int:
        return hash(self.amount)


class Url(msgspec.Struct, frozen=True):
    """A URL in its parts, as Go's net/url has them."""

    text: str
    scheme: str
    host: str
    hostname: str
    port: str
    path: str
    query: tuple[tuple[str, tuple[str, ...]], ...]


class Format(msgspec.Struct, frozen=True):
    """One of the named string formats of Kubernetes."""

    name: str


Allowed = Callable[["Check", str], bool]


class Authorizer(msgspec.Struct, frozen=True):
    """Who may be asked about; `allowed` decides a check for a verb, `become` gives that of another user."""

    allowed: Allowed
    become: Callable[[str, tuple[str, ...]], Allowed]

    def acting_as(self, name: str, groups: tuple[str, ...]) -> Authorizer:
        return Authorizer(self.become(name, groups), self.become)


class Check(msgspec.Struct, frozen=True):
    """What is asked of an authorizer: a path, or a resource."""

    authorizer: Authorizer
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class Decision(msgspec.Struct, frozen=True):
    allowed: bool


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Interface | ipaddress.IPv6Interface
"""A CIDR may have bits set behind its prefix; `masked` drops them."""

_NAMES: dict[type, str] = {
    bool: "bool", int: "int", UInt: "uint", float: "double", str: "string", bytes: "bytes", type(None): "null_type", list: "list",
    dict: "map", datetime: "google.protobuf.Timestamp", timedelta: "google.protobuf.Duration", TypeValue: "type",
    Optional: "optional_type", Quantity: "kubernetes.Quantity", Url: "kubernetes.URL", Format: "kubernetes.NamedFormat",
    ipaddress.IPv4Address: "net.IP", ipaddress.IPv6Address: "net.IP", ipaddress.IPv4Interface: "net.CIDR",
    ipaddress.IPv6Interface: "net.CIDR",
}  # fmt: skip
_NUMBERS = (int, float, UInt)


def type_name(value: Value) -> str:
    """Return the name of the value's type; what a driver of ours invents is an object."""
    return _NAMES.get(value.__class__, "object")


def equal(left: Value, right: Value) -> bool:
    """CEL's ==: numbers of any type by amount, lists and maps by their parts, everything else within its type."""
    kind = left.__class__
    if kind is right.__class__:
        if kind is list:
            return len(left) == len(right) and all(equal(x, y) for x, y in zip(left, right, strict=True))
        if kind is dict:
            return len(left) == len(right) and all(k in right and equal(v, right[k]) for k, v in left.items())
        return bool(left == right)
    return kind in _NUMBERS and right.__class__ in _NUMBERS and bool(left == right)


def compare(left: Value, right: Value) -> int | None:
    """Return -1, 0 or 1; None when a NaN is compared; raises EvaluationError for what has no order."""
    kind, other = left.__class__, right.__class__
    if kind is not other and not (kind in _NUMBERS and other in _NUMBERS):
        raise no_such_overload()
    if kind in (list, dict, type(None), TypeValue, Optional, Url):
        raise no_such_overload()
    if left == right:
        return 0
    if (kind is float and math.isnan(left)) or (other is float and math.isnan(right)):
        return None
    return -1 if left < right else 1


def checked_int(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise EvaluationError("integer overflow")
    return value


def checked_uint(value: int) -> UInt:
    if not 0 <= value < 2**64:
        raise EvaluationError("unsigned integer overflow")
    return UInt(value)


def map_get(value: dict[Any, Any], key: Value) -> tuple[bool, Value]:
    """Look a key up as CEL compares keys: a bool is no number, and a whole double is an integer."""
    if key.__class__ not in (str, int, bool, UInt):
        if key.__class__ is not float or not key.is_integer():
            return False, None
        key = int(key)
    if key in value:
        if key.__class__ is str:
            return True, value[key]
        for k, v in value.items():
            if equal(k, key):
                return True, v
    return False, None
