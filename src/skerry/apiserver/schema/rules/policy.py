"""Rules of who may do what and how: RBAC, leases, runtime and priority classes, budgets, autoscalers, certificates."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.objectmeta import path_segment_error, validate_labels
from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    NOT_NEGATIVE,
    PERCENT_RULE,
    Causes,
    Map,
    dns_label,
    dns_subdomain,
    go_int_or_string,
    go_invalid,
    label_selector,
    not_negative,
    one_of,
)
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.objects import Object

_RBAC = "rbac.authorization.k8s.io"
MAX_ROLE_SELECTORS = 100
"""Each is held against every ClusterRole whenever one changes."""


def role(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    for i, rule in enumerate(obj.get("rules") or ()):
        _rule(rule, f"rules[{i}]", causes, namespaced=True)


def cluster_role(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    for i, rule in enumerate(obj.get("rules") or ()):
        _rule(rule, f"rules[{i}]", causes, namespaced=False)
    aggregation = obj.get("aggregationRule")
    if aggregation is None:
        return
    field, selectors = "aggregationRule.clusterRoleSelectors", aggregation.get("clusterRoleSelectors")
    if not selectors:
        causes.append(required(field, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
    elif len(selectors) > MAX_ROLE_SELECTORS:
        causes.append(Cause(field, "FieldValueTooMany", f"Too many: {len(selectors)}: must have at most {MAX_ROLE_SELECTORS} items"))


def _rule(rule: Map, field: str, causes: Causes, *, namespaced: bool) -> None:
    if not rule.get("verbs"):
        causes.append(required(f"{field}.verbs", "verbs must contain at least one value"))
    if rule.get("nonResourceURLs"):
        if namespaced:
            why = "namespaced rules cannot apply to non-resource URLs"
            causes.append(invalid_value(f"{field}.nonResourceURLs", _strings(rule["nonResourceURLs"]), why))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            causes.append(invalid_value(f"{field}.nonResourceURLs", _strings(rule["nonResourceURLs"]), why))
        return
    if not rule.get("apiGroups"):
        causes.append(required(f"{field}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        causes.append(required(f"{field}.resources", "resource rules must supply at least one resource"))


def _strings(values: list[str]) -> str:
    return ",".join(values)


def role_binding(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    _binding(obj, old, causes, kinds=("Role", "ClusterRole"))


def cluster_role_binding(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    _binding(obj, old, causes, kinds=("ClusterRole",))


def _binding(obj: Object, old: Object | None, causes: Causes, *, kinds: tuple[str, ...]) -> None:
    ref = obj.get("roleRef") or {}
    if ref.get("apiGroup") != _RBAC:
        causes.append(not_supported("roleRef.apiGroup", ref.get("apiGroup") or "", [_RBAC]))
    one_of(ref.get("kind") or "", kinds, "roleRef.kind", causes)
    if not ref.get("name"):
        causes.append(required("roleRef.name"))
    elif wrong := path_segment_error(ref["name"]):
        causes.append(invalid_value("roleRef.name", ref["name"], wrong))
    for i, subject in enumerate(obj.get("subjects") or ()):
        _subject(subject, f"subjects[{i}]", causes, needs_namespace=len(kinds) == 1)
    if old is not None and ref != old.get("roleRef"):
        shown = f'rbac.RoleRef{{APIGroup:"{ref.get("apiGroup", "")}", Kind:"{ref.get("kind", "")}", Name:"{ref.get("name", "")}"}}'
        causes.append(go_invalid("roleRef", shown, "cannot change roleRef"))


def _subject(subject: Map, field: str, causes: Causes, *, needs_namespace: bool) -> None:
    if not subject.get("name"):
        causes.append(required(f"{field}.name"))
    kind, group = subject.get("kind"), subject.get("apiGroup") or ""
    if kind == "ServiceAccount":
        if group:
            causes.append(not_supported(f"{field}.apiGroup", group, [""]))
        if needs_namespace and not subject.get("namespace"):
            causes.append(required(f"{field}.namespace"))
    elif kind in ("User", "Group"):
        if group != _RBAC:
            causes.append(not_supported(f"{field}.apiGroup", group, [_RBAC]))
    else:
        causes.append(not_supported(f"{field}.kind", kind or "", ["ServiceAccount", "User", "Group"]))


def lease(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        causes.append(invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    not_negative(spec, ("leaseTransitions",), "spec", causes)
    if spec.get("holderIdentity") == "":
        causes.append(invalid_value("spec.holderIdentity", "", "must not be empty"))


def runtime_class(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    dns_label(obj.get("handler"), "handler", causes)
    if old is not None and obj.get("handler") != old.get("handler"):
        causes.append(invalid_value("handler", obj.get("handler"), IMMUTABLE))
    scheduling = obj.get("scheduling") or {}
    validate_labels(scheduling.get("nodeSelector"), causes, "scheduling.nodeSelector")


SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def priority_class(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    value, name = obj.get("value", 0), (obj.get("metadata") or {}).get("name", "")
    if name.startswith("system-"):
        if SYSTEM_CLASSES.get(name) != value:
            why = "priority class names with 'system-' prefix are reserved for system use only. error: "
            causes.append(forbidden_field("metadata.name", f"{why}{name} is not a known system priority class"))
    elif value > 1_000_000_000:
        why = f"maximum allowed value of a user defined priority is {1_000_000_000}"
        causes.append(forbidden_field("value", why))
    one_of(obj.get("preemptionPolicy"), ("Never", "PreemptLowerPriority"), "preemptionPolicy", causes)
    if old is not None:
        causes.extend(
            forbidden_field(f, "may not be changed in an update.") for f in ("value", "preemptionPolicy") if obj.get(f) != old.get(f)
        )


def pod_disruption_budget(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        shown = "policy.PodDisruptionBudgetSpec{...}"
        causes.append(go_invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        amount = spec.get(name)
        if isinstance(amount, str):
            share = amount.removesuffix("%")
            if not amount.endswith("%") or not (share.isascii() and share.isdigit()):
                causes.append(go_invalid(f"spec.{name}", go_int_or_string(amount), PERCENT_RULE))
            elif int(share[:9]) > 100:
                causes.append(go_invalid(f"spec.{name}", go_int_or_string(amount), "must not be greater than 100%"))
        elif isinstance(amount, int) and amount < 0:
            causes.append(invalid_value(f"spec.{name}", amount, NOT_NEGATIVE))
    label_selector(spec.get("selector"), "spec.selector", causes)
    evicted = spec.get("unhealthyPodEvictionPolicy")
    one_of(evicted, ("AlwaysAllow", "IfHealthyBudget"), "spec.unhealthyPodEvictionPolicy", causes, optional=True)


def horizontal_pod_autoscaler(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj.get("spec") or {}
    low, high = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if low is not None and low < 1:
        causes.append(invalid_value("spec.minReplicas", low, "must be greater than or equal to 1"))
    if high < 1:
        causes.append(invalid_value("spec.maxReplicas", high, "must be greater than 0"))
    elif low is not None and high < low:
        causes.append(invalid_value("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    ref = spec.get("scaleTargetRef") or {}
    causes.extend(required(f"spec.scaleTargetRef.{n}") for n in ("kind", "name") if not ref.get(n))
    for i, metric in enumerate(spec.get("metrics") or ()):
        _metric(metric, f"spec.metrics[{i}]", causes)


_METRICS = {
    "ContainerResource": "containerResource", "External": "external", "Object": "object", "Pods": "pods", "Resource": "resource",
}  # fmt: skip


def _metric(metric: Map, field: str, causes: Causes) -> None:
    kind = metric.get("type")
    if not kind:
        causes.append(required(f"{field}.type", "must specify a metric source type"))
    elif kind not in _METRICS:
        causes.append(not_supported(f"{field}.type", kind, list(_METRICS)))
    elif metric.get(_METRICS[kind]) is None:
        causes.append(required(f"{field}.{_METRICS[kind]}", "must populate information for the given metric source"))
    elif kind in ("Resource", "ContainerResource"):
        target = metric[_METRICS[kind]].get("target") or {}
        if target.get("averageUtilization") is None and target.get("averageValue") is None:
            at = f"{field}.{_METRICS[kind]}.target.averageUtilization"
            causes.append(required(at, "must set either a target raw value or a target utilization"))


def certificate_signing_request(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    causes.extend(required(f"spec.{n}") for n in ("request", "signerName", "usages") if not spec.get(n))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        causes.append(invalid_value("spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"))
    words: list[Any] = [c.get("type") for c in (obj.get("status") or {}).get("conditions") or ()]
    if "Approved" in words and "Denied" in words:
        causes.append(invalid_value("status.conditions", "Approved,Denied", "Approved and Denied conditions are mutually exclusive"))


def webhooks(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    """Check Validating- and MutatingWebhookConfiguration."""
    for i, hook in enumerate(obj.get("webhooks") or ()):
        at = f"webhooks[{i}]"
        dns_subdomain(hook.get("name"), f"{at}.name", causes)
        if len(str(hook.get("name") or "").split(".")) < 3:
            why = "should be a domain with at least three segments separated by dots"
            causes.append(invalid_value(f"{at}.name", hook.get("name") or "", why))
        if not hook.get("admissionReviewVersions"):
            causes.append(required(f"{at}.admissionReviewVersions", "must specify one of v1, v1beta1"))
        one_of(hook.get("sideEffects"), ("None", "NoneOnDryRun"), f"{at}.sideEffects", causes)
        client = hook.get("clientConfig") or {}
        if bool(client.get("url")) is (client.get("service") is not None):
            causes.append(required(f"{at}.clientConfig", "exactly one of url or service is required"))


validating_webhook_configuration = webhooks
mutating_webhook_configuration = webhooks
