"""Rules of where a Pod may run: affinity, spread, tolerations. Source: pkg/apis/core/validation of Kubernetes 1.32. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skerry.apiserver.schema.rules.common import Causes, Map, duplicate, go_invalid, label_selector, one_of
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, dns_subdomain_error, label_value_error, qualified_name_error

_NOT_POSITIVE = "must be greater than zero"
_NO_OPERATOR = "not a valid selector operator"
_REQUIRED, _PREFERRED = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"


def affinity(found: Map, field: str, causes: Causes) -> None:
    """Check the three kinds of affinity of a Pod."""
    node = found.get("nodeAffinity")
    if node:
        at = f"{field}.nodeAffinity"
        if node.get(_REQUIRED) is not None:
            node_selector(node[_REQUIRED], f"{at}.{_REQUIRED}", causes)
        for i, term in enumerate(node.get(_PREFERRED) or ()):
            here = f"{at}.{_PREFERRED}[{i}]"
            _weight(term, here, causes)
            _node_term(term.get("preference") or {}, f"{here}.preference", causes)
    for name in ("podAffinity", "podAntiAffinity"):
        terms = found.get(name) or {}
        for i, term in enumerate(terms.get(_REQUIRED) or ()):
            _pod_term(term, f"{field}.{name}.{_REQUIRED}[{i}]", causes)
        for i, term in enumerate(terms.get(_PREFERRED) or ()):
            here = f"{field}.{name}.{_PREFERRED}[{i}]"
            _weight(term, here, causes)
            _pod_term(term.get("podAffinityTerm") or {}, f"{here}.podAffinityTerm", causes)


def node_selector(selector: Map, field: str, causes: Causes) -> None:
    """Check a NodeSelector, as Pods and PersistentVolumes have it."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        causes.append(required(f"{field}.nodeSelectorTerms", "must have at least one node selector term"))
    for i, term in enumerate(terms):
        _node_term(term, f"{field}.nodeSelectorTerms[{i}]", causes)


def _node_term(term: Map, field: str, causes: Causes) -> None:
    for i, wanted in enumerate(term.get("matchExpressions") or ()):
        _node_expression(wanted, f"{field}.matchExpressions[{i}]", causes)
    for i, wanted in enumerate(term.get("matchFields") or ()):
        _node_field(wanted, f"{field}.matchFields[{i}]", causes)


def _node_expression(wanted: Map, field: str, causes: Causes) -> None:
    operator, values = wanted.get("operator") or "", wanted.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            causes.append(required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            causes.append(forbidden_field(f"{field}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            causes.append(required(f"{field}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    else:
        causes.append(invalid_value(f"{field}.operator", operator, _NO_OPERATOR))
    _wrong(wanted.get("key") or "", f"{field}.key", qualified_name_error, causes)
    # Values that no label can have match nothing; Kubernetes refuses them from 1.33 on.


def _node_field(wanted: Map, field: str, causes: Causes) -> None:
    operator, values = wanted.get("operator") or "", wanted.get("values") or ()
    if operator not in ("In", "NotIn"):
        causes.append(invalid_value(f"{field}.operator", operator, _NO_OPERATOR))
    elif len(values) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        causes.append(required(f"{field}.values", why))
    if wanted.get("key") != "metadata.name":
        causes.append(invalid_value(f"{field}.key", wanted.get("key") or "", "not a valid field selector key"))
        return
    for i, value in enumerate(values):
        _wrong(value, f"{field}.values[{i}]", dns_subdomain_error, causes)


def _weight(term: Map, field: str, causes: Causes) -> None:
    if not 1 <= (term.get("weight") or 0) <= 100:
        causes.append(invalid_value(f"{field}.weight", term.get("weight") or 0, "must be in the range 1-100"))


def _pod_term(term: Map, field: str, causes: Causes) -> None:
    for name in ("labelSelector", "namespaceSelector"):
        label_selector(term.get(name), f"{field}.{name}", causes)
    for name in term.get("namespaces") or ():
        _wrong(name, f"{field}.namespace", dns_label_error, causes)
    _label_keys(term, field, causes)
    if not term.get("topologyKey"):
        causes.append(required(f"{field}.topologyKey", "can not be empty"))
    _wrong(term.get("topologyKey") or "", f"{field}.topologyKey", qualified_name_error, causes)


def _label_keys(term: Map, field: str, causes: Causes) -> None:
    """Check the labels whose own value a Pod adds to the selector."""
    selector = term.get("labelSelector")
    wanted, unwanted = (term.get(n) or () for n in ("matchLabelKeys", "mismatchLabelKeys"))
    for name, keys in (("matchLabelKeys", wanted), ("mismatchLabelKeys", unwanted)):
        if keys and selector is None:
            causes.append(forbidden_field(f"{field}.{name}", "must not be specified when labelSelector is not set"))
        elif keys:
            for i, key in enumerate(keys):
                _wrong(key, f"{field}.{name}[{i}]", qualified_name_error, causes)
    for i, key in enumerate(wanted):
        if key in unwanted:
            causes.append(invalid_value(f"{field}.matchLabelKeys[{i}]", key, "exists in both matchLabelKeys and mismatchLabelKeys"))


def _wrong(value: str, field: str, error: Callable[[str], str | None], causes: Causes) -> None:
    why = error(value)
    if why:
        causes.append(invalid_value(field, value, why))


def spread_constraints(constraints: Any, field: str, causes: Causes) -> None:
    """Check topologySpreadConstraints, no two of which are about the same."""
    kinds = [(c.get("topologyKey") or "", c.get("whenUnsatisfiable") or "") for c in constraints]
    for i, constraint in enumerate(constraints):
        at, (key, action) = f"{field}[{i}]", kinds[i]
        if (constraint.get("maxSkew") or 0) <= 0:
            causes.append(invalid_value(f"{at}.maxSkew", constraint.get("maxSkew") or 0, _NOT_POSITIVE))
        if not key:
            causes.append(required(f"{at}.topologyKey", "can not be empty"))
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            causes.append(not_supported(f"{at}.whenUnsatisfiable", action, ["DoNotSchedule", "ScheduleAnyway"]))
        if kinds[i] in kinds[i + 1 :]:
            causes.append(duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        _domains(constraint, action, at, causes)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            one_of(constraint.get(name), ("Honor", "Ignore"), f"{at}.{name}", causes, optional=True)
        _spread_keys(constraint, f"{at}.matchLabelKeys", causes)
        label_selector(constraint.get("labelSelector"), f"{at}.labelSelector", causes)


def _spread_keys(constraint: Map, field: str, causes: Causes) -> None:
    keys, selector = constraint.get("matchLabelKeys") or (), constraint.get("labelSelector")
    if keys and selector is None:
        causes.append(forbidden_field(field, "must not be specified when labelSelector is not set"))
    terms = (selector or {}).get("matchExpressions") or ()
    taken = {*((selector or {}).get("matchLabels") or ()), *(t.get("key") for t in terms)}
    for i, key in enumerate(keys):
        _wrong(key, f"{field}[{i}]", qualified_name_error, causes)
        if key in taken:
            causes.append(invalid_value(f"{field}[{i}]", key, "exists in both matchLabelKeys and labelSelector"))


def _domains(constraint: Map, action: str, field: str, causes: Causes) -> None:
    least = constraint.get("minDomains")
    if least is None:
        return
    if least <= 0:
        causes.append(invalid_value(f"{field}.minDomains", least, _NOT_POSITIVE))
    if action != "DoNotSchedule":
        why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        causes.append(invalid_value(f"{field}.minDomains", least, why))


def toleration(t: Map, field: str, causes: Causes) -> None:
    """Check one toleration."""
    key, operator = t.get("key") or "", t.get("operator") or "Equal"
    if key:
        _wrong(key, f"{field}.key", qualified_name_error, causes)
    elif operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        causes.append(invalid_value(f"{field}.operator", t.get("operator") or "", why))
    if t.get("tolerationSeconds") is not None and t.get("effect") != "NoExecute":
        causes.append(invalid_value(f"{field}.effect", t.get("effect") or "", "effect must be 'NoExecute' when `tolerationSeconds` is set"))
    if operator == "Equal":
        _wrong(t.get("value") or "", f"{field}.operator", label_value_error, causes)
    elif operator == "Exists":
        if t.get("value"):
            causes.append(go_invalid(f"{field}.operator", go_toleration(t), "value must be empty when `operator` is 'Exists'"))
    else:
        one_of(operator, ("Equal", "Exists"), f"{field}.operator", causes)
    one_of(t.get("effect"), ("NoSchedule", "PreferNoSchedule", "NoExecute"), f"{field}.effect", causes, optional=True)


def go_toleration(t: Map) -> str:
    """Return a toleration as Go prints it."""
    said = ", ".join(f'{n.capitalize()}:"{t.get(n) or ""}"' for n in ("key", "operator", "value", "effect"))
    seconds = "(*int64)(nil)" if t.get("tolerationSeconds") is None else "(*int64)(0x0)"
    return f"core.Toleration{{{said}, TolerationSeconds:{seconds}}}"
