"""What the scale subresource of a custom kind reads must be readable: numbers where its paths lead to. Pure.

Source: apiextensions-apiserver/pkg/registry/customresource (ValidateScaleSpec, ValidateScaleStatus) of Kubernetes 1.32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.model.errors import Cause, invalid_value
from skerry.model.objects import Object

MAX_REPLICAS = 2**31 - 1
_GO_TYPES = {str: "string", float: "float64", bool: "bool", int: "int64", dict: "map[string]interface {}", list: "[]interface {}"}


def scale_causes(scale: Mapping[str, str], obj: Object, *, status_only: bool) -> list[Cause]:
    """Return what is wrong where *scale* (the subresource's paths) looks."""
    paths = ("statusReplicasPath",) if status_only else ("specReplicasPath", "statusReplicasPath")
    causes: list[Cause] = []
    for name in paths:
        path = scale.get(name) or ""
        cause = _replicas(path, _at(obj, path)) if path else None
        if cause is not None:
            causes.append(cause)
    path = scale.get("labelSelectorPath") or ""
    selector = _at(obj, path) if path else None
    if selector is not None and not isinstance(selector, str):
        why = f"{path} accessor error: {_shown(selector)} is of the type {_GO_TYPES[type(selector)]}, expected string"
        causes.append(invalid_value(path, "", why))
    return causes


def _replicas(path: str, value: Any) -> Cause | None:
    if value is None:
        return None
    if value.__class__ is not int:
        why = f"{path} accessor error: {_shown(value)} is of the type {_GO_TYPES[type(value)]}, expected int64"
        return invalid_value(path, 0, why)
    if value < 0:
        return invalid_value(path, value, "should be a non-negative integer")
    if value > MAX_REPLICAS:
        return invalid_value(path, value, f"should be less than or equal to {MAX_REPLICAS}")
    return None


def _at(obj: Any, path: str) -> Any:
    for step in path.lstrip(".").split("."):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(step)
    return obj


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:200]
