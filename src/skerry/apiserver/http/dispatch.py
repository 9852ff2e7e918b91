"""From a request to its answer: route, authorise, handle, and errors as `Status`.

Whatever carries the request (HTTP, the node's link, a test) calls `Dispatcher.handle`; nobody is asked who they are here,
and nothing runs before it is authorised.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.access.audit import Auditor, notes
from skerry.apiserver.access.audit.recorder import READS
from skerry.apiserver.access.impersonate import impersonated, impersonates
from skerry.apiserver.http.answers import JSON_HEADERS, TEXT_HEADERS, error_answer, no_such_method, page_not_found
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.metrics import Metrics
from skerry.apiserver.http.routes import Access, Handler, RouteTable
from skerry.model.errors import ApiError, internal, refusal_of_the_disk

log = logging.getLogger(__name__)


GONE = 499
"""The status in the audit log of a request whose client went away before its answer: it may have been carried out."""


class Authoriser(Protocol):
    """Says who may do what."""

    def require(self, asked: Attributes) -> None:
        """Return when it is allowed; ApiError 403 otherwise."""
        ...


class Dispatcher:
    """Answers requests. `resources` gets every path below /api and /apis that names a resource, and authorises by itself."""

    def __init__(
        self,
        routes: RouteTable,
        resources: Handler,
        authoriser: Authoriser,
        *,
        identity: Callable[[], Mapping[str, str]],
        auditor: Auditor | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.routes, self._metrics = routes, metrics
        self._resources, self._authoriser = resources, authoriser
        self._auditor = auditor or Auditor()
        self._identity = dict(identity())
        self._json = {**JSON_HEADERS, **self._identity}
        self._text = {**TEXT_HEADERS, **self._identity}

    async def handle(self, request: Request) -> Response:
        """Return the answer; never raises but for cancellation."""
        audit_id, received, acts_as = self._auditor.number(), time.time(), None
        said = notes.none() if request.method in READS else notes.begin()
        try:
            self._auditor.require(request.method)
            acting = request
            if impersonates(request.headers):
                acts_as = impersonated(request.user, request.headers, self._authoriser)
                acting = Request(*_parts(request), acts_as, request.peer)
            response = await self._route(acting)
        except ApiError as error:
            response = error_answer(error)
        except asyncio.CancelledError:
            self._auditor.note(audit_id, request, acts_as, GONE, received, said)
            raise
        except Exception as error:
            response = error_answer(self._unexpected(error, request))
        self._auditor.note(audit_id, request, acts_as, response.status, received, said)
        if self._metrics is not None:
            self._metrics.count(request.method, request.path, response.status, time.time() - received)
        return self._signed(response, audit_id)

    async def _route(self, request: Request) -> Response:
        path = request.path
        if names_resource(path):
            return await self._resources(request)
        candidates = self.routes.candidates(path)
        method = "GET" if request.method == "HEAD" else request.method
        route = next((r for r in candidates if method in r.methods), None)
        if route is None:
            self._authoriser.require(Attributes(request.user, request.method.lower(), path=path))
            if candidates:
                raise no_such_method()
            return page_not_found()
        if route.access not in (Access.PUBLIC, Access.OWN):
            self._authoriser.require(Attributes(request.user, request.method.lower(), path=path))
        return await route.handler(request)

    @staticmethod
    def _unexpected(error: Exception, request: Request) -> ApiError:
        refusal = refusal_of_the_disk(getattr(error, "http_status", 500), str(error))
        if refusal is not None:
            return refusal
        log.exception("request failed", extra={"method": request.method, "path": request.path, "user": request.user.name})
        return internal(f"{type(error).__name__} while serving {request.method} {request.path[:200]}; the server's log has more")

    def _signed(self, response: Response, audit_id: str) -> Response:
        """Add the headers that say which cluster answered, in which of its lives, and under which number it was logged."""
        if response.headers is JSON_HEADERS:
            headers = {**self._json, "Audit-Id": audit_id}
        elif response.headers is TEXT_HEADERS:
            headers = {**self._text, "Audit-Id": audit_id}
        else:
            headers = {**response.headers, **self._identity, "Audit-Id": audit_id}
        return Response(response.status, headers, response.body, response.upgrade)


def names_resource(path: str) -> bool:
    """Say whether a path belongs to the registry: something follows the version."""
    if path.startswith("/api/"):
        return path.count("/", 5) > 1 or (path.count("/", 5) == 1 and not path.endswith("/"))
    return path.startswith("/apis/") and (path.count("/", 6) > 2 or (path.count("/", 6) == 2 and not path.endswith("/")))


def _parts(request: Request) -> tuple[str, str, str, Mapping[str, str], bytes]:
    return request.method, request.path, request.query, request.headers, request.body
