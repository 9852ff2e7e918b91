"""Rules of who may do what and how: RBAC, leases, runtime and priority classes, budgets, certificates.

Source: pkg/apis/{rbac,coordination,node,scheduling,policy,certificates}/validation of Kubernetes 1.32.
"""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.objectmeta import path_segment_error, validate_labels
from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    NOT_NEGATIVE,
    PERCENT_RULE,
    Causes,
    Map,
    duplicate,
    go_int_or_string,
    go_invalid,
    go_strings,
    label_selector,
    not_negative,
    one_of,
)
from skerry.apiserver.schema.rules.containers import resources
from skerry.apiserver.schema.rules.scheduling import go_toleration, toleration
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, dns_subdomain_error
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
    for i, selector in enumerate((selectors or ())[:MAX_ROLE_SELECTORS]):
        label_selector(selector, f"{field}[{i}]", causes)


def _rule(rule: Map, field: str, causes: Causes, *, namespaced: bool) -> None:
    if not rule.get("verbs"):
        causes.append(required(f"{field}.verbs", "verbs must contain at least one value"))
    if rule.get("nonResourceURLs"):
        if namespaced:
            why = "namespaced rules cannot apply to non-resource URLs"
            causes.append(go_invalid(f"{field}.nonResourceURLs", go_strings(rule["nonResourceURLs"]), why))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            causes.append(go_invalid(f"{field}.nonResourceURLs", go_strings(rule["nonResourceURLs"]), why))
        return
    if not rule.get("apiGroups"):
        causes.append(required(f"{field}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        causes.append(required(f"{field}.resources", "resource rules must supply at least one resource"))


def role_binding(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    _binding(obj, old, causes, kinds=("Role", "ClusterRole"))


def cluster_role_binding(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    _binding(obj, old, causes, kinds=("ClusterRole",))


def _binding(obj: Object, old: Object | None, causes: Causes, *, kinds: tuple[str, ...]) -> None:
    ref = obj.get("roleRef") or {}
    if ref.get("apiGroup") != _RBAC:
        causes.append(not_supported("roleRef.apiGroup", ref.get("apiGroup") or "", [_RBAC]))
    if ref.get("kind") not in kinds:
        causes.append(not_supported("roleRef.kind", ref.get("kind") or "", list(kinds)))
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
        if subject.get("name") and (wrong := dns_subdomain_error(subject["name"])):
            causes.append(invalid_value(f"{field}.name", subject["name"], wrong))
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


def runtime_class(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    handler, scheduling = obj.get("handler") or "", obj.get("scheduling") or {}
    if wrong := dns_label_error(handler):
        causes.append(invalid_value("handler", handler, wrong))
    resources({"limits": (obj.get("overhead") or {}).get("podFixed") or {}}, "overhead", causes)
    validate_labels(scheduling.get("nodeSelector"), causes, "scheduling.nodeSelector")
    seen: set[tuple[Any, ...]] = set()
    for i, found in enumerate(scheduling.get("tolerations") or ()):
        at, key = f"scheduling.tolerations[{i}]", tuple(found.get(n) for n in ("key", "operator", "value", "effect"))
        toleration(found, at, causes)
        if key in seen:
            causes.append(Cause(at, "FieldValueDuplicate", f"Duplicate value: {go_toleration(found)}"))
        seen.add(key)
    if old is not None and handler != old.get("handler"):
        causes.append(invalid_value("handler", handler, IMMUTABLE))


SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def priority_class(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    value, name = obj.get("value", 0), (obj.get("metadata") or {}).get("name", "")
    if name.startswith("system-"):
        if wrong := _system_class_error(name, value, bool(obj.get("globalDefault"))):
            why = f"priority class names with 'system-' prefix are reserved for system use only. error: {wrong}"
            causes.append(forbidden_field("metadata.name", why))
    elif value > 1_000_000_000:
        why = f"maximum allowed value of a user defined priority is {1_000_000_000}"
        causes.append(forbidden_field("value", why))
    one_of(obj.get("preemptionPolicy"), ("PreemptLowerPriority", "Never"), "preemptionPolicy", causes)
    if old is not None:
        if value != old.get("value", 0):
            causes.append(forbidden_field("value", "may not be changed in an update."))
        if obj.get("preemptionPolicy") != old.get("preemptionPolicy"):
            causes.append(invalid_value("preemptionPolicy", obj.get("preemptionPolicy"), IMMUTABLE))


def _system_class_error(name: str, value: int, everybodys: bool) -> str:
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if everybodys else ""


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


def certificate_signing_request(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    causes.extend(required(f"spec.{n}") for n in ("request", "signerName", "usages") if not spec.get(n))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        causes.append(invalid_value("spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"))
    _decisions((obj.get("status") or {}).get("conditions") or (), causes)


def _decisions(conditions: Any, causes: Causes) -> None:
    words: list[str] = [c.get("type") or "" for c in conditions]
    for i, condition in enumerate(conditions):
        at, kind, status = f"status.conditions[{i}]", words[i], condition.get("status") or ""
        known = ["True"] if kind in ("Approved", "Denied", "Failed") else ["False", "True", "Unknown"]
        if not kind:
            causes.append(required(f"{at}.type"))
        if not status:
            causes.append(required(f"{at}.status"))
        elif status not in known:
            causes.append(not_supported(f"{at}.status", status, known))
        opposite = {"Approved": "Denied", "Denied": "Approved"}.get(kind)
        if opposite in words[:i]:
            causes.append(invalid_value(f"{at}.type", kind, "Approved and Denied conditions are mutually exclusive"))
        if kind in words[:i]:
            causes.append(duplicate(f"{at}.type", kind))
