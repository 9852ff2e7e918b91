"""JSON pointers with two additions: `*` stands for every element, `[name=x]` for list elements whose field is x. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Place = tuple[Any, Any, Any]
"""The parent, the key in it, and what stands there."""


def places(document: Any, pointer: str) -> list[Place]:
    """Return every place that *pointer* names."""
    found: list[Place] = [(None, None, document)]
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        found = [place for _, _, node in found for place in _below(node, step)]
    return found


def _below(node: Any, step: str) -> Iterator[Place]:
    if isinstance(node, dict):
        keys = list(node) if step == "*" else [step] if step in node else []
        yield from ((node, k, node[k]) for k in keys)
    elif isinstance(node, list):
        if step == "*":
            yield from ((node, i, v) for i, v in enumerate(node))
        elif step.startswith("["):
            field, _, wanted = step[1:-1].partition("=")
            yield from ((node, i, v) for i, v in enumerate(node) if isinstance(v, dict) and wanted in (v.get(field), _meta(v).get(field)))
        elif step.lstrip("-").isdigit() and -len(node) <= int(step) < len(node):
            yield node, int(step), node[int(step)]


def _meta(value: dict[str, Any]) -> dict[str, Any]:
    meta = value.get("metadata")
    return meta if isinstance(meta, dict) else {}


def value_at(document: Any, pointer: str) -> Any:
    """Return what stands there, all of it as a list where the pointer has a star; None when there is nothing."""
    found = [v for _, _, v in places(document, pointer)]
    if not found:
        return None
    return found if "*" in pointer else found[0]
