"""Strategic merge patch: a merge patch that knows which lists merge by which key (k8s.io/apimachinery/pkg/util/strategicpatch).

Measured on kube-apiserver 1.32: without `$setElementOrder` the patch's own order counts and new elements land first; an element without its
merge key is 500 "does not contain declared merge key"; null deletes; lists that declare no strategy are replaced. Directives:
`$patch: replace|delete|merge` in maps and list elements, `$deleteFromPrimitiveList/<f>`, `$setElementOrder/<f>`, `$retainKeys`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from skerry.apiserver.patch.copying import copied
from skerry.apiserver.patch.ordering import hashable, in_order
from skerry.apiserver.schema.kind import KindSchema
from skerry.apiserver.schema.shape import Shape
from skerry.model.errors import ApiError, bad_request
from skerry.model.objects import Object

MAX_LIST = 20_000
"""Elements of one merging list, stored and patched together."""

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic(document: Object, patch: Object, schema: KindSchema) -> Object:
    """Return *document* with *patch* merged by the rules of *schema*; raises ApiError (400, and 500 where Kubernetes does)."""
    return _map(copied(document), patch, schema.shape)


def _failure(message: str) -> ApiError:
    return ApiError(500, "", message)


def _map(found: Object, patch: Object, shape: Shape | None) -> Object:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {k: copied(v) for k, v in patch.items() if k != _PATCH}
    if directive == "delete":
        return {}
    if directive is not None and directive != "merge":
        raise _failure(f"unknown patch type: {directive} in map: {_go_map(patch)}")
    if _RETAIN in patch:
        _retain(found, patch)
    for key, change in patch.items():
        if key[:1] == "$":
            _directive(found, patch, key, change, shape)
            continue
        if change is None:
            found.pop(key, None)
            continue
        below = shape.field(key) if shape is not None else None
        found[key] = _value(found.get(key), change, below, patch, key)
    return found


def _value(old: Any, change: Any, shape: Shape | None, patch: Object, key: str) -> Any:
    if isinstance(change, dict):
        if shape is not None and "replace" in shape.strategies:
            return _without_directives(change)
        if isinstance(old, dict):
            return _map(old, change, shape)
        if change.get(_PATCH) in ("replace", "delete"):
            return _map({}, change, shape)
        return _without_directives(change, shape)
    if isinstance(change, list):
        return _list(old, change, shape, patch, key)
    return change


def _directive(found: Object, patch: Object, key: str, change: Any, shape: Shape | None) -> None:
    """Carry out directives on lists that the patch does not contain themselves; those that it does are done with the list."""
    for prefix in (_DELETE, _ORDER):
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            if not isinstance(change, list):
                raise bad_request(f"{key} must be a list")
            if name not in patch and isinstance(found.get(name), list):
                below = shape.field(name) if shape is not None else None
                found[name] = _list(found[name], [], below, patch, name)
            return
    if key not in (_PATCH, _RETAIN):
        raise bad_request(f"unknown directive {key}")


def _retain(found: Object, patch: Object) -> None:
    keys = patch[_RETAIN]
    if not isinstance(keys, list):
        raise bad_request(f"{_RETAIN} must be a list")
    extra = [k for k, v in patch.items() if k[:1] != "$" and v is not None and k not in keys]
    if extra:
        raise bad_request(f"{_RETAIN} list doesn't contain all fields of the patch: {', '.join(extra)}")
    for key in [k for k in found if k not in keys]:
        del found[key]


def _list(old: Any, change: list[Any], shape: Shape | None, patch: Object, name: str) -> list[Any]:
    existing = old if isinstance(old, list) else []
    if len(existing) + len(change) > MAX_LIST:
        raise bad_request(f"list {name} has more than {MAX_LIST} elements")
    order = patch.get(_ORDER + name)
    if shape is None or "merge" not in shape.strategies:
        return [_without_directives(v) if isinstance(v, dict) else copied(v) for v in change]
    if shape.merge_key:
        return _objects(existing, change, shape, order)
    return _primitives(existing, change, patch.get(_DELETE + name) or [], order)


def _primitives(existing: list[Any], change: list[Any], removed: list[Any], order: Any) -> list[Any]:
    gone = set(map(hashable, removed))
    kept = [v for v in existing if hashable(v) not in gone]
    known = set(map(hashable, kept))
    new = list({hashable(v): v for v in change if hashable(v) not in known}.values())
    return in_order([*kept, *new], kept, change if order is None else order, lambda v: v, lambda v: v)


def _objects(existing: list[Any], change: list[Any], shape: Shape, order: Any) -> list[Any]:
    key = shape.merge_key
    directives = [v for v in change if isinstance(v, dict) and _PATCH in v]
    if any(v[_PATCH] == "replace" for v in directives):
        return [_without_directives(v, shape.element) for v in change if not (isinstance(v, dict) and v.get(_PATCH) == "replace")]
    doomed = {hashable(_key_of(v, key)) for v in directives if v[_PATCH] == "delete"}
    server = [v for v in existing if not (isinstance(v, dict) and hashable(v.get(key)) in doomed)]
    result = list(server)
    new: list[Any] = []
    where = _places(result, key)
    where_new: dict[Any, int] = {}
    for wanted in change:
        if isinstance(wanted, dict) and wanted.get(_PATCH) == "delete":
            continue
        value = hashable(_key_of(wanted, key))
        if isinstance(wanted.get(_PATCH), str) and wanted[_PATCH] != "merge":
            raise _failure(f"unknown patch type: {wanted[_PATCH]} in map: {_go_map(wanted)}")
        if value in where:
            result[where[value]] = _map(result[where[value]], wanted, shape.element)
        elif value in where_new:
            new[where_new[value]] = _map(new[where_new[value]], wanted, shape.element)
        else:
            where_new[value] = len(new)
            new.append(_without_directives(wanted, shape.element))
    if order is None:
        order = [v for v in change if v.get(_PATCH) != "delete"]
    return in_order([*new, *result], server, order, lambda v: v.get(key), lambda v: _key_of(v, key))


def _places(elements: list[Any], key: str) -> dict[Any, int]:
    """Return where each key stands first."""
    found: dict[Any, int] = {}
    for i, element in enumerate(elements):
        if isinstance(element, dict):
            found.setdefault(hashable(element.get(key)), i)
    return found


def _key_of(element: Any, key: str) -> Any:
    if not isinstance(element, dict):
        raise bad_request(f"a list that merges by {key} takes objects, not {msgspec.json.encode(element).decode()[:80]}")
    if key not in element:
        raise _failure(f"map: {_go_map(element)} does not contain declared merge key: {key}")
    return element[key]


def _without_directives(value: Any, shape: Shape | None = None) -> Any:
    """Return what a patch adds where nothing was: no nulls, no directives, no elements that it wants deleted."""
    if isinstance(value, dict):
        return {
            k: _without_directives(v, shape.field(k) if shape is not None else None)
            for k, v in value.items()
            if v is not None and not _is_directive(k)
        }
    if isinstance(value, list):
        element = shape.element if shape is not None else None
        return [_without_directives(v, element) for v in value if not (isinstance(v, dict) and v.get(_PATCH) in ("delete", "replace"))]
    return value


def _is_directive(key: str) -> bool:
    return key in (_PATCH, _RETAIN) or key.startswith((_DELETE, _ORDER))


def _go_map(value: Any) -> str:
    """Return a value as Go prints it: `map[image:q name:c]`."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{_go_map(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(_go_map, value)) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
