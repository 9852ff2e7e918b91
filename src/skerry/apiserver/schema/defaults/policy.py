"""Defaults of who may do what, when and how: RBAC, admission, priorities, autoscaling, and what extends the API."""

from __future__ import annotations

import copy
from typing import Any

from skerry.apiserver.schema.autoscalers import METRICS, V1
from skerry.model.objects import Object

_RBAC = "rbac.authorization.k8s.io"


def role_binding(obj: Object) -> None:
    obj.setdefault("roleRef", {}).setdefault("apiGroup", _RBAC)
    if not obj["roleRef"]["apiGroup"]:
        obj["roleRef"]["apiGroup"] = _RBAC
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", _RBAC)


cluster_role_binding = role_binding


def validating_webhook_configuration(obj: Object) -> None:
    for webhook in obj.get("webhooks") or ():
        _webhook(webhook)


def mutating_webhook_configuration(obj: Object) -> None:
    for webhook in obj.get("webhooks") or ():
        _webhook(webhook)
        webhook.setdefault("reinvocationPolicy", "Never")


def _webhook(webhook: dict[str, Any]) -> None:
    webhook.setdefault("failurePolicy", "Fail")
    webhook.setdefault("matchPolicy", "Equivalent")
    webhook.setdefault("namespaceSelector", {})
    webhook.setdefault("objectSelector", {})
    webhook.setdefault("timeoutSeconds", 10)
    _scopes(webhook.get("rules"))
    target = (webhook.get("clientConfig") or {}).get("service")
    if target is not None:
        target.setdefault("port", 443)


def _scopes(rules: Any) -> None:
    for rule in rules or ():
        rule.setdefault("scope", "*")


def validating_admission_policy(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("failurePolicy", "Fail")
    _match(spec.get("matchConstraints"))


def validating_admission_policy_binding(obj: Object) -> None:
    spec = obj["spec"]
    _match(spec.get("matchResources"))
    if spec.get("paramRef") is not None:
        spec["paramRef"].setdefault("parameterNotFoundAction", "Deny")


def _match(match: dict[str, Any] | None) -> None:
    if match is None:
        return
    match.setdefault("matchPolicy", "Equivalent")
    match.setdefault("namespaceSelector", {})
    match.setdefault("objectSelector", {})
    _scopes(match.get("resourceRules"))
    _scopes(match.get("excludeResourceRules"))


def priority_class(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def flow_schema(obj: Object) -> None:
    spec = obj["spec"]
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


_QUEUING = {"handSize": 8, "queues": 64, "queueLengthLimit": 50}


def priority_level_configuration(obj: Object) -> None:
    spec = obj["spec"]
    limited, exempt = spec.get("limited"), spec.get("exempt")
    if exempt is not None:
        exempt.setdefault("nominalConcurrencyShares", 0)
        exempt.setdefault("lendablePercent", 0)
    if limited is not None:
        limited.setdefault("nominalConcurrencyShares", 30)
        limited.setdefault("lendablePercent", 0)
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            queuing |= {name: value for name, value in _QUEUING.items() if not queuing.get(name)}


def apiservice(obj: Object) -> None:
    target = obj["spec"].get("service")
    if target is not None:
        target.setdefault("port", 443)


_SCALING: dict[str, dict[str, Any]] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}],
    },
    "scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
}


def horizontal_pod_autoscaler(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("minReplicas", 1)
    if obj.get("apiVersion") == V1:
        if METRICS not in (obj["metadata"].get("annotations") or {}):
            spec.setdefault("targetCPUUtilizationPercentage", 80)
    elif not spec.get("metrics"):
        target = {"averageUtilization": 80, "type": "Utilization"}
        spec["metrics"] = [{"resource": {"name": "cpu", "target": target}, "type": "Resource"}]
    behavior = spec.get("behavior")
    if behavior is not None:
        for way, rules in _SCALING.items():
            behavior[way] = {**copy.deepcopy(rules), **{k: v for k, v in (behavior.get(way) or {}).items() if v is not None}}


def custom_resource_definition(obj: Object) -> None:
    """Complete a CRD: names that follow from the kind, no conversion, the storage version remembered."""
    spec = obj["spec"]
    names = spec["names"]
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
    conversion = spec.setdefault("conversion", {})
    conversion.setdefault("strategy", "None")
    service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)
    status = obj.setdefault("status", {})
    storage = [v["name"] for v in spec.get("versions") or () if v.get("storage") and v.get("name")]
    if storage and not status.get("storedVersions"):
        status["storedVersions"] = storage[:1]
    status.setdefault("acceptedNames", {"kind": "", "plural": ""})
