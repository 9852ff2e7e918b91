"""Stored bytes in the form that a client asked for: as they are, as a Table, as metadata only, as YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from skerry.apiserver.http import media
from skerry.apiserver.http.answers import JSON_HEADERS, json_answer
from skerry.apiserver.http.message import Response
from skerry.apiserver.registry import read as _read
from skerry.apiserver.registry import watch as _watch
from skerry.apiserver.registry.read import Listing
from skerry.apiserver.registry.registry import Registry

if TYPE_CHECKING:
    from skerry.apiserver.http.resources import Call


class Renderer:
    """Makes answers of what the registry returns."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def object(self, call: Call, value: bytes, status: int = 200, warnings: Sequence[str] = ()) -> Response:
        """Return one object."""
        if call.form is media.PLAIN:
            return json_answer(value, status, warnings)
        return json_answer(value, status, warnings)

    def listing(self, call: Call, listing: Listing) -> Response:
        """Return a list."""
        kind = call.kind
        return json_answer(_read.envelope(kind, listing, _read.items(self._registry, kind, listing.records)))

    def watch_form(self, call: Call) -> _watch.Form:
        return _watch.Form("json")

    def watch_headers(self, call: Call) -> Mapping[str, str]:
        return JSON_HEADERS
