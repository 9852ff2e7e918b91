"""The types of CEL, as the checker knows them. A record has named fields; everything else is a name with parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Type:
    """`fields` is set for records only, and for the comparison only the name counts there."""

    name: str
    params: tuple[Type, ...] = ()
    fields: Mapping[str, Type] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.params))})" if self.params else self.name


BOOL, INT, UINT, DOUBLE, STRING, BYTES = (Type(n) for n in ("bool", "int", "uint", "double", "string", "bytes"))
NULL, DYN, TYPE = Type("null"), Type("dyn"), Type("type")
DURATION, TIMESTAMP = Type("google.protobuf.Duration"), Type("google.protobuf.Timestamp")
A, B = Type("A"), Type("B")
"""Type parameters of the standard functions."""
_NULLABLE = frozenset((DURATION.name, TIMESTAMP.name, NULL.name, "optional_type"))


def list_of(element: Type) -> Type:
    return Type("list", (element,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", (key, value))


def optional_of(inner: Type) -> Type:
    return Type("optional_type", (inner,))


def record(name: str, fields: Mapping[str, Type]) -> Type:
    return Type(name, (), fields)


Bindings = dict[str, Type]


def assign(wanted: Type, given: Type, bound: Bindings) -> bool:
    """Say whether a value of *given* may stand where *wanted* is; parameters of *wanted* are bound on the way."""
    if wanted is given:
        return True
    if wanted is A or wanted is B:
        there = bound.get(wanted.name)
        if there is None or there == DYN:
            bound[wanted.name] = given
            return True
        if given == DYN:
            return True
        if assign(there, given, bound):
            return True
        if assign(given, there, bound):
            bound[wanted.name] = given
            return True
        return False
    if wanted.name == "dyn" or given.name == "dyn" or (wanted.name == given.name and wanted.params == given.params):
        return True
    if given is NULL:
        return wanted.fields is not None or wanted.name in _NULLABLE
    if wanted is NULL:
        return given.fields is not None
    if wanted.name != given.name or len(wanted.params) != len(given.params):
        return False
    return all(assign(w, g, bound) for w, g in zip(wanted.params, given.params, strict=True))


def resolve(type_: Type, bound: Bindings) -> Type:
    """Return *type_* with its parameters replaced by what they were bound to."""
    if type_ is A or type_ is B:
        return bound.get(type_.name, DYN)
    if not type_.params:
        return type_
    return Type(type_.name, tuple(resolve(p, bound) for p in type_.params), type_.fields)


def join(left: Type, right: Type) -> Type | None:
    """Return the type that both branches have, dyn where one of them is; None when they do not go together."""
    if left == DYN or right == DYN:
        return DYN
    if assign(left, right, {}):
        return right if left == NULL else left
    return right if assign(right, left, {}) else None
