"""Requests on resources: which verb of the registry a method means, and its answer in the form that was asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec
from msgspec.structs import replace

from skerry.apiserver.access.attributes import Attributes
from skerry.apiserver.http import media
from skerry.apiserver.http.answers import json_answer, no_such_method, no_such_resource, page_not_found
from skerry.apiserver.http.bare import BareError
from skerry.apiserver.http.dispatch import Authoriser
from skerry.apiserver.http.message import Request, Response
from skerry.apiserver.http.old_watch import old_watch
from skerry.apiserver.http.paths import Target, parse
from skerry.apiserver.http.query import Query, flag
from skerry.apiserver.http.query import parse as parse_query
from skerry.apiserver.http.render import Renderer
from skerry.apiserver.registry import create as _create
from skerry.apiserver.registry import delete as _delete
from skerry.apiserver.registry import read as _read
from skerry.apiserver.registry import update as _update
from skerry.apiserver.registry import watch as _watch
from skerry.apiserver.registry.applying import apply_configuration, read_configuration
from skerry.apiserver.registry.beside import DENSE, LARGE, Place
from skerry.apiserver.registry.body import read_object, read_options
from skerry.apiserver.registry.delete import DeleteOptions
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.options import WriteOptions, list_options, read_revision, write_options
from skerry.apiserver.registry.ownership import Ownership
from skerry.apiserver.registry.patch import is_apply, ownership_of, transform_of
from skerry.apiserver.registry.registry import Registry
from skerry.model.errors import ApiError, not_found
from skerry.model.objects import Object

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_NEEDS_NAME = {"POST": False, "PUT": True, "PATCH": True}
CONNECT = frozenset(("exec", "attach", "portforward"))
"""Authorised as `create` whatever the method: these run something."""


class Call(msgspec.Struct, frozen=True):
    """One request on a resource, understood."""

    request: Request
    target: Target
    kind: Kind
    verb: str
    query: Query
    form: media.Form
    warnings: list[str] = msgspec.field(default_factory=list)
    """What the client is told beside the answer, also when that is a refusal."""
    place: Place | None = None
    """What a large request holds beside the loop."""


SubresourceHandler = Callable[[Call], Awaitable[Response]]


class Others(Protocol):
    """Other servers, whose groups are served through us."""

    def serves(self, group: str, version: str) -> bool: ...

    async def forward(self, group: str, version: str, request: Request) -> Response: ...


class Resources:
    """Answers every path that names a resource. Subresources beyond status and scale are handlers by (key, name)."""

    def __init__(self, registry: Registry, authoriser: Authoriser, renderer: Renderer) -> None:
        self._registry, self._authoriser, self._renderer = registry, authoriser, renderer
        self._subresources: dict[tuple[str, str], SubresourceHandler] = {}
        self._special: dict[str, SubresourceHandler] = {}
        self.others: Others | None = None
        self._verbs: dict[str, SubresourceHandler] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._deletecollection,
        }

    def add(self, key: str, subresource: str, handler: SubresourceHandler) -> None:
        """Serve `plural.group` *key*'s *subresource* with *handler*; with "" the whole resource (a review, a live view)."""
        if subresource:
            self._subresources[key, subresource] = handler
        else:
            self._special[key] = handler

    async def __call__(self, request: Request) -> Response:
        target = parse(request.path)
        if target is None:
            return page_not_found()
        query = parse_query(request.query)
        if target.plural == "watch":
            target, query = old_watch(request, target, query)
        verb = _verb(request.method, target, query)
        selectors = verb in ("list", "watch", "deletecollection") and query
        self._authoriser.require(
            Attributes(
                request.user,
                verb,
                target.group,
                target.plural,
                target.subresource,
                target.namespace or _of_itself(target),
                target.name,
                labels=query.get("labelSelector", "") if selectors else "",
                fields=query.get("fieldSelector", "") if selectors else "",
                size=len(request.body),
            )
        )
        kind = self._registry.kinds.find(target.group, target.version, target.plural)
        if kind is None:
            if self.others is not None and self.others.serves(target.group, target.version):
                return await self.others.forward(target.group, target.version, request)
            return self._unknown(target)
        handler = self._handler(kind, target, verb, request.method)
        if handler is None:
            return page_not_found()
        form = media.choose("" if target.subresource == "proxy" else request.headers.get("accept", ""))
        call = Call(request, target, kind, verb, query, form)
        try:
            if weight(request) <= LARGE or target.subresource == "proxy":  # a Pod may take its time, and no object is made of that body
                return await handler(call)
            async with self._registry.beside.place() as place:
                return await handler(replace(call, place=place))
        except ApiError as error:
            if call.warnings:
                error.warnings = tuple(call.warnings)
            raise

    def _unknown(self, target: Target) -> Response:
        """Answer as the server that would know the group does: built-in groups in JSON, all others in text."""
        if any(k.resource.group == target.group and not k.custom for k in self._registry.kinds):
            raise no_such_resource()
        return page_not_found()

    def _handler(self, kind: Kind, target: Target, verb: str, method: str) -> SubresourceHandler | None:
        """Return what answers; None where a custom kind has nothing."""
        if target.namespace and not kind.namespaced:
            if kind.custom:
                return None
            raise no_such_resource()
        if not target.subresource and method in _NEEDS_NAME and bool(target.name) is not _NEEDS_NAME[method]:
            raise no_such_method()
        if kind.namespaced and not target.namespace and (target.name or verb not in ("list", "watch")):
            raise no_such_resource() if target.name else no_such_method()
        if target.subresource:
            return self._subresource(kind, target, verb)
        special = self._special.get(kind.key)
        if verb not in kind.verbs:
            raise no_such_method()
        if special is not None:
            return special
        return self._verbs[verb]

    def _subresource(self, kind: Kind, target: Target, verb: str) -> SubresourceHandler:
        name = target.subresource
        sub = kind.subresources.get(name)
        if sub is None:
            if kind.custom:
                raise not_found(target.plural, target.group, target.name)
            raise no_such_resource()
        if verb not in sub.verbs:  # whoever answers: who may read may not so do what a POST does
            raise no_such_method()
        handler = self._subresources.get((kind.key, name))
        if handler is not None:
            return handler
        if name in ("status", "finalize", "approval", "ephemeralcontainers"):
            return self._verbs[verb]
        return self._subresources.get(("*", name), self._refuse)

    @staticmethod
    async def _refuse(call: Call) -> Response:
        what = f"{call.target.plural}/{call.target.subresource}" if call.target.subresource else call.target.plural
        raise BareError(405, "MethodNotAllowed", f"{call.verb} of {what} is not supported by skerry")

    async def _get(self, call: Call) -> Response:
        revision = read_revision(call.query.get("resourceVersion")) if call.query else None
        value = await _read.get(self._registry, call.kind, call.target.namespace, call.target.name, revision)
        return self._renderer.object(call, value)

    async def _list(self, call: Call) -> Response:
        options = list_options(call.query, watch=False)
        listing = await _read.list_(self._registry, call.kind, call.target.namespace, options)
        return self._renderer.listing(call, listing)

    async def _watch(self, call: Call) -> Response:
        options = list_options(call.query, watch=True)
        form = self._renderer.watch_form(call)
        lines = _watch.open_watch(self._registry, call.kind, call.target.namespace, options, form)
        return Response(200, self._renderer.watch_headers(call), lines)

    async def _create(self, call: Call) -> Response:
        options = options_of(call, "CreateOptions")
        obj = await self._object(call, options)
        value = await _create.create(self._registry, call.kind, call.target.namespace, obj, options)
        return self._renderer.object(call, value, 201, options.warnings)

    async def _update(self, call: Call) -> Response:
        options = options_of(call, "UpdateOptions")
        options.creating = partial(self._require_create, call)
        obj = await self._object(call, options)
        change = _update.Change(
            call.kind, call.target.namespace, call.target.name, lambda _: obj, call.target.subresource, Ownership.REPLACED
        )
        status, value = await _update.replace(self._registry, change, obj, options)
        return self._renderer.object(call, value, status, options.warnings)

    async def _patch(self, call: Call) -> Response:
        if is_apply(call.request):
            return await self._apply(call)
        options = options_of(call, "PatchOptions")
        read = partial(transform_of, call.kind, call.request, options)
        transform = read() if options.size <= LARGE else await self._registry.beside.run(read)
        target, ownership = call.target, ownership_of(call.request)
        change = _update.Change(call.kind, target.namespace, target.name, transform, target.subresource, ownership)
        value = await _update.apply(self._registry, change, options)
        return self._renderer.object(call, value, 200, options.warnings)

    async def _apply(self, call: Call) -> Response:
        options = options_of(call, "PatchOptions", applies=True)
        options.creating = partial(self._require_create, call)
        force = flag(call.query, "force")
        read = partial(read_configuration, call.request, options)
        config = read() if options.size <= LARGE else await self._registry.beside.run(read)
        target = call.target
        status, value = await apply_configuration(
            self._registry,
            call.kind,
            target.namespace,
            target.name,
            config,
            options,
            subresource=target.subresource,
            force=force,
        )
        return self._renderer.object(call, value, status, options.warnings)

    async def _object(self, call: Call, options: WriteOptions) -> Object:
        """Return the object in the body."""
        if options.size <= LARGE:
            return read_object(call.kind, call.request, options)
        assert call.kind.schema, "it is compiled here, before another thread asks for it"
        return await self._registry.beside.run(read_object, call.kind, call.request, options)

    def _require_create(self, call: Call) -> None:
        """Return when the user may create what it changes; ApiError 403 otherwise."""
        target = call.target
        where = target.namespace or _of_itself(target)
        self._authoriser.require(
            Attributes(call.request.user, "create", target.group, target.plural, target.subresource, where, target.name)
        )

    async def _delete(self, call: Call) -> Response:
        asked, options = self._deletion(call)
        gone, value = await _delete.delete(self._registry, call.kind, call.target.namespace, call.target.name, asked, options)
        return json_answer(_delete.answer(call.kind, gone, call.target.name, value), warnings=options.warnings)

    @staticmethod
    def _deletion(call: Call) -> tuple[DeleteOptions, WriteOptions]:
        """Return how to delete; when that is read, nothing large is left of the request."""
        options = options_of(call, "DeleteOptions")
        asked = _delete.delete_options(read_options(call.request), call.query)
        options.dry_run = options.dry_run or asked.dry_run
        if options.place is not None:
            options.place.end()
            options.place = None
        return asked, options

    async def _deletecollection(self, call: Call) -> Response:
        asked, options = self._deletion(call)
        selection = list_options({k: v for k, v in call.query.items() if k != "dryRun"}, watch=False)
        listing = await _delete.collection(self._registry, call.kind, call.target.namespace, selection, asked, options)
        return self._renderer.listing(call, listing)


def options_of(call: Call, kind: str, *, applies: bool = False) -> WriteOptions:
    """Return the options of a write; *kind* names them (`CreateOptions`, ...)."""
    agent = call.request.headers.get("user-agent", "")
    options = write_options(call.request.user, call.query, call.request.query, kind, agent=agent, applies=applies)
    options.warnings = call.warnings
    options.size = weight(call.request) * call.kind.density
    options.place = call.place
    return options


def weight(request: Request) -> int:
    """Return the bytes of a body, as many as one of JSON would have that takes as long to be read."""
    size = len(request.body)
    if size > LARGE // DENSE and not media.body_media(request.headers.get("content-type", "")).endswith("json"):
        return size * DENSE
    return size


def _of_itself(target: Target) -> str:
    """Return a namespace's own name: to read or change it is a question about that namespace, as in Kubernetes."""
    return target.name if target.plural == "namespaces" and not target.group else ""


def _verb(method: str, target: Target, query: Query) -> str:
    if target.subresource in CONNECT and target.plural == "pods":
        if method not in ("GET", "POST"):
            raise no_such_method()
        return "create"
    if method == "GET":
        if target.name:
            return "get"
        return "watch" if query and flag(query, "watch") else "list"
    if method == "DELETE":
        return "delete" if target.name else "deletecollection"
    verb = _VERBS.get(method)
    if verb is None:
        raise no_such_method()
    return verb
