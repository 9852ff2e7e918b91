"""Walks of typed values: which fields an object has, what differs between two, and an object without some fields. Pure.

`compare` is the hot one: every write asks it what it changed. What is equal is found equal in C and not entered.
"""

from __future__ import annotations

from typing import Any

from skerry.apiserver.patch.fields import MEMBER, NONE, SELF, Fields, union
from skerry.apiserver.patch.types import NoKeyError, Type

UNTRACKED = frozenset(
    ("name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion")
)
"""Fields of metadata that nobody owns."""

ABSENT: Any = object()
Differences = tuple["Fields | None", "Fields | None"]
"""What was added or modified, and what was removed; None for nothing."""

_NOTHING: Differences = (None, None)


def compare_objects(type_: Type, old: Any, new: Any) -> tuple[Fields, Fields]:
    """Return the fields of *new* that *old* has not, or has otherwise, and those that only *old* has.

    Of apiVersion, kind and the metadata that the server owns nothing is said.
    """
    changed: dict[str, Any] = {}
    removed: dict[str, Any] = {}
    keys = new if old.keys() <= new.keys() else (*new, *(k for k in old if k not in new))
    for key in keys:
        if key == "apiVersion" or key == "kind":
            continue
        below = type_.field(key)
        before, after = old.get(key, ABSENT), new.get(key, ABSENT)
        if key == "metadata":
            if _same_tracked(before, after):
                continue
            before, after = _tracked(before), _tracked(after)
        if below is None or (before == after and after is not ABSENT and before is not ABSENT):
            continue
        added, gone = compare(below, before, after)
        if added is not None:
            changed["f:" + key] = added
        if gone is not None:
            removed["f:" + key] = gone
    return changed, removed


def _same_tracked(old: Any, new: Any) -> bool:
    """Say whether two metadata differ in nothing that could be owned; makes nothing, since most writes change none of it."""
    if old.__class__ is not dict or new.__class__ is not dict:
        return False
    for key, value in new.items():
        if key not in UNTRACKED and (key not in old or old[key] != value):
            return False
    return all(key in new or key in UNTRACKED for key in old)


def _tracked(meta: Any) -> Any:
    if meta.__class__ is not dict:
        return {}
    return {k: v for k, v in meta.items() if k not in UNTRACKED}


def compare(type_: Type, old: Any, new: Any) -> Differences:
    """Return how two values of one type differ; either may be ABSENT, not both."""
    if new is ABSENT:
        return None, all_fields(type_, old)
    if old is ABSENT:
        return all_fields(type_, new), None
    if old == new and old.__class__ is new.__class__:
        return _NOTHING
    before, after = type_.kind_of(old), type_.kind_of(new)
    if before != after:
        if old is None or new is None:
            before = after = before if new is None else after
        else:
            gone = all_fields(type_, old)
            below = {k: v for k, v in gone.items() if k != SELF}
            return MEMBER if after == "scalar" else all_fields(type_, new), below or None
    if after == "map" and not type_.atomic_map and (old or new):
        return _compare_maps(type_, old or {}, new or {})
    if after == "list" and type_.list_kind != "atomic" and (old or new):
        return _compare_lists(type_, old or [], new or [])
    return (MEMBER, None) if old != new or old.__class__ is not new.__class__ else _NOTHING


def _compare_maps(type_: Type, old: dict[str, Any], new: dict[str, Any]) -> Differences:
    changed: dict[str, Any] = {}
    removed: dict[str, Any] = {}
    others = type_.values
    for key, value in new.items():
        before = old.get(key, ABSENT)
        if before is value or (before == value and before.__class__ is value.__class__):
            continue
        below = type_.field(key) if type_.names(key) else others
        if below is None:
            continue
        plain = below.plain
        if value.__class__ in plain and (before is ABSENT or before.__class__ in plain):
            changed["f:" + key] = MEMBER
            continue
        added, gone = compare(below, before, value)
        if added is not None:
            changed["f:" + key] = added
        if gone is not None:
            removed["f:" + key] = gone
    for key, value in old.items():
        if key not in new:
            below = type_.field(key) if type_.names(key) else others
            if below is not None:
                removed["f:" + key] = MEMBER if value.__class__ in below.plain else all_fields(below, value)
    return changed or None, removed or None


def _compare_lists(type_: Type, old: list[Any], new: list[Any]) -> Differences:
    if not old:
        return {k: v for k, v in _all_elements(type_, new).items() if k != SELF} or None, None
    before, after = _by_step(type_, old), _by_step(type_, new)
    element = type_.values
    assert element is not None
    changed: dict[str, Any] = {}
    removed: dict[str, Any] = {}
    for step in (*after, *(s for s in before if s not in after)):
        mine, theirs = before.get(step, ()), after.get(step, ())
        added: Fields | None
        gone: Fields | None
        if len(mine) <= 1 and len(theirs) <= 1:
            added, gone = compare(element, mine[0] if mine else ABSENT, theirs[0] if theirs else ABSENT)
        elif len(mine) > 1 and len(theirs) > 1:  # duplicates that were stored before this was checked are one value
            added, gone = (MEMBER if mine != theirs else None), None
        elif len(mine) > 1:
            added, gone = (all_fields(element, theirs[0]) if theirs else None), MEMBER
        else:
            added, gone = MEMBER, (all_fields(element, mine[0]) if mine else None)
        if added is not None:
            changed[step] = added
        if gone is not None:
            removed[step] = gone
    return changed or None, removed or None


def _by_step(type_: Type, elements: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for element in elements:
        try:
            step = type_.step(element)
        except NoKeyError:
            continue  # it has no identity, so nobody can own it
        found.setdefault(step, []).append(element)
    return found


def all_fields(type_: Type, value: Any) -> Fields:
    """Return the node of a value that is new (or gone) as a whole: it is a member, and so is all that is below."""
    if value.__class__ is dict:
        if not value or not type_.is_map or type_.atomic_map:
            return MEMBER
        found: dict[str, Any] = {SELF: MEMBER}
        for key, inner in value.items():
            if inner.__class__ is dict or inner.__class__ is list:
                below = type_.field(key)
                if below is not None:
                    found["f:" + key] = all_fields(below, inner)
            else:
                found["f:" + key] = MEMBER  # a plain value was pruned if its field is not known
        return found if len(found) > 1 else MEMBER
    if value.__class__ is list:
        if not value or type_.list_kind == "atomic" or not type_.list_kind:
            return MEMBER
        return _all_elements(type_, value)
    return MEMBER


def _all_elements(type_: Type, value: list[Any]) -> Fields:
    element = type_.values
    assert element is not None
    found: dict[str, Any] = {SELF: MEMBER}
    for inner in value:
        try:
            step = type_.step(inner)
        except NoKeyError:
            continue
        found[step] = MEMBER if step in found else all_fields(element, inner)  # what stands twice is owned as a whole
    return found if len(found) > 1 else MEMBER


def field_set(type_: Type, value: Any) -> Fields:
    """Return the fields that an applied configuration names: leaves, elements, and keys that the schema does not name."""
    node = _named_fields(type_, value)
    return NONE if node is None else node


def _named_fields(type_: Type, value: Any) -> Fields | None:
    """Return the node below a value; MEMBER for a leaf, None when nothing below it is a member."""
    kind = type_.kind_of(value)
    if kind == "map":
        return _of_map(type_, value)
    if kind == "list":
        return _of_list(type_, value)
    return MEMBER


def _of_map(type_: Type, value: Any) -> Fields | None:
    if type_.atomic_map:
        return MEMBER
    found: dict[str, Any] = {}
    others = type_.values
    for key, inner in (value or {}).items():
        below = type_.field(key) if type_.names(key) else others
        if below is None:
            continue
        if inner.__class__ in below.plain:
            found["f:" + key] = MEMBER
            continue
        node = _named_fields(below, inner)
        if inner is None or inner == {} or not type_.names(key):
            node = _with_self(node)
        if node is not None:
            found["f:" + key] = node
    return found or None


def _of_list(type_: Type, value: Any) -> Fields | None:
    if type_.list_kind == "atomic":
        return MEMBER
    element = type_.values
    assert element is not None
    found: dict[str, Any] = {}
    for step, same in _by_step(type_, value or []).items():
        found[step] = MEMBER if len(same) > 1 or same[0].__class__ in element.plain else _with_self(_named_fields(element, same[0]))
    return found or None


def _with_self(node: Fields | None) -> Fields:
    if not node or SELF in node:
        return node or MEMBER
    return {SELF: MEMBER, **node}


def with_named(type_: Type | None, fields: Fields) -> Fields:
    """Return *fields* with the structs' own fields as members wherever something below them is one; itself where nothing is to be added."""
    found: dict[str, Any] | None = None
    for key, given in fields.items():
        node, below = given, None
        if type_ is not None and key != SELF:
            below = type_.field(key[2:]) if key[:2] == "f:" else type_.values
        if node:
            node = with_named(below, node)
            if key[:2] == "f:" and type_ is not None and type_.names(key[2:]):
                node = _with_self(node)
        if node is not given:
            found = dict(fields) if found is None else found
            found[key] = node
    return fields if found is None else found


def remove(type_: Type, value: Any, fields: Fields) -> Any:
    """Return *value* without the fields of a set (and what is below each); None when nothing is left of it."""
    kind = type_.kind_of(value)
    if kind == "map" and value.__class__ is dict:
        return _remove_from_map(type_, value, fields)
    if kind == "list" and value.__class__ is list:
        return _remove_from_list(type_, value, fields)
    return value


def _remove_from_map(type_: Type, value: dict[str, Any], fields: Fields) -> Any:
    if type_.atomic_map or not value:
        return None
    found = {}
    for key, inner in value.items():
        node = fields.get("f:" + key)
        if node is None:
            found[key] = inner
        elif node and SELF not in node:
            below = type_.field(key)
            found[key] = inner if below is None else remove(below, inner, node)
    return found or None


def _remove_from_list(type_: Type, value: list[Any], fields: Fields) -> Any:
    if type_.list_kind == "atomic" or not value:
        return None
    element = type_.values
    assert element is not None
    found = []
    for inner in value:
        try:
            node = fields.get(type_.step(inner))
        except NoKeyError:
            node = None
        if node is None:
            found.append(inner)
        elif node and SELF not in node:
            found.append(remove(element, inner, node))
    return found or None


def everything(*sets: Fields) -> Fields:
    """Return the union of sets."""
    found: Fields = NONE
    for fields in sets:
        found = union(found, fields)
    return found
