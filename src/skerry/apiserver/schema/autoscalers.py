"""HorizontalPodAutoscalers in their two versions. v2 is kept; what v1 has no field for stands in its annotations, so that nothing is lost.

Source: pkg/apis/autoscaling/v1/conversion.go and annotations.go of Kubernetes 1.32. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.apiserver.schema.kind import Judge
from skerry.apiserver.schema.scalars import MismatchError, Normalise
from skerry.model.errors import Cause, invalid_value
from skerry.model.objects import Object
from skerry.model.unreadable import NOT_JSON

V1, V2 = "autoscaling/v1", "autoscaling/v2"
_PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, CURRENT, CONDITIONS, BEHAVIOR = (f"{_PREFIX}{name}" for name in ("metrics", "current-metrics", "conditions", "behavior"))

_Names = Mapping[str, Mapping[str, tuple[str, ...]]]

_SOURCES: _Names = {
    "object": {
        "target": ("describedObject",), "metricName": ("metric", "name"), "targetValue": ("target", "value"),
        "selector": ("metric", "selector"), "averageValue": ("target", "averageValue"),
    },
    "pods": {"metricName": ("metric", "name"), "targetAverageValue": ("target", "averageValue"), "selector": ("metric", "selector")},
    "resource": {
        "name": ("name",), "targetAverageUtilization": ("target", "averageUtilization"), "targetAverageValue": ("target", "averageValue"),
    },
    "containerResource": {
        "name": ("name",), "targetAverageUtilization": ("target", "averageUtilization"), "targetAverageValue": ("target", "averageValue"),
        "container": ("container",),
    },
    "external": {
        "metricName": ("metric", "name"), "metricSelector": ("metric", "selector"), "targetValue": ("target", "value"),
        "targetAverageValue": ("target", "averageValue"),
    },
}  # fmt: skip
"""By the source of a metric: where v2 has what v1 says in each of its fields."""
_STATUSES: _Names = {
    source: {
        old if path == ("describedObject",) else old.replace("target", "current"): tuple("current" if p == "target" else p for p in path)
        for old, path in fields.items()
    }
    for source, fields in _SOURCES.items()
}


class UnreadableError(ValueError):
    """An annotation does not hold what it is for."""

    def __init__(self, name: str, value: str) -> None:
        super().__init__(f"{name}: {value!r:.80}")
        self.name, self.value = name, value


def as_v1(obj: Object) -> Object:
    """Return an autoscaler of v2 in v1."""
    spec, status = dict(obj.get("spec") or {}), obj.get("status") or {}
    metrics, behavior = spec.pop("metrics", None) or (), spec.pop("behavior", None)
    if (percent := _cpu(metrics, "target")) is not None:
        spec["targetCPUUtilizationPercentage"] = percent
    current = status.get("currentMetrics") or ()
    shown = {k: v for k, v in status.items() if k not in ("conditions", "currentMetrics")}
    shown = {"currentReplicas": 0, "desiredReplicas": 0} | shown
    if (percent := _cpu(current, "current")) is not None:
        shown["currentCPUUtilizationPercentage"] = percent
    notes = {
        METRICS: [_renamed(m, _SOURCES) for m in metrics if not _is_cpu(m, "target")],
        CURRENT: [_renamed(m, _STATUSES) for m in current],
        CONDITIONS: status.get("conditions"),
        BEHAVIOR: behavior,
    }
    said = {name: msgspec.json.encode(value).decode() for name, value in notes.items() if value}
    return {**obj, "apiVersion": V1, "metadata": _annotated(obj.get("metadata") or {}, said), "spec": spec, "status": shown}


def as_v2(obj: Object) -> Object:
    """Return an autoscaler of v1 in v2; UnreadableError for an annotation that is no JSON of its form."""
    meta = obj.get("metadata") or {}
    notes = meta.get("annotations") or {}
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metrics = _metrics(notes, METRICS, _SOURCES)
    if (percent := spec.pop("targetCPUUtilizationPercentage", None)) is not None:
        target = {"averageUtilization": percent, "type": "Utilization"}
        metrics.insert(0, {"resource": {"name": "cpu", "target": target}, "type": "Resource"})
    current = _metrics(notes, CURRENT, _STATUSES)
    if (percent := status.pop("currentCPUUtilizationPercentage", None)) is not None and not current:
        current = [{"resource": {"current": {"averageUtilization": percent}, "name": "cpu"}, "type": "Resource"}]
    spec |= _given(metrics=metrics, behavior=_read(notes, BEHAVIOR, dict))
    status |= _given(currentMetrics=current, conditions=_read(notes, CONDITIONS, list))
    return {**obj, "apiVersion": V2, "metadata": _annotated(meta, {}), "spec": spec, "status": status}


def judged_in_v2(rules: Judge, normalise: Normalise) -> Judge:
    """Return the rules of v1: those of v2, which also judge what stands in annotations."""

    def judge(obj: Object, old: Object | None, causes: list[Cause], subresource: str) -> None:
        try:
            new, before = as_v2(copy.deepcopy(obj)), None if old is None else as_v2(old)
            normalise(new, None, None, [])
        except UnreadableError as error:
            causes.append(invalid_value(f"metadata.annotations[{error.name}]", error.value, "must be JSON of its form in Kubernetes"))
        except MismatchError as error:
            causes.append(invalid_value("metadata.annotations", error.field, f"cannot be read: {error.text()}"))
        else:
            rules(new, before, causes, subresource)

    return judge


def _is_cpu(metric: Object, side: str) -> bool:
    resource = metric.get("resource") or {}
    return (
        metric.get("type") == "Resource"
        and resource.get("name") == "cpu"
        and (resource.get(side) or {}).get("averageUtilization") is not None
    )


def _cpu(metrics: Any, side: str) -> int | None:
    """Return the utilization of the first metric of the CPU, in per cent."""
    return next((m["resource"][side]["averageUtilization"] for m in metrics if _is_cpu(m, side)), None)


def _renamed(metric: Object, names: _Names) -> Object:
    """Return a metric of v2 under the names of v1."""
    found: Object = {"type": metric.get("type", "")}
    for source, fields in names.items():
        said = metric.get(source)
        if said is not None:
            found[source] = {old: value for old, path in fields.items() if (value := _at(said, path)) is not None}
    return found


def _metrics(notes: Mapping[str, str], name: str, names: _Names) -> list[Object]:
    """Return the metrics that an annotation of v1 holds under the names of v2."""
    found = []
    for metric in _read(notes, name, list) or ():
        if not isinstance(metric, dict) or any(not isinstance(metric.get(source) or {}, dict) for source in names):
            raise UnreadableError(name, notes[name])
        found.append(_named_anew(metric, names))
    return found


def _named_anew(metric: Object, names: _Names) -> Object:
    found: Object = {"type": metric.get("type", "")}
    for source, fields in names.items():
        said = metric.get(source)
        if said is None:
            continue
        made = found[source] = {}
        for old, path in fields.items():
            if said.get(old) is not None:
                _put(made, path, said[old])
        if (target := made.get("target")) is not None:
            target["type"] = next((kind for key, kind in _TYPES.items() if key in target), "Value")
    return found


_TYPES = {"averageUtilization": "Utilization", "averageValue": "AverageValue"}


def _at(said: Object, path: tuple[str, ...]) -> Any:
    found: Any = said
    for part in path:
        found = (found or {}).get(part)
    return found


def _put(made: Object, path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        made = made.setdefault(part, {})
    made[path[-1]] = value


def _read(notes: Mapping[str, str], name: str, form: type) -> Any:
    """Return what an annotation holds, None when there is none."""
    text = notes.get(name)
    if not text:
        return None
    try:
        found = msgspec.json.decode(text)
    except NOT_JSON:
        raise UnreadableError(name, text) from None
    if not isinstance(found, form):
        raise UnreadableError(name, text)
    return found


def _annotated(meta: Object, said: Mapping[str, str]) -> Object:
    """Return the metadata with these annotations in the place of all that are of a conversion."""
    kept = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in (METRICS, CURRENT, CONDITIONS, BEHAVIOR)}
    found = {k: v for k, v in meta.items() if k != "annotations"}
    return found | _given(annotations={**kept, **said})


def _given(**values: Any) -> Object:
    return {name: value for name, value in values.items() if value}
