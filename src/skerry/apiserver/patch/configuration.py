"""Applied configurations: whether one fits its type, and what an object becomes when it is merged in. Pure.

Words and order are those of structured-merge-diff 4.4, which kube-apiserver 1.32 uses: a configuration is complete in the lists
it names (no element twice), says nothing by a null about what is there, and puts elements in the order it has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skerry.apiserver.patch.fields import shown
from skerry.apiserver.patch.types import NoKeyError, Type
from skerry.apiserver.patch.walk import ABSENT

MAX_ERRORS = 20


def errors(type_: Type, value: Any, at: str = "") -> list[str]:
    """Return what does not fit, as `.spec.x: why`; at most a handful."""
    found: list[str] = []
    for error in _errors(type_, value, at):
        found.append(error)
        if len(found) == MAX_ERRORS:
            break
    return found


def _errors(type_: Type, value: Any, at: str) -> Iterator[str]:
    if value is None:
        return
    kind = type_.kind_of(value)
    if kind == "scalar":
        why = _scalar_error(type_.scalar, value)
        if why:
            yield _said(at, why)
    elif kind == "list":
        yield from _list_errors(type_, value, at)
    else:
        yield from _map_errors(type_, value, at)


def _map_errors(type_: Type, value: Any, at: str) -> Iterator[str]:
    if value.__class__ is not dict:
        yield _said(at, f"expected map, got &{{{_go(value)}}}")
        return
    others = type_.values
    for key, inner in value.items():
        below = type_.field(key) if type_.names(key) else others
        if below is None:
            yield f"{at}.{key}: field not declared in schema"
            return
        if inner.__class__ not in below.plain:
            yield from _errors(below, inner, f"{at}.{key}")


def _list_errors(type_: Type, value: Any, at: str) -> Iterator[str]:
    if value.__class__ is not list:
        yield _said(at, f"expected list, got &{{{_go(value)}}}")
        return
    element = type_.values
    assert element is not None
    seen = set()
    plain = element.plain
    for i, inner in enumerate(value):
        step = f"i:{i}"
        if type_.list_kind != "atomic":
            try:
                step = type_.step(inner)
            except NoKeyError as error:
                yield _said(at, f"element {i}: {error}")
                return
            if step in seen:
                yield _said(at, f"duplicate entries for key {shown((step,))}")
            seen.add(step)
        if inner.__class__ not in plain:
            yield from _errors(element, inner, at + shown((step,)))


def _said(at: str, why: str) -> str:
    return f"{at}: {why}" if at else why


def _scalar_error(scalar: str, value: Any) -> str:
    if scalar == "numeric" and (value.__class__ is not int and value.__class__ is not float):
        return f"expected numeric (int or float), got {_go_type(value)}"
    if scalar == "string" and value.__class__ is not str:
        return f"expected string, got &value.valueUnstructured{{Value:{_go_literal(value)}}}"
    if scalar == "boolean" and value.__class__ is not bool:
        return f"expected boolean, got &{{{_go(value)}}}"
    return ""


def _go_type(value: Any) -> str:
    return {str: "string", bool: "bool", dict: "map[string]interface {}", list: "[]interface {}"}.get(value.__class__, "interface {}")


def _go(value: Any) -> str:
    """Return a value as Go's %v prints it."""
    match value:
        case dict():
            return "map[" + " ".join(f"{k}:{_go(v)}" for k, v in sorted(value.items())) + "]"
        case list():
            return "[" + " ".join(map(_go, value)) + "]"
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
    return str(value)


def _go_literal(value: Any) -> str:
    """Return a value as Go's %#v prints it."""
    match value:
        case dict():
            return "map[string]interface {}{" + ", ".join(f'"{k}":{_go_literal(v)}' for k, v in sorted(value.items())) + "}"
        case list():
            return "[]interface {}{" + ", ".join(map(_go_literal, value)) + "}"
        case None:
            return "interface {}(nil)"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
    return str(value)


def merged(type_: Type, live: Any, config: Any) -> Any:
    """Return *live* with the configuration merged in; neither is changed, and the result may share their parts."""
    if config is ABSENT:
        return live
    if live is ABSENT or live is None:
        return config
    before, after = type_.kind_of(live), type_.kind_of(config)
    if config is None:
        return live if live and before != "scalar" and not _is_leaf(type_, before) else None
    if before != after or _is_leaf(type_, after) or not (live or config):
        return config
    if after == "map":
        return _merged_maps(type_, live, config)
    return _merged_lists(type_, live, config)


def _is_leaf(type_: Type, kind: str) -> bool:
    return kind == "scalar" or (type_.atomic_map if kind == "map" else type_.list_kind == "atomic")


def _merged_maps(type_: Type, live: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    found = dict(live)
    others = type_.values
    for key, value in config.items():
        below = type_.field(key) if type_.names(key) else others
        if below is None or value.__class__ in below.plain:
            found[key] = value
        else:
            found[key] = merged(below, live.get(key, ABSENT), value)
    return found


def _merged_lists(type_: Type, live: list[Any], config: list[Any]) -> list[Any]:
    element = type_.values
    assert element is not None
    left = [(_step(type_, v), v) for v in live]
    right = {type_.step(v): v for v in config}
    alone: dict[str, Any] = {}
    for step, value in left:
        alone[step] = ABSENT if step in alone else value  # what was stored twice is replaced as a whole
    found = []
    for step, value in _in_order(left, list(right)):
        if step not in right:
            found.append(value)
        elif right[step].__class__ in element.plain:
            found.append(right[step])
        else:
            found.append(merged(element, alone.get(step, ABSENT), right[step]))
    return found


def _step(type_: Type, value: Any) -> str:
    try:
        return type_.step(value)
    except NoKeyError:
        return ""


def _in_order(left: list[tuple[str, Any]], right: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the steps of both lists: those of *right* in its order, the others where they stood among their neighbours."""
    wanted = set(right)
    known = {step for step, _ in left}
    shared = [step for step in right if step in known]
    done: set[str] = set()
    i = j = k = 0
    while i < len(left) or j < len(right):
        if i < len(left):
            step, value = left[i]
            if step not in wanted:
                yield step, value
                i += 1
                continue
            if step in done:
                i += 1
                continue
            if j < len(right) and step != right[j] and k < len(shared) and shared[k] != step:
                i += 1  # another shared element comes first; this one follows in its turn
                continue
        if j < len(right):
            step = right[j]
            j += 1
            done.add(step)
            if k < len(shared) and shared[k] == step:
                k += 1
            yield step, None
