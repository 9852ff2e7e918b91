"""Table answers (`kubectl get`): which columns a kind has, and the cells of one object.

Pure: `now` is an argument. Columns and wording of the cells are those of Kubernetes' own printers; a kind that has none shows
its name and when it was made; custom kinds show what their CRD declares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any

import msgspec

from skerry.apiserver.schema.table.cells import columns
from skerry.model.objects import Object

Cells = Callable[[Object, datetime], list[Any]]


class TableFormat(msgspec.Struct, frozen=True):
    """`columns` are `columnDefinitions` as they go on the wire; `cells` gives one row."""

    columns: list[dict[str, Any]]
    cells: Cells


_MODULES = ("pods", "core", "workloads", "cluster")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_formats: dict[str, TableFormat] = {}


def table_format(resource_key: str, printer_columns: Sequence[dict[str, Any]] | None = None) -> TableFormat:
    """Return the format of `plural.group`; *printer_columns* are a CRD's additionalPrinterColumns ([] when it has none)."""
    if not _formats:
        for name in _MODULES:
            for key, (spec, cells) in import_module(f"{__name__}.{name}").TABLES.items():
                _formats[key] = TableFormat(columns(spec), cells)
        _describe()
    if printer_columns is not None:
        from skerry.apiserver.schema.table.custom import custom_format

        return custom_format(printer_columns, _PLAIN.columns[0]["description"])
    return _formats.get(resource_key) or _PLAIN


def _describe() -> None:
    """Say what the columns that are one field mean, where Kubernetes' own texts are installed."""
    from skerry.apiserver.schema.descriptions import texts_of

    name, made, data = texts_of([(_META, "name"), (_META, "creationTimestamp"), ("io.k8s.api.core.v1.ConfigMap", "data")])
    for key, style in [*_formats.items(), ("", _PLAIN)]:
        texts = {"Name": name, "Age": made, "Created At": made} | ({"Data": data} if key == "configmaps" else {})
        for column in style.columns:
            column["description"] = texts.get(column["name"], "")


def _plain(obj: Object, now: datetime) -> list[Any]:
    meta = obj.get("metadata") or {}
    return [meta.get("name"), meta.get("creationTimestamp")]


_PLAIN = TableFormat(columns("Name / Created At:date"), _plain)


def rows(format_: TableFormat, obj: Object, now: datetime) -> list[Any]:
    """Return the cells of one object."""
    return format_.cells(obj, now)
