"""Rows of custom kinds: the name, and the columns that the CRD declares; name and age when it declares none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from skerry.apiserver.schema.table import TableFormat
from skerry.apiserver.schema.table.cells import column, name_of, since
from skerry.apiserver.schema.table.jsonpath import JsonPath
from skerry.model.objects import Object

_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
_NAME_MEANS = "The name of the object, unique within its namespace for its kind."


def custom_format(declared: Sequence[dict[str, Any]], name_means: str) -> TableFormat:
    """Return the format for additionalPrinterColumns; raises JsonPathError for a path that the CRD's rules let through.

    *name_means* describes the name; "" where Kubernetes' own text is not installed.
    """
    chosen = list(declared) or [_AGE]
    definitions = [column("Name", "string", description=name_means or _NAME_MEANS, format_="name")]
    definitions += [
        column(
            c["name"],
            c["type"],
            priority=c.get("priority", 0),
            description=c.get("description") or f"Custom resource definition column (in JSONPath format): {c['jsonPath']}",
            format_=c.get("format", ""),
        )
        for c in chosen
    ]
    readers = [(JsonPath(c["jsonPath"]), c["type"]) for c in chosen]

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [name_of(obj), *(_cell(path.find(obj), kind, now) for path, kind in readers)]

    return TableFormat(definitions, cells)


def _cell(found: list[Any], kind: str, now: datetime) -> Any:
    if not found or found[0] is None:
        return None
    value = found[0]
    match kind:
        case "integer":
            return int(value) if _is_number(value) else None
        case "number":
            return value if _is_number(value) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return since(value, now) if isinstance(value, str) else "<invalid>"
    return _text(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
