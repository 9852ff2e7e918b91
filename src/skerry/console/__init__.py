"""The console: what a person sees in a browser. Read-only views of the fleet, behind a one-use code, served by the hub.

How the hub mounts it (nothing here knows HTTP libraries, stores or links; `Request` and `Response` are duck-typed twins of
`apiserver.http.message`)::

    console = Console(
        Sources(nodes=informers.of(NODES), pods=informers.of(PODS), sites=informers.of(SITES), devices=informers.of(DEVICES),
                profiles=informers.of(DEVICEPROFILES),
                events=hub_log, twins=twins),
        redeem=redeem,            # code -> name of the user who asked for it, or None: `lambda code: ... LoginCodes.redeem(...)`
        clock=loop.time, version="0.1.0",
    )
    for methods, pattern in Console.ROUTES:      # every one with Access.OWN: the console checks its own cookie
        routes.add(Route(methods, pattern, Access.OWN, handler))
    # handler: answer = await console.handle(request); return Response(answer.status, answer.headers, answer.body)
    task = create_task(console.run())            # until cancelled; `await console.close()` ends the browsers' streams

`informers` are those of the controllers (a kube.Informer is an `ObjectCollection`); `hub_log` is an events.HubLog; `twins` has one
method, `watch(node, namespace, name) -> AsyncIterator[Object]`: the lines of the node's `twin` stream (ApiError or
ConnectionError when the node is away).

What stays true: no route but sign-in answers without a session; a session is good for `/console/` only; a POST needs the
session's token in a header; no page runs inline script or style, or speaks to any other host.
"""

from __future__ import annotations

from skerry.console.handlers import Console
from skerry.console.ports import EventLog, LoggedEvent, ObjectCollection, Request, Response, Sources, Twins

__all__ = ["Console", "EventLog", "LoggedEvent", "ObjectCollection", "Request", "Response", "Sources", "Twins"]
