"""Stored bytes in the form that a client asked for: as they are, as a Table, as metadata only, as YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skerry.apiserver.http import media
from skerry.apiserver.http.answers import JSON_HEADERS, json_answer, warning_headers
from skerry.apiserver.http.message import Response
from skerry.apiserver.registry import read as _read
from skerry.apiserver.registry import watch as _watch
from skerry.apiserver.registry.encoding import decode, dumps
from skerry.apiserver.registry.kind import Kind
from skerry.apiserver.registry.read import Listing
from skerry.apiserver.registry.registry import Registry
from skerry.apiserver.schema.table import TableFormat, table_format
from skerry.model.errors import ApiError, bad_request
from skerry.model.objects import Object

if TYPE_CHECKING:
    from skerry.apiserver.http.resources import Call

_TABLE, _PARTIAL, _PARTIAL_LIST = "Table", "PartialObjectMetadata", "PartialObjectMetadataList"


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
                meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
                return dumps(self._table(call, [obj], meta))
            case "PartialObjectMetadata":
                return dumps(partial_object(decode(value), call.form.version))
        raise not_acceptable()

    def listing(self, call: Call, listing: Listing) -> Response:
        """Return a list."""
        kind = call.kind
        warnings = [kind.warning] if kind.warning else ()
        if call.form is media.PLAIN:
            return json_answer(_read.envelope(kind, listing, _read.items(self._registry, kind, listing.records)), warnings=warnings)
        match call.form.as_:
            case "":
                body = _read.envelope(kind, listing, _read.items(self._registry, kind, listing.records))
            case "Table":
                objects = [decode(self._registry.value_of(kind, r)) for r in listing.records]
                body = dumps(self._table(call, objects, _read.list_meta(listing)))
            case "PartialObjectMetadataList":
                version = call.form.version
                parts = [partial_object(decode(r.value), version) for r in listing.records]
                head = {"kind": _PARTIAL_LIST, "apiVersion": f"meta.k8s.io/{version}", "metadata": _read.list_meta(listing)}
                body = dumps({**head, "items": parts})
            case _:
                raise not_acceptable()
        return self._other(call.form, body, 200, warnings)

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
    def watch_headers(call: Call) -> Mapping[str, str]:
        """Return the headers of a watch; a deprecated version is said so at the start."""
        return warning_headers([call.kind.warning]) if call.kind.warning else JSON_HEADERS

    def _table(self, call: Call, objects: list[Object], meta: Mapping[str, Any]) -> Object:
        style, include, now = _format(call.kind), _include(call), self._registry.now()
        rows = [_row(style, o, now, include=include, version=call.form.version) for o in objects]
        head = {"kind": _TABLE, "apiVersion": f"meta.k8s.io/{call.form.version}", "metadata": meta}
        return {**head, "columnDefinitions": style.columns, "rows": rows or _no_rows(style)}

    @staticmethod
    def _other(form: media.Form, body: bytes, status: int, warnings: Sequence[str]) -> Response:
        if form.media != media.YAML:
            return json_answer(body, status, warnings)
        from skerry.apiserver.http.yaml_form import to_yaml

        headers = {**warning_headers(warnings), "Content-Type": media.YAML}
        return Response(status, headers, to_yaml(decode(body)))


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
