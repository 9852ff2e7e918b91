"""Stored bytes in the form that a client asked for: as they are, as a Table, as metadata only, as YAML."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skerry.apiserver.http import media
from skerry.apiserver.http.answers import JSON_HEADERS, json_answer, warning_headers
from skerry.apiserver.http.message import Headers, Response
from skerry.apiserver.registry import read as _read
from skerry.apiserver.registry import watch as _watch
from skerry.apiserver.registry.beside import DENSE, LARGE
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.read import Listing
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.registry.slices import Finite, made_beside, sliced
from skerry.apiserver.schema.table import TableFormat, table_format
from skerry.model.errors import ApiError, bad_request
from skerry.model.objects import Object

if TYPE_CHECKING:
    from skerry.apiserver.http.resources import Call

_TABLE, _PARTIAL, _PARTIAL_LIST = "Table", "PartialObjectMetadata", "PartialObjectMetadataList"
WHOLE_BYTES = 8 << 20
"""A longer list is never there as a whole."""
_NOTHING: list[Any] = []


class Renderer:
    """Makes answers of what the registry returns."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def object(self, call: Call, value: bytes, status: int = 200, warnings: Sequence[str] = ()) -> Response:
        """Return one object."""
        if call.kind.warning:
            warnings = [*warnings, call.kind.warning]
        if call.form is media.PLAIN:
            return json_answer(value, status, warnings)
        return self._other(call.form, self._one(call, value), status, warnings)

    def _one(self, call: Call, value: bytes) -> bytes:
        match call.form.as_:
            case "":
                return value
            case "Table":
                obj = decode(value)
                head, row = self._table(call, {"resourceVersion": obj["metadata"].get("resourceVersion", "")})
                return dumps({**head, "rows": [row(obj)]})
            case "PartialObjectMetadata":
                return dumps(partial_object(decode(value), call.form.version))
        raise not_acceptable()

    def listing(self, call: Call, listing: Listing) -> Response:
        """Return a list; a long one is made as it is sent."""
        kind, form = call.kind, call.form
        warnings = [kind.warning, *call.warnings] if kind.warning else call.warnings
        ready = _read.is_ready(kind, listing.records)
        size = sum(len(r.value) for r in listing.records)
        if form is media.PLAIN and ready and size <= WHOLE_BYTES:
            return json_answer(_read.envelope(kind, listing, _read.items(self._registry, kind, listing.records)), warnings=warnings)
        pieces = self._pieces(call, listing)
        if form.media == media.YAML:
            return _yaml(pieces if size <= LARGE // DENSE else made_beside(self._registry.beside, pieces), warnings)
        if size <= LARGE:
            return json_answer(b"".join(pieces), warnings=warnings)
        return Response(200, warning_headers(warnings), Finite(sliced(pieces)))

    def _pieces(self, call: Call, listing: Listing) -> Iterator[bytes]:
        """Return a list in the form that was asked for; ApiError for a form that there is not."""
        kind, form, registry, version = call.kind, call.form, self._registry, call.form.version
        values: Iterable[bytes] = (registry.value_of(kind, r) for r in listing.records)
        if kind.conversion is not None:
            values = [*values]  # who converts keeps them for this turn of the loop only
        meta = _read.list_meta(listing)
        wrap = _yaml_list if form.media == media.YAML else _json_list
        match form.as_:
            case "":
                cut = (lambda value: value) if kind.custom else kind.encoding.as_item
                return wrap(_read.list_head(kind, listing), "items", map(cut, values))
            case "Table":
                head, row = self._table(call, meta)
                empty = None if listing.records else _no_rows(_format(kind))
                return wrap(head, "rows", (dumps(row(decode(value))) for value in values), empty=empty)
            case "PartialObjectMetadataList":
                head = {"kind": _PARTIAL_LIST, "apiVersion": f"meta.k8s.io/{version}", "metadata": meta}
                return wrap(head, "items", (dumps(partial_object(decode(r.value), version)) for r in listing.records))
        raise not_acceptable()

    def watch_form(self, call: Call) -> _watch.Form:
        """Return how the events of a watch are written."""
        form = call.form
        match form.as_:
            case "":
                if form.media != media.JSON:
                    raise not_acceptable()
                return _watch.Form("json" if not call.kind.custom else call.kind.resource.version)
            case "Table":
                include = _include(call)
                style = _format(call.kind)
                name = (_TABLE, include, form.version)
                now = self._registry.now

                def render(value: bytes, columns: list[dict[str, Any]] | None = None) -> bytes:
                    return _table_event(style, value, columns, include=include, version=form.version, now=now())

                return _watch.Form(name, render, lambda value: render(value, style.columns))
            case "PartialObjectMetadata":
                return _watch.Form((_PARTIAL, form.version), lambda value: dumps(partial_object(decode(value), form.version)))
        raise not_acceptable()

    @staticmethod
    def watch_headers(call: Call) -> Headers:
        """Return the headers of a watch; a deprecated version is said so at the start."""
        return warning_headers([call.kind.warning]) if call.kind.warning else JSON_HEADERS

    def _table(self, call: Call, meta: Mapping[str, Any]) -> tuple[Object, Callable[[Object], Object]]:
        """Return a Table without its rows, and what makes a row."""
        style, include, now, version = _format(call.kind), _include(call), self._registry.now(), call.form.version
        head = {"kind": _TABLE, "apiVersion": f"meta.k8s.io/{version}", "metadata": meta, "columnDefinitions": style.columns}
        return head, lambda obj: _row(style, obj, now, include=include, version=version)

    def _other(self, form: media.Form, body: bytes, status: int, warnings: Sequence[str]) -> Response:
        if form.media != media.YAML:
            return json_answer(body, status, warnings)
        pieces = _yaml_pieces(body)
        return _yaml(pieces if len(body) <= LARGE // DENSE else made_beside(self._registry.beside, pieces), warnings, status)


def _yaml(pieces: Iterator[bytes] | AsyncGenerator[bytes, None], warnings: Sequence[str], status: int = 200) -> Response:
    headers = {**warning_headers(warnings), "Content-Type": media.YAML}
    return Response(status, headers, Finite(pieces) if isinstance(pieces, AsyncGenerator) else b"".join(pieces))


def _yaml_pieces(body: bytes) -> Iterator[bytes]:
    from skerry.apiserver.http.yaml_form import yaml_pieces  # not before somebody asks for it

    yield from yaml_pieces(decode(body))


def _json_list(head: Object, key: str, values: Iterable[bytes], *, empty: list[Any] | None = _NOTHING) -> Iterator[bytes]:
    """Yield the JSON of *head* with *values* under *key*; *empty* is what stands there when there are none."""
    yield dumps(head)[:-1] + b',"%b":' % key.encode()
    before = b"["
    for value in values:
        yield before
        yield value
        before = b","
    yield (dumps(empty) if before == b"[" else b"]") + b"}"


def _yaml_list(head: Object, key: str, values: Iterable[bytes], *, empty: list[Any] | None = _NOTHING) -> Iterator[bytes]:
    """Yield the same as YAML."""
    from skerry.apiserver.http.yaml_form import yaml_list

    yield from yaml_list(head, key, values, empty)


def partial_object(obj: Object, version: str) -> Object:
    """Return the metadata alone."""
    return {"kind": _PARTIAL, "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}


def not_acceptable() -> ApiError:
    accepted = [media.JSON, media.YAML, media.PROTOBUF]
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(accepted)}")


def _format(kind: Kind) -> TableFormat:
    return table_format(kind.key, kind.version.get("additionalPrinterColumns") or [] if kind.custom else None)


def _no_rows(style: TableFormat) -> list[Any] | None:
    """Return what an empty table has: kinds without columns of their own have null, as Kubernetes answers it."""
    return None if len(style.columns) == 2 and style.columns[1]["type"] == "date" else []


def _include(call: Call) -> str:
    include = call.query.get("includeObject", "") or "Metadata"
    if include not in ("None", "Metadata", "Object"):
        why = f"includeObject: Invalid value: \"{include}\": must be 'Metadata', 'Object', 'None', or empty"
        raise bad_request(f"Unable to convert to Table as requested: {why}")
    return include


def _row(style: TableFormat, obj: Object, now: datetime, *, include: str, version: str) -> Object:
    row: Object = {"cells": style.cells(obj, now)}
    if include == "Object":
        row["object"] = obj
    elif include == "Metadata":
        row["object"] = partial_object(obj, version)
    else:
        row["object"] = None
    return row


def _table_event(
    style: TableFormat, value: bytes, columns: list[dict[str, Any]] | None, *, include: str, version: str, now: datetime
) -> bytes:
    """Return the one-row Table of an event; a bookmark (an object without a name) has no row."""
    obj = decode(value)
    meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    rows = [_row(style, obj, now, include=include, version=version)] if obj["metadata"].get("name") else []
    head = {"kind": _TABLE, "apiVersion": f"meta.k8s.io/{version}", "metadata": meta}
    return dumps({**head, "columnDefinitions": columns, "rows": rows})
