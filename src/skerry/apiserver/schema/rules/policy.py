"""Rules of who may do what and how: RBAC, leases, runtime and priority classes, budgets, networking, certificates."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.objectmeta import path_segment_error, validate_labels
from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    NOT_NEGATIVE,
    Causes,
    Map,
    dns_label,
    dns_subdomain,
    go_invalid,
    label_selector,
    not_negative,
    one_of,
)
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.objects import Object

_RBAC = "rbac.authorization.k8s.io"


def role(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    for i, rule in enumerate(obj.get("rules") or ()):
        _rule(rule, f"rules[{i}]", causes, namespaced=True)


def cluster_role(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    for i, rule in enumerate(obj.get("rules") or ()):
        _rule(rule, f"rules[{i}]", causes, namespaced=False)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None and not aggregation.get("clusterRoleSelectors"):
        causes.append(
            required("aggregationRule.clusterRoleSelectors", "at least one clusterRoleSelector required if aggregationRule is non-nil")
        )


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


def storage_class(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if not obj.get("provisioner"):
        causes.append(required("provisioner"))
    one_of(obj.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"), "volumeBindingMode", causes)
    one_of(obj.get("reclaimPolicy"), ("Delete", "Retain"), "reclaimPolicy", causes)
    if old is not None:
        fixed = ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode")
        causes.extend(forbidden_field(f, f"updates to {f} are forbidden.") for f in fixed if obj.get(f) != old.get(f))


def pod_disruption_budget(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        shown = "policy.PodDisruptionBudgetSpec{...}"
        causes.append(go_invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        amount = spec.get(name)
        if isinstance(amount, str) and amount.endswith("%") and amount[:-1].isdigit() and int(amount[:-1]) > 100:
            causes.append(invalid_value(f"spec.{name}", amount, "must not be greater than 100%"))
        elif isinstance(amount, int) and amount < 0:
            causes.append(invalid_value(f"spec.{name}", amount, NOT_NEGATIVE))
    label_selector(spec.get("selector"), "spec.selector", causes)


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


def ingress(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj.get("spec") or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        causes.append(invalid_value("spec", [], "either `defaultBackend` or `rules` must be specified"))
    for i, rule in enumerate(spec.get("rules") or ()):
        host = rule.get("host")
        if host and not host.startswith("*."):
            dns_subdomain(host, f"spec.rules[{i}].host", causes)
        for j, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            _ingress_path(path, f"spec.rules[{i}].http.paths[{j}]", causes)


def _ingress_path(path: Map, field: str, causes: Causes) -> None:
    kind = path.get("pathType")
    if not kind:
        causes.append(required(f"{field}.pathType", "pathType must be specified"))
    elif kind not in ("Exact", "ImplementationSpecific", "Prefix"):
        causes.append(not_supported(f"{field}.pathType", kind, ["Exact", "ImplementationSpecific", "Prefix"]))
    elif kind != "ImplementationSpecific" and not (path.get("path") or "").startswith("/"):
        causes.append(invalid_value(f"{field}.path", path.get("path") or "", "must be an absolute path"))


def network_policy(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    label_selector(spec.get("podSelector"), "spec.podSelector", causes)
    for i, kind in enumerate(spec.get("policyTypes") or ()):
        one_of(kind, ("Egress", "Ingress"), f"spec.policyTypes[{i}]", causes)


def endpoint_slice(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    one_of(obj.get("addressType"), ("FQDN", "IPv4", "IPv6"), "addressType", causes)
    if old is not None and obj.get("addressType") != old.get("addressType"):
        causes.append(invalid_value("addressType", obj.get("addressType"), IMMUTABLE))
    for i, endpoint in enumerate(obj.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            causes.append(required(f"endpoints[{i}].addresses", "must contain at least 1 address"))


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
