"""The functions that expressions may call: overloads with their types for the checker, and how each is carried out.

An overload is chosen by the classes of the values; which one a call may have is the checker's business.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from skerry.apiserver.cel.errors import no_such_overload
from skerry.apiserver.cel.types import BOOL, BYTES, DOUBLE, DURATION, DYN, INT, NULL, STRING, TIMESTAMP, TYPE, UINT, A, B, Type
from skerry.apiserver.cel.values import Authorizer, Check, Decision, Format, Optional, Quantity, TypeValue, UInt, Url, Value

QUANTITY, URL, IP, CIDR, FORMAT = (
    Type(n) for n in ("kubernetes.Quantity", "kubernetes.URL", "net.IP", "net.CIDR", "kubernetes.NamedFormat")
)
AUTHORIZER, PATH_CHECK, GROUP_CHECK, RESOURCE_CHECK, DECISION = (
    Type(f"kubernetes.authorization.{n}") for n in ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")
)
Do = Callable[..., Value]
Cost = Callable[..., int]
_CLASSES: dict[str, tuple[type, ...]] = {
    INT.name: (int,), UINT.name: (UInt,), DOUBLE.name: (float,), STRING.name: (str,), BYTES.name: (bytes,), BOOL.name: (bool,),
    NULL.name: (type(None),), "list": (list,), "map": (dict,), TIMESTAMP.name: (datetime,), DURATION.name: (timedelta,),
    TYPE.name: (TypeValue,), "optional_type": (Optional,), QUANTITY.name: (Quantity,), URL.name: (Url,), FORMAT.name: (Format,),
    AUTHORIZER.name: (Authorizer,), PATH_CHECK.name: (Check,), GROUP_CHECK.name: (Check,), RESOURCE_CHECK.name: (Check,),
    DECISION.name: (Decision,), IP.name: (ipaddress.IPv4Address, ipaddress.IPv6Address),
    CIDR.name: (ipaddress.IPv4Interface, ipaddress.IPv6Interface),
}  # fmt: skip
_ANY = frozenset((DYN.name, A.name, B.name))


class Overload(msgspec.Struct, frozen=True):
    args: tuple[Type, ...]
    result: Type
    do: Do

    def takes(self, classes: tuple[type, ...]) -> bool:
        return all(a.name in _ANY or c in _CLASSES[a.name] for a, c in zip(self.args, classes, strict=True))


class Function(msgspec.Struct):
    """All overloads of one name, one arity, and one way to be called (`f(x)` or `x.f()`)."""

    name: str
    member: bool
    overloads: list[Overload] = msgspec.field(default_factory=list)
    cost: Cost | None = None
    _chosen: dict[tuple[type, ...], Do] = msgspec.field(default_factory=dict)

    def do(self, *values: Value) -> Value:
        """Call the overload for these values; raises EvaluationError when there is none."""
        classes = tuple(v.__class__ for v in values)
        do = self._chosen.get(classes)
        if do is None:
            do = self._chosen[classes] = next((o.do for o in self.overloads if o.takes(classes)), _none)
        return do(*values)


def _none(*values: Value) -> Value:
    raise no_such_overload()


_FUNCTIONS: dict[tuple[str, bool, int], Function] = {}
_LOADED: list[bool] = []


def define(name: str, args: tuple[Type, ...], result: Type, do: Do, *, member: bool = False, cost: Cost | None = None) -> None:
    """Add an overload; for a member function the first of *args* is what stands before the dot."""
    key = (name, member, len(args))
    function = _FUNCTIONS.get(key)
    if function is None:
        function = _FUNCTIONS[key] = Function(name, member)
    function.overloads.append(Overload(args, result, do))
    if cost is not None:
        function.cost = cost


def _load() -> None:
    """Fill the table when the first expression is compiled."""
    if _LOADED:
        return
    _LOADED.append(True)
    from skerry.apiserver.cel import (
        library_authz,
        library_kubernetes,
        library_lists,
        library_net,
        library_standard,
        library_strings,
    )

    for part in (library_standard, library_strings, library_lists, library_net, library_kubernetes, library_authz):
        part.add()


def find(name: str, *, member: bool, arity: int) -> Function:
    """Return a function that is known to be there."""
    _load()
    return _FUNCTIONS[name, member, arity]


def look_up(name: str, *, member: bool, arity: int) -> Function | None:
    _load()
    return _FUNCTIONS.get((name, member, arity))


def is_known(name: str) -> bool:
    """Say whether any function has this name, however it is called."""
    _load()
    return any(key[0] == name for key in _FUNCTIONS)


def length(value: Any) -> int:
    """Return the cost of going through a text or a list once: a tenth of a unit for each element."""
    return 1 + len(value) // 10
