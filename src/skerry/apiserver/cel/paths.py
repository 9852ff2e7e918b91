"""Where a rule is about: as `schema.paths`, but keys of maps stand in brackets, as Kubernetes has them for rules."""

from __future__ import annotations

import re
from typing import Any

Path = tuple[Any, Any] | None
"""None is the root; else (parent, step): a field name (str), an index (int), or a key of a map (a tuple of one text)."""
_STEP = re.compile(r"\.([^.\[\]']+)|\['((?:[^'\\]|\\.)*)'\]")


def dotted(path: Path) -> str:
    """Return `spec.ports[0].labels[x]`; the root is "<nil>", as in Kubernetes."""
    steps = []
    while path is not None:
        steps.append(path[1])
        path = path[0]
    text = ""
    for step in reversed(steps):
        if isinstance(step, str):
            text += f".{step}" if text else step
        else:
            text += f"[{step[0] if isinstance(step, tuple) else step}]"
    return text or "<nil>"


def field_path(text: str) -> Path:
    """Read the `fieldPath` of a rule; what cannot be read is refused when the CRD is made."""
    found: Path = None
    for match in _STEP.finditer(text):
        found = (found, match[1] if match[1] is not None else match[2].replace("\\'", "'").replace("\\\\", "\\"))
    return found


def field_path_error(text: str, schema: Any) -> str:
    """Return why *text* names no field of *schema*, or "" when it does."""
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            return f"expected [ or . but got: {text[at:]}"
        name = match[1] if match[1] is not None else match[2]
        properties = schema.get("properties") if isinstance(schema, dict) else None
        extra = schema.get("additionalProperties") if isinstance(schema, dict) else None
        if properties and name in properties:
            schema = properties[name]
        elif isinstance(extra, dict) and not properties:
            schema = extra
        else:
            return "does not refer to a valid field"
        at = match.end()
    return ""
