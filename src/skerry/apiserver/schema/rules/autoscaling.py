"""Rules of HorizontalPodAutoscalers. Source: pkg/apis/autoscaling/validation of Kubernetes 1.32. Pure."""

from __future__ import annotations

from skerry.apiserver.schema.objectmeta import path_segment_error
from skerry.apiserver.schema.rules.amounts import container_resource
from skerry.apiserver.schema.rules.common import Causes, Map, amount, dns_label, not_negative
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.objects import Object

MAX_PERIOD_S, MAX_WINDOW_S = 1800, 3600
_METRICS = {
    "ContainerResource": "containerResource", "External": "external", "Object": "object", "Pods": "pods", "Resource": "resource",
}  # fmt: skip
_SOURCES = ("object", "external", "pods", "resource", "containerResource")
"""In the order in which Kubernetes looks for them."""
_TARGETS = ("Utilization", "Value", "AverageValue")


def horizontal_pod_autoscaler(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        not_negative(obj.get("status") or {}, ("currentReplicas", "desiredReplicas"), "status", causes)
        return
    spec = obj.get("spec") or {}
    low, high = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if low is not None and low < 1:
        causes.append(invalid_value("spec.minReplicas", low, "must be greater than or equal to 1"))
    if high < 1:
        causes.append(invalid_value("spec.maxReplicas", high, "must be greater than 0"))
    if low is not None and high < low:
        causes.append(invalid_value("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    _reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", causes)
    for i, metric in enumerate(spec.get("metrics") or ()):
        _metric(metric, f"spec.metrics[{i}]", causes)
    behavior = spec.get("behavior") or {}
    for way in ("scaleUp", "scaleDown"):
        if behavior.get(way) is not None:
            _scaling(behavior[way], f"spec.behavior.{way}", causes)


def _reference(found: Map, field: str, causes: Causes) -> None:
    for name in ("kind", "name"):
        if not found.get(name):
            causes.append(required(f"{field}.{name}"))
        elif wrong := path_segment_error(found[name]):
            causes.append(invalid_value(f"{field}.{name}", found[name], wrong))


def _metric(metric: Map, field: str, causes: Causes) -> None:
    kind = metric.get("type") or ""
    if not kind:
        causes.append(required(f"{field}.type", "must specify a metric source type"))
    if kind not in _METRICS:
        causes.append(not_supported(f"{field}.type", kind, list(_METRICS)))
    given = [s for s in _SOURCES if metric.get(s) is not None]
    if given:
        _source(given[0], metric[given[0]], f"{field}.{given[0]}", causes)
    wanted = _METRICS.get(kind)
    if wanted is not None and wanted not in given:
        causes.append(required(f"{field}.{wanted}", "must populate information for the given metric source"))
    if len(given) != 1:
        causes.extend(forbidden_field(f"{field}.{s}", "must populate the given metric source only") for s in given if s != wanted)


def _source(kind: str, found: Map, field: str, causes: Causes) -> None:
    target = found.get("target") or {}
    if kind == "object":
        _reference(found.get("describedObject") or {}, f"{field}.describedObject", causes)
    if kind in ("resource", "containerResource"):
        _measured(kind, found, field, causes)
        _target(target, f"{field}.target", causes)
        _exclusive(target, f"{field}.target", causes)
        return
    name = (found.get("metric") or {}).get("name") or ""
    if not name:
        causes.append(required(f"{field}.metric.name", "must specify a metric name"))
    elif wrong := path_segment_error(name):
        causes.append(invalid_value(f"{field}.metric.name", name, wrong))
    _target(target, f"{field}.target", causes)
    value, average = target.get("value"), target.get("averageValue")
    at = f"{field}.target.averageValue"
    if kind == "pods" and average is None:
        causes.append(required(at, "must specify a positive target averageValue"))
    elif kind == "object" and value is None and average is None:
        causes.append(required(at, "must set either a target value or averageValue"))
    elif kind == "external" and value is None and average is None:
        causes.append(required(at, "must set either a target value for metric or a per-pod target"))
    elif kind == "external" and value is not None and average is not None:
        causes.append(forbidden_field(f"{field}.target.value", "may not set both a target value for metric and a per-pod target"))


def _measured(kind: str, found: Map, field: str, causes: Causes) -> None:
    if not found.get("name"):
        causes.append(required(f"{field}.name", "must specify a resource name"))
    elif kind == "containerResource":
        container_resource(found["name"], f"{field}.name", causes)
    if kind == "containerResource" and not found.get("container"):
        causes.append(required(f"{field}.container", "must specify a container"))
    elif kind == "containerResource":
        dns_label(found["container"], f"{field}.container", causes)


def _exclusive(target: Map, field: str, causes: Causes) -> None:
    share, average = target.get("averageUtilization"), target.get("averageValue")
    if share is None and average is None:
        causes.append(required(f"{field}.averageUtilization", "must set either a target raw value or a target utilization"))
    elif share is not None and average is not None:
        causes.append(forbidden_field(f"{field}.averageValue", "may not set both a target raw value and a target utilization"))


def _target(target: Map, field: str, causes: Causes) -> None:
    kind = target.get("type") or ""
    if not kind:
        causes.append(required(f"{field}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        causes.append(invalid_value(f"{field}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for name in ("value", "averageValue"):
        if target.get(name) is not None and amount(target[name]) <= 0:
            causes.append(invalid_value(f"{field}.{name}", target[name], "must be positive"))
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        causes.append(invalid_value(f"{field}.averageUtilization", share, "must be greater than 0"))


def _scaling(rules: Map, field: str, causes: Causes) -> None:
    window, select = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
    at = f"{field}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        causes.append(invalid_value(at, window, "must be greater than or equal to zero"))
    if window is not None and window > MAX_WINDOW_S:
        causes.append(invalid_value(at, window, f"must be less than or equal to {MAX_WINDOW_S}"))
    if select is not None and select not in ("Disabled", "Max", "Min"):
        causes.append(not_supported(f"{field}.selectPolicy", select, ["Disabled", "Max", "Min"]))
    if not rules.get("policies"):
        causes.append(required(f"{field}.policies", "must specify at least one Policy"))
    for i, policy in enumerate(rules.get("policies") or ()):
        _scaling_policy(policy, f"{field}.policies[{i}]", causes)


def _scaling_policy(policy: Map, field: str, causes: Causes) -> None:
    if policy.get("type") not in ("Percent", "Pods"):
        causes.append(not_supported(f"{field}.type", policy.get("type") or "", ["Percent", "Pods"]))
    for name in ("value", "periodSeconds"):
        if (policy.get(name) or 0) <= 0:
            causes.append(invalid_value(f"{field}.{name}", policy.get(name) or 0, "must be greater than zero"))
    period = policy.get("periodSeconds") or 0
    if period > MAX_PERIOD_S:
        causes.append(invalid_value(f"{field}.periodSeconds", period, f"must be less than or equal to {MAX_PERIOD_S}"))
