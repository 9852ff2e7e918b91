"""Rules of ResourceQuotas and LimitRanges. Source: pkg/apis/core/validation of Kubernetes 1.32. Pure."""

from __future__ import annotations

from skerry.apiserver.schema.rules.amounts import COMPUTE, OF_QUOTAS, container_resource, quota_resource, resource_name
from skerry.apiserver.schema.rules.common import NOT_NEGATIVE, Causes, Map, amount, duplicate, go_invalid
from skerry.model.errors import Cause, forbidden_field, invalid_value, required
from skerry.model.names import qualified_name_error
from skerry.model.objects import Object

QUOTA_SCOPES = ("BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating")
_CONFLICTS = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_EXIST = (
    "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
MAX_NAMES = 1_000
"""Resources in one list: each is counted again whenever an object of the namespace changes."""
_FRACTIONS = ("cpu", "memory", "storage")
_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")


def resource_quota(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    hard = spec.get("hard") or {}
    if len(hard) > MAX_NAMES:
        causes.append(_too_many("spec.hard", hard))
        return
    for name, text in hard.items():
        quota_resource(name, f"spec.hard[{name}]", causes)
        _whole_amount(name, text, f"spec.hard[{name}]", causes)
    if spec.get("scopes"):
        _scopes(spec["scopes"], hard, "spec.scopes", causes)
    for term in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        _scope_term(term, hard, "spec.scopeSelector.matchExpressions", causes)
    if old is not None and set(spec.get("scopes") or ()) != set((old.get("spec") or {}).get("scopes") or ()):
        causes.append(go_invalid("spec.scopes", _shown(spec.get("scopes") or []), "field is immutable"))


def _too_many(field: str, found: Map) -> Cause:
    return Cause(field, "FieldValueTooMany", f"Too many: {len(found)}: must have at most {MAX_NAMES} items")


def _shown(scopes: list[str]) -> str:
    return "[]core.ResourceQuotaScope{" + ", ".join(f'"{s}"' for s in scopes) + "}" if scopes else "[]core.ResourceQuotaScope(nil)"


def _scopes(scopes: list[str], hard: Map, field: str, causes: Causes) -> None:
    for scope in dict.fromkeys(scopes):
        if scope not in QUOTA_SCOPES:
            causes.append(go_invalid(field, _shown(scopes), "unsupported scope"))
        elif any(not _in_scope(name, scope) for name in hard if name in OF_QUOTAS):
            causes.append(go_invalid(field, _shown(scopes), "unsupported scope applied to resource"))
    causes.extend(go_invalid(field, _shown(scopes), "conflicting scopes") for pair in _CONFLICTS if pair <= set(scopes))


def _in_scope(name: str, scope: str) -> bool:
    """Return whether Pods of a scope can be counted as this."""
    return name == "pods" or (name in COMPUTE and scope != "BestEffort")


def _scope_term(term: Map, hard: Map, field: str, causes: Causes) -> None:
    scope, operator, values = term.get("scopeName") or "", term.get("operator") or "", term.get("values") or []
    if scope not in QUOTA_SCOPES:
        causes.append(invalid_value(f"{field}.scopeName", scope, "unsupported scope"))
    elif any(not _in_scope(name, scope) for name in hard if name in OF_QUOTAS):
        causes.append(go_invalid(field, "core.ScopeSelector{...}", "unsupported scope applied to resource"))
    if scope in QUOTA_SCOPES and scope != "PriorityClass" and operator != "Exists":
        causes.append(invalid_value(f"{field}.operator", operator, _EXIST))
    if operator in ("In", "NotIn"):
        if not values:
            causes.append(required(f"{field}.values", "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            shown = "[]string{" + ", ".join(f'"{v}"' for v in values) + "}"
            why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            causes.append(go_invalid(f"{field}.values", shown, why))
    else:
        causes.append(invalid_value(f"{field}.operator", operator, "not a valid selector operator"))


def _whole_amount(name: str, text: str, field: str, causes: Causes) -> None:
    value = amount(text)
    if value < 0:
        causes.append(invalid_value(field, text, NOT_NEGATIVE))
    elif value != value.to_integral_value() and not any(f in name for f in _FRACTIONS):
        causes.append(invalid_value(field, text, "must be an integer"))


def limit_range(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    seen: set[str] = set()
    for i, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
        kind, at = limit.get("type") or "", f"spec.limits[{i}]"
        if wrong := qualified_name_error(kind):
            causes.append(invalid_value(f"{at}.type", kind, wrong))
        elif "/" not in kind and kind not in _LIMIT_TYPES:
            causes.append(invalid_value(f"{at}.type", kind, "must be a standard limit type or fully qualified"))
        if kind in seen:
            causes.append(duplicate(f"{at}.type", kind))
        seen.add(kind)
        _limited(limit, kind, at, causes)
        _limits_in_order(limit, at, causes)


def _limited(limit: Map, kind: str, field: str, causes: Causes) -> None:
    check = container_resource if kind in ("Pod", "Container") else resource_name
    for name in ("default", "defaultRequest"):
        if kind == "Pod" and limit.get(name):
            causes.append(forbidden_field(f"{field}.{name}", "may not be specified when `type` is 'Pod'"))
    for where in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
        if len(limit.get(where) or ()) > MAX_NAMES:
            causes.append(_too_many(f"{field}.{where}", limit[where]))
        for name in limit.get(where) or ():
            check(name, f"{field}.{where}[{name}]", causes)
    if kind == "PersistentVolumeClaim" and not any("storage" in (limit.get(n) or {}) for n in ("min", "max")):
        causes.append(required(f"{field}.limits", "either minimum or maximum storage value is required, but neither was provided"))


_ORDER = (
    ("min", "min", "max", "max", "min", "min"),
    ("min", "min", "defaultRequest", "default request", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default request", "max", "max", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default request", "default", "default limit", "defaultRequest", "defaultRequest"),
    ("min", "min", "default", "default", "default", "min"),
    ("default", "default", "max", "max", "default", "max"),
)
"""Which amount may not be greater than which, what the two are called, at which field that is said, and whose value is shown."""


def _limits_in_order(limit: Map, field: str, causes: Causes) -> None:
    for low, low_name, high, high_name, said_at, shown in _ORDER:
        for name, text in (limit.get(low) or {}).items():
            other = (limit.get(high) or {}).get(name)
            if other is not None and amount(text) > amount(other):
                why = f"{low_name} value {text} is greater than {high_name} value {other}"
                causes.append(invalid_value(f"{field}.{said_at}[{name}]", limit[shown][name], why))
    for name, text in (limit.get("maxLimitRequestRatio") or {}).items():
        _ratio(limit, name, text, f"{field}.maxLimitRequestRatio[{name}]", causes)


def _ratio(limit: Map, name: str, text: str, field: str, causes: Causes) -> None:
    if amount(text) < 1:
        causes.append(invalid_value(field, text, f"ratio {text} is less than 1"))
    least, most = ((limit.get(n) or {}).get(name) for n in ("min", "max"))
    if least is not None and most is not None and amount(least) > 0 and amount(text) > amount(most) / amount(least):
        why = f"ratio {text} is greater than max/min = {float(amount(most) / amount(least)):f}"
        causes.append(invalid_value(field, text, why))
