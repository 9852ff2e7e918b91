"""Where in an object we are: a chain of steps that costs one small tuple a level, written out only for a message."""

from __future__ import annotations

from typing import Any

Path = tuple[Any, Any] | None
"""None is the root; else (parent, step), where a step is a field name (str) or an index (int)."""


def steps(path: Path) -> list[str | int]:
    found: list[str | int] = []
    while path is not None:
        found.append(path[1])
        path = path[0]
    found.reverse()
    return found


def dotted(path: Path) -> str:
    """Return `spec.containers[0].name`."""
    text = ""
    for step in steps(path):
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def fields_only(path: Path) -> str:
    """Return `spec.containers.name`: the path without indexes, as Go's JSON errors have it."""
    return ".".join(s for s in steps(path) if isinstance(s, str))
