"""`selectableFields` of a CRD: which fields objects may be selected by. Pure.

Source: apiextensions-apiserver/pkg/apis/apiextensions/validation (ValidateCustomResourceSelectableFields) of Kubernetes 1.32.
"""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.common import Causes, Map, duplicate
from skerry.model.errors import Cause, invalid_value, required

MAX_FIELDS = 8
_TYPES = ("string", "boolean", "integer")
_WRONG_TYPE = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."


def selectable_fields(fields: Any, schema: Map, at: str, causes: Causes) -> None:
    """Check that every path leads to a plain field of the schema, and none is there twice."""
    seen: set[str] = set()
    for i, field in enumerate(fields or ()):
        path, where = str(field.get("jsonPath") or ""), f"{at}[{i}]"
        if not path:
            causes.append(required(f"{where}.jsonPath"))
            continue
        found = _found(path, schema)
        if isinstance(found, str):
            causes.append(invalid_value(f"{where}.jsonPath", path, f"is an invalid path: {found}"))
            continue
        if path.split(".")[1] == "metadata":
            causes.append(invalid_value(where, path, "must not point to fields in metadata"))
        if found.get("type") not in _TYPES:
            causes.append(invalid_value(where, path, _WRONG_TYPE))
        if path in seen:
            causes.append(duplicate(where, path))
        seen.add(path)
    if len(seen) > MAX_FIELDS:
        causes.append(Cause(at, "FieldValueTooMany", f"Too many: {len(seen)}: must have at most {MAX_FIELDS} items"))


def _found(path: str, schema: Any) -> Map | str:
    """Return the schema of the field that *path* names, or why it names none."""
    if "[" in path:
        return "array notation is not allowed"
    if not path.startswith("."):
        return f"expected [ or . but got: {path.partition('.')[0]}"
    for step in path[1:].split("."):
        if not step:
            return "unexpected end of JSON path"
        schema = (schema.get("properties") or {}).get(step) if isinstance(schema, dict) else None
        if not isinstance(schema, dict):
            return "does not refer to a valid field"
    found: Map = schema
    return found
