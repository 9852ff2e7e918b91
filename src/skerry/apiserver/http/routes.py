"""The one table of routes. Every route says who may use it; a table with a route that does not say cannot be built.

Patterns are exact paths, or prefixes that end in `/*`. Paths below `/api/v1` and `/apis/<group>/<version>` that name a
resource belong to the registry and are authorised by resource attributes; everything else by path.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from enum import Enum

import msgspec

from skerry.apiserver.http.message import Request, Response

Handler = Callable[[Request], Awaitable[Response]]


class Access(Enum):
    """Who may use a route."""

    PUBLIC = "anybody, also without credentials"
    PATH = "whom RBAC grants the path (nonResourceURLs) with the method as the verb"
    RESOURCE = "whom RBAC, or the node rule, grants the resource that the path names"
    OWN = "the handler checks a credential of its own kind"


class Route(msgspec.Struct, frozen=True):
    """One entry: `methods` are upper-case, `pattern` is a path or `prefix/*`."""

    methods: tuple[str, ...]
    pattern: str
    access: Access | None
    handler: Handler
    name: str = ""


class RouteTable:
    """Finds the route of a path: exact entries first, then the longest prefix."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._exact: dict[str, list[Route]] = {}
        self._prefixes: dict[str, list[Route]] = {}
        for route in routes:
            self.add(route)

    def add(self, route: Route) -> None:
        """Add a route; ValueError when it has no access entry, or stands already."""
        if not isinstance(route.access, Access):
            raise ValueError(f"route {route.pattern} has no access entry: say PUBLIC, PATH, RESOURCE or OWN")
        if not route.pattern.startswith("/") or not route.methods:
            raise ValueError(f"route {route.pattern!r} needs a path that starts with / and at least one method")
        prefix = route.pattern.endswith("/*")
        where = self._prefixes if prefix else self._exact
        there = where.setdefault(route.pattern[:-1] if prefix else route.pattern, [])
        twice = {m for r in there for m in r.methods} & set(route.methods)
        if twice:
            raise ValueError(f"route {route.pattern} has two handlers for {', '.join(sorted(twice))}")
        there.append(route)

    def find(self, method: str, path: str) -> Route | None:
        """Return the route; None when no pattern fits or none of them takes the method."""
        return self._pick(self.candidates(path), method)

    def candidates(self, path: str) -> list[Route]:
        """Return the routes of the best pattern for *path*, whatever their methods."""
        found = self._exact.get(path)
        if found:
            return found
        if path.endswith("/") and path != "/" and path[:-1] in self._exact:
            return self._exact[path[:-1]]
        best = max((p for p in self._prefixes if path.startswith(p)), key=len, default=None)
        return self._prefixes[best] if best else []

    @staticmethod
    def _pick(routes: list[Route], method: str) -> Route | None:
        return next((r for r in routes if method in r.methods), None)

    def __iter__(self) -> Iterator[Route]:
        for group in (self._exact, self._prefixes):
            for routes in group.values():
                yield from routes
