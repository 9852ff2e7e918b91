"""Ratcheting: an update is not refused for what was wrong before and did not change.

A CRD whose schema became tighter leaves stored objects that no longer fit. Whoever labels such an object, or sets its status,
must not have to repair its spec first; whoever touches the wrong part must. (CRDValidationRatcheting of Kubernetes 1.30.)
"""

from __future__ import annotations

import re
from typing import Any

from skerry.model.errors import Cause
from skerry.model.objects import Object

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_MISSING: Any = object()


def changed_only(causes: list[Cause], new: Object, old: Object) -> list[Cause]:
    """Return the causes that are about something that *new* has otherwise than *old*."""
    return [c for c in causes if not _unchanged(c.field, new, old)]


def _unchanged(field: str, new: Any, old: Any) -> bool:
    """Return whether the value at *field*, or something around it below the root, is the same in both.

    A field whose name has a dot in it is not found, and its cause stays: being too strict is the safe side.
    """
    for match in _STEP.finditer(field):
        new, old = _child(new, match), _child(old, match)
        if new is _MISSING or old is _MISSING:
            return False
        if new == old:
            return True
    return False


def _child(value: Any, match: re.Match[str]) -> Any:
    if match[1] is not None:
        return value.get(match[1], _MISSING) if isinstance(value, dict) else _MISSING
    index = int(match[2])
    return value[index] if isinstance(value, list) and index < len(value) else _MISSING
