"""The three patch forms as the fake API needs them: JSON (add, replace, remove, test), merge, and strategic for common lists."""

from __future__ import annotations

from typing import Any

from skerry.kube.api import PatchType
from skerry.model.errors import ApiError, bad_request

_MERGE_KEYS = {
    "conditions": "type",
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ownerReferences": "uid",
    "addresses": "type",
    "ports": "containerPort",
}


def apply_patch(target: Any, patch: Any, form: PatchType) -> Any:
    """Return *target* (which may be changed in place) with *patch* applied."""
    if form == "json":
        for step in patch:
            target = _json_step(target, step)
        return target
    return _merge(target, patch, strategic=form == "strategic")


def _merge(target: Any, patch: Any, *, strategic: bool) -> Any:
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif strategic and isinstance(value, list) and key == "finalizers":
            found[key] = [*found.get(key, []), *(v for v in value if v not in found.get(key, []))]
        elif strategic and isinstance(value, list) and key in _MERGE_KEYS:
            found[key] = _merge_list(found.get(key) or [], value, _MERGE_KEYS[key])
        else:
            found[key] = _merge(found.get(key), value, strategic=strategic)
    return found


def _merge_list(target: list[Any], patch: list[Any], key: str) -> list[Any]:
    found = {item[key]: item for item in target}
    for item in patch:
        if item.get("$patch") == "delete":
            found.pop(item[key], None)
        else:
            found[item[key]] = _merge(found.get(item[key]), item, strategic=True)
    return list(found.values())


def _json_step(target: Any, step: dict[str, Any]) -> Any:
    path = [p.replace("~1", "/").replace("~0", "~") for p in step["path"].split("/")[1:]]
    if not path:
        raise bad_request("the fake API does not patch a whole object")
    parent, last = target, path[-1]
    try:
        for part in path[:-1]:
            parent = parent[int(part)] if isinstance(parent, list) else parent[part]
        _OPS[step["op"]](parent, last, step)
    except (KeyError, IndexError, TypeError) as missing:
        raise _unprocessable() from missing
    return target


def _add(parent: Any, last: str, step: dict[str, Any]) -> None:
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else int(last), step["value"])
    else:
        parent[last] = step["value"]


def _replace(parent: Any, last: str, step: dict[str, Any]) -> None:
    key: Any = int(last) if isinstance(parent, list) else last
    _ = parent[key]
    parent[key] = step["value"]


def _remove(parent: Any, last: str, step: dict[str, Any]) -> None:
    del parent[int(last) if isinstance(parent, list) else last]


def _test(parent: Any, last: str, step: dict[str, Any]) -> None:
    if parent[int(last) if isinstance(parent, list) else last] != step["value"]:
        raise _unprocessable()


_OPS = {"add": _add, "replace": _replace, "remove": _remove, "test": _test}


def _unprocessable() -> ApiError:
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request")
