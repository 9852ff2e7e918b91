"""Sets of fields, in the very form in which `managedFields` has them (FieldsV1), and their algebra. Pure.

A set is a tree of maps: `{"f:spec": {"f:replicas": {}}}`. A node that is empty, or has the key ".", is a member; other keys lead
on: `f:name` a field, `k:{...}` the element of a list with these keys, `v:...` an element of a set, `i:0` an index. The root is
never a member. Trees are shared between objects: nobody alters one; every operation returns a new tree, or one it was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from skerry.model.unreadable import NOT_JSON

Fields = Mapping[str, Any]

SELF = "."
MEMBER: Fields = {}
"""The leaf that all trees share."""
NONE: Fields = {}
"""The empty set, as a root."""

MAX_DEPTH = 200
_encode = msgspec.json.Encoder(order="sorted").encode


class FieldsError(ValueError):
    """Not a set of fields."""


def is_member(node: Fields) -> bool:
    """Say whether a node stands for a member of the set."""
    return not node or SELF in node


def union(a: Fields, b: Fields) -> Fields:
    """Return the members of *a* and of *b*."""
    if not a:
        return b
    if not b or a is b:
        return a
    found = dict(a)
    for key, node in b.items():
        mine = found.get(key)
        found[key] = node if mine is None else _union(mine, node)
    return found


def _union(a: Fields, b: Fields) -> Fields:
    if a is b:
        return a
    if not a:
        return {SELF: MEMBER, **b} if b else a
    if not b:
        return a if SELF in a else {SELF: MEMBER, **a}
    found = dict(a)
    for key, node in b.items():
        mine = found.get(key)
        found[key] = node if mine is None else _union(mine, node)
    if SELF in found and next(iter(found)) != SELF:
        found = {SELF: MEMBER, **found}
    return found


def difference(a: Fields, b: Fields) -> Fields:
    """Return the members of *a* that are not in *b*; *a* itself when there is nothing to take away."""
    if not a or not b:
        return a
    found: dict[str, Any] | None = None
    for key, node in b.items():
        mine = a.get(key)
        if mine is None:
            continue
        left = _difference(mine, node)
        if left is not mine:
            found = dict(a) if found is None else found
            if left is None:
                del found[key]
            else:
                found[key] = left
    return a if found is None else found


def _difference(a: Fields, b: Fields) -> Fields | None:
    if not a:
        return None if is_member(b) else a
    if not b:  # only the node itself is taken away, not what is below it
        if SELF not in a:
            return a
        return {k: v for k, v in a.items() if k != SELF}
    left = difference(a, b)
    if left is a:
        return a
    if not left:
        return None
    return MEMBER if len(left) == 1 and SELF in left else left


def intersection(a: Fields, b: Fields) -> Fields:
    """Return the members that are in both."""
    found: dict[str, Any] = {}
    for key, node in a.items():
        other = b.get(key)
        if other is not None:
            both = _intersection(node, other)
            if both is not None:
                found[key] = both
    return found


def _intersection(a: Fields, b: Fields) -> Fields | None:
    member = is_member(a) and is_member(b)
    below = {k: v for k, v in intersection(a, b).items() if k != SELF}
    if below:
        return {SELF: MEMBER, **below} if member else below
    return MEMBER if member else None


def without(a: Fields, b: Fields) -> Fields:
    """Return *a* without the members of *b* and everything below them."""
    found: dict[str, Any] = {}
    for key, node in a.items():
        other = b.get(key)
        left = node if other is None else _without(node, other)
        if left is not None:
            found[key] = left
    return found


def _without(a: Fields, b: Fields) -> Fields | None:
    if is_member(b):
        return None
    if not a:
        return a
    left = without(a, b)
    if not left:
        return None
    return MEMBER if len(left) == 1 and SELF in left else left


def has(a: Fields, path: tuple[str, ...]) -> bool:
    """Say whether the field at *path* is a member."""
    for step in path:
        node = a.get(step)
        if node is None:
            return False
        a = node
    return bool(path) and is_member(a)


def covers(a: Fields, b: Fields) -> bool:
    """Say whether every member of *b* is one of *a*."""
    for key, node in b.items():
        mine = a.get(key)
        if mine is None or (mine is not node and not _covers(mine, node)):
            return False
    return True


def _covers(a: Fields, b: Fields) -> bool:
    if not b:
        return is_member(a)
    if SELF in b and not is_member(a):
        return False
    return all(k == SELF or (k in a and _covers(a[k], v)) for k, v in b.items())


def members(a: Fields, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the path of every member: those of one map before what is below them, as Kubernetes lists conflicts."""
    below = sorted((k for k in a if k != SELF), key=_order)
    for key in below:
        if is_member(a[key]):
            yield (*at, key)
    for key in below:
        if a[key]:
            yield from members(a[key], (*at, key))


def size(a: Fields) -> int:
    """Return how many members there are."""
    return sum((is_member(node) + size(node) if node else 1) for key, node in a.items() if key != SELF)


def from_paths(paths: Any) -> Fields:
    """Return the set that has the given paths as its members."""
    found: Fields = NONE
    for path in paths:
        node: Fields = MEMBER
        for step in reversed(path):
            node = {step: node}
        found = union(found, node)
    return found


def _order(key: str) -> tuple[int, Any]:
    return _KINDS.find(key[:1]), key


_KINDS = ".fkvi"


def shown(path: tuple[str, ...]) -> str:
    """Return a path as Kubernetes prints it: `.spec.ports[port=80,protocol="TCP"].name`."""
    return "".join(_step(step) for step in path)


def _step(step: str) -> str:
    kind, text = step[:2], step[2:]
    if kind == "f:":
        return "." + text
    if kind == "k:":
        return "[" + ",".join(f"{k}={_value(v)}" for k, v in sorted(msgspec.json.decode(text).items())) + "]"
    return f"[={_value(msgspec.json.decode(text))}]" if kind == "v:" else f"[{text}]"


def _value(value: Any) -> str:
    return _encode(value).decode()


def key_step(keys: Mapping[str, Any]) -> str:
    """Return the step to the element of a list of type map."""
    return "k:" + _encode(keys).decode()


def value_step(value: Any) -> str:
    """Return the step to an element of a set."""
    return "v:" + _encode(value).decode()


def read(tree: Any, depth: int = 0) -> Fields:
    """Return a set from somebody else's FieldsV1, in our spelling; FieldsError when it is none."""
    if tree.__class__ is not dict or depth > MAX_DEPTH:
        raise FieldsError("a set of fields is a map of maps")
    found: dict[str, Any] = {}
    for key, below in tree.items():
        step = key if key == SELF else _read_step(key)
        if step is not None:
            found[step] = read(below, depth + 1)
    if depth and len(found) == 1 and SELF in found:
        return MEMBER
    return found


def _read_step(key: str) -> str | None:
    """Return a step in our spelling; None for a kind of step that is not known, as Kubernetes ignores those."""
    kind, text = key[:2], key[2:]
    if kind == "f:":
        return key
    if key[1:2] != ":":
        raise FieldsError(f"{key[:64]!r} is no step to a field")
    try:
        if kind == "k:":
            keys = msgspec.json.decode(text)
            if keys.__class__ is not dict:
                raise FieldsError(f"{key[:64]!r} has no keys")
            return key_step(keys)
        if kind == "v:":
            return value_step(msgspec.json.decode(text))
        if kind == "i:":
            return f"i:{int(text)}"
    except (*NOT_JSON, ValueError) as error:
        raise FieldsError(f"{key[:64]!r} cannot be read: {error}") from None
    return None
