"""Everything that can be asked, as a list: what the access matrix is tested with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from skerry.apiserver.http.resources import CONNECT
from skerry.apiserver.http.routes import Access, Route
from skerry.apiserver.registry.kind import Kind


class Operation(NamedTuple):
    """One method on one path template; `resource` is `plural.group`, "" for a route that is no resource."""

    method: str
    path: str
    verb: str
    resource: str = ""
    subresource: str = ""
    access: Access = Access.RESOURCE


_ON_COLLECTION = {"list": "GET", "watch": "GET", "create": "POST", "deletecollection": "DELETE"}
_ON_OBJECT = {"get": "GET", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
_BELOW = {"get": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


def operations(kinds: Iterable[Kind], routes: Iterable[Route]) -> Iterator[Operation]:
    """Yield every route, then every verb of every kind and of its subresources."""
    for route in routes:
        assert route.access is not None
        path = route.pattern[:-1] + "any" if route.pattern.endswith("/*") else route.pattern
        for method in route.methods:
            yield Operation(method, path, method.lower(), access=route.access)
    for kind in kinds:
        yield from _of_kind(kind)


def _of_kind(kind: Kind) -> Iterator[Operation]:
    resource = kind.resource
    collection = resource.path("{namespace}" if kind.namespaced else "")
    one = f"{collection}/{{name}}"
    for verb, method in _ON_COLLECTION.items():
        if verb in kind.verbs:
            yield Operation(method, collection, verb, kind.key)
            if kind.namespaced and verb in ("list", "watch"):
                yield Operation(method, resource.path(), verb, kind.key)
    for verb, method in _ON_OBJECT.items():
        if verb in kind.verbs:
            yield Operation(method, one, verb, kind.key)
    for sub in kind.subresources.values():
        for verb in sub.verbs:
            if verb in _BELOW:
                connects = sub.name in CONNECT
                yield Operation(_BELOW[verb], f"{one}/{sub.name}", "create" if connects else verb, kind.key, sub.name)
