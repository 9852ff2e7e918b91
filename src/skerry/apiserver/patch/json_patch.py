"""JSON patch (RFC 6902), with the two liberties of the library behind kube-apiserver, measured on it.

`replace` of a missing member of an object adds it, and negative array indexes are not accepted. An operation that cannot be
done refuses the whole patch with the generic 422 that Kubernetes answers; `copy` works within a budget, since copying the
document into itself doubles it each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skerry.apiserver.patch.body import MAX_OPERATIONS
from skerry.apiserver.patch.copying import copied, same, weight
from skerry.apiserver.schema.codec import MAX_DEPTH, depth_exceeds
from skerry.model.errors import ApiError

MAX_COPIED = 400_000
"""How much all copies of one patch may weigh together (see `weight`); about what a body of 3 MiB can hold."""

MAX_MOVED = 100_000_000
"""How many elements of lists may move up or down for those that one patch inserts or removes before them: about 60 ms."""
MAX_STEPS = 400_000
"""How long all paths of one patch may be together: 40 steps for each of 10,000 operations, about 60 ms."""

_MISSING: Any = object()


def refused() -> ApiError:
    """Return the 422 that Kubernetes gives for an operation that cannot be done; it does not say which."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request")


def json_patch(document: Any, operations: Sequence[dict[str, Any]]) -> Any:
    """Return *document* after all *operations*; raises ApiError 422, or 413 beyond the limits."""
    if len(operations) > MAX_OPERATIONS:
        message = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise ApiError(413, "RequestEntityTooLarge", message)
    patched = _Patched(copied(document))
    for operation in operations:
        patched.apply(operation)
    if depth_exceeds(patched.document, MAX_DEPTH):
        raise refused()
    return patched.document


class _Patched:
    """A document while it is patched."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self._copied = self._moved = self._steps = 0

    def apply(self, operation: dict[str, Any]) -> None:
        path = self._pointer(operation.get("path"))
        match operation.get("op"):
            case "add":
                self._add(path, copied(_value(operation)))
            case "remove":
                self._take(path)
            case "replace":
                self._replace(path, copied(_value(operation)))
            case "test":
                if not same(self._get(path, missing=None), operation.get("value")):
                    raise refused()
            case "move":
                source = self._pointer(operation.get("from"))
                if path[: len(source)] == source and len(path) > len(source):
                    raise refused()
                self._add(path, self._take(source))
            case "copy":
                found = self._get(self._pointer(operation.get("from")))
                self._copied += weight(found)
                if self._copied > MAX_COPIED:
                    raise ApiError(413, "RequestEntityTooLarge", f"the copies of the JSON patch weigh more than {MAX_COPIED} values")
                self._add(path, copied(found))
            case _:
                raise refused()

    def _pointer(self, text: Any) -> list[str]:
        path = _pointer(text)
        self._steps += len(path)
        if self._steps > MAX_STEPS:
            raise ApiError(413, "RequestEntityTooLarge", f"the paths of the JSON patch have more than {MAX_STEPS} steps")
        return path

    def _move(self, count: int) -> None:
        self._moved += count
        if self._moved > MAX_MOVED:
            raise ApiError(413, "RequestEntityTooLarge", f"the JSON patch moves more than {MAX_MOVED} elements of lists")

    def _parent(self, path: list[str]) -> Any:
        found = self.document
        for step in path[:-1]:
            found = _child(found, step)
            if found is _MISSING:
                raise refused()
        return found

    def _get(self, path: list[str], missing: Any = _MISSING) -> Any:
        found = _child(self._parent(path), path[-1]) if path else self.document
        if found is _MISSING:
            if missing is _MISSING:
                raise refused()
            return missing
        return found

    def _add(self, path: list[str], value: Any) -> None:
        if not path:
            self.document = value
            return
        parent, last = self._parent(path), path[-1]
        if isinstance(parent, dict):
            parent[last] = value
        elif isinstance(parent, list):
            at = len(parent) if last == "-" else _index(last, len(parent))
            self._move(len(parent) - at)
            parent.insert(at, value)
        else:
            raise refused()

    def _replace(self, path: list[str], value: Any) -> None:
        if not path:
            self.document = value
            return
        parent, last = self._parent(path), path[-1]
        if isinstance(parent, dict):
            parent[last] = value
        elif isinstance(parent, list):
            parent[_index(last, len(parent) - 1)] = value
        else:
            raise refused()

    def _take(self, path: list[str]) -> Any:
        if not path:
            raise refused()
        parent, last = self._parent(path), path[-1]
        if isinstance(parent, dict) and last in parent:
            return parent.pop(last)
        if isinstance(parent, list):
            at = _index(last, len(parent) - 1)
            self._move(len(parent) - at)
            return parent.pop(at)
        raise refused()


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise refused()
    return operation["value"]


def _child(parent: Any, step: str) -> Any:
    if isinstance(parent, dict):
        return parent.get(step, _MISSING)
    if isinstance(parent, list):
        return parent[_index(step, len(parent) - 1)]
    return _MISSING


def _index(step: str, highest: int) -> int:
    if not (step.isascii() and step.isdigit()) or len(step) > 9 or (len(step) > 1 and step[0] == "0"):
        raise refused()
    index = int(step)
    if index > highest:
        raise refused()
    return index


def _pointer(text: Any) -> list[str]:
    """Return the steps of a JSON pointer; "" is the whole document."""
    if not isinstance(text, str) or (text and text[0] != "/"):
        raise refused()
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]
