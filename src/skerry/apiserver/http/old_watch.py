"""The old paths of watches, `/api/v1/watch/...`: read as the paths and the query that replaced them. Pure."""

from __future__ import annotations

from skerry.apiserver.http.answers import no_such_method
from skerry.apiserver.http.message import Request
from skerry.apiserver.http.paths import Target, parse
from skerry.apiserver.http.query import Query


def old_watch(request: Request, target: Target, query: Query) -> tuple[Target, Query]:
    """Return what `.../watch/<path>` asks for: a watch of a collection, or of the one object that the path names.

    A path that names nothing below `watch` is returned as it is; ApiError 405 for another method than GET.
    """
    before, _, after = request.path.partition("/watch/")
    inner = parse(f"{before}/{after}") if after else None
    if inner is None or inner.subresource:
        return target, query
    if request.method != "GET":
        raise no_such_method()
    query = {**query, "watch": "true"}
    if inner.name:
        mine = f"metadata.name={inner.name}"
        query["fieldSelector"] = f"{query['fieldSelector']},{mine}" if query.get("fieldSelector") else mine
    return inner._replace(name=""), query
