"""Rules of FlowSchemas and PriorityLevelConfigurations. Source: pkg/apis/flowcontrol/validation of Kubernetes 1.32. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from skerry.apiserver.schema.rules.common import Causes, Map, duplicate, go_invalid, go_not_supported, go_strings
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, dns_subdomain_error
from skerry.model.objects import Object

EXEMPT = "exempt"
MAX_PRECEDENCE = 10_000
MAX_QUEUES = 10_000_000
MAX_HASH_BITS = 60
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_METHODS = ("ByNamespace", "ByUser")
_SUBJECTS = {"ServiceAccount": "serviceAccount", "Group": "group", "User": "user"}
_NOT_NEGATIVE = "must be a non-negative integer"
_PERCENT = "must be between 0 and 100, inclusive"

_EVERYTHING: Map = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}
_FIXED_SCHEMAS: dict[str, Map] = {
    EXEMPT: {
        "matchingPrecedence": 1,
        "priorityLevelConfiguration": {"name": EXEMPT},
        "rules": [{"subjects": [{"kind": "Group", "group": {"name": "system:masters"}}], **_EVERYTHING}],
    },
    "catch-all": {
        "matchingPrecedence": MAX_PRECEDENCE,
        "priorityLevelConfiguration": {"name": "catch-all"},
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [
            {
                "subjects": [
                    {"kind": "Group", "group": {"name": "system:unauthenticated"}},
                    {"kind": "Group", "group": {"name": "system:authenticated"}},
                ],
                **_EVERYTHING,
            }
        ],
    },
}
_FIXED_LEVELS: dict[str, Map] = {
    "catch-all": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0},
    }
}


def flow_schema(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    _conditions(obj, causes)
    if subresource == "status":
        return
    spec, name = obj.get("spec") or {}, (obj.get("metadata") or {}).get("name") or ""
    precedence, field = spec.get("matchingPrecedence") or 0, "spec.matchingPrecedence"
    if precedence <= 0:
        causes.append(invalid_value(field, precedence, "must be a positive value"))
    elif precedence > MAX_PRECEDENCE:
        causes.append(invalid_value(field, precedence, f"must not be greater than {MAX_PRECEDENCE}"))
    elif precedence == 1 and name != EXEMPT:
        causes.append(invalid_value(field, precedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        shown = f'flowcontrol.FlowDistinguisherMethod{{Type:"{method.get("type") or ""}"}}'
        causes.append(go_not_supported("spec.distinguisherMethod.type", shown, _METHODS))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name")
    if not level:
        causes.append(required("spec.priorityLevelConfiguration.name", "must reference a priority level"))
    elif wrong := dns_subdomain_error(level):
        causes.append(invalid_value("spec.priorityLevelConfiguration.name", level, wrong))
    for i, rule in enumerate(spec.get("rules") or ()):
        _rule(rule, f"spec.rules[{i}]", causes)
    _fixed(_FIXED_SCHEMAS, "flowcontrol.FlowSchemaSpec{...}", name, spec, causes)


def _fixed(specs: dict[str, Map], shown: str, name: str, spec: Map, causes: Causes) -> None:
    if name in specs and spec != specs[name]:
        causes.append(go_invalid("spec", shown, f"spec of '{name}' must equal the fixed value"))


def _conditions(obj: Object, causes: Causes) -> None:
    seen: set[str] = set()
    for i, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        kind, at = condition.get("type") or "", f"status.conditions[{i}].type"
        if kind in seen:
            causes.append(duplicate(at, kind))
        seen.add(kind)
        if not kind:
            causes.append(required(at, "must not be empty"))


def _rule(rule: Map, field: str, causes: Causes) -> None:
    if not rule.get("subjects"):
        causes.append(required(f"{field}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(rule.get("subjects") or ()):
        _subject(subject, f"{field}.subjects[{i}]", causes)
    resources, others = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not others:
        causes.append(required(field, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for i, found in enumerate(resources):
        _resource_rule(found, f"{field}.resourceRules[{i}]", causes)
    for i, found in enumerate(others):
        _url_rule(found, f"{field}.nonResourceRules[{i}]", causes)


def _subject(subject: Map, field: str, causes: Causes) -> None:
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        causes.append(not_supported(f"{field}.kind", kind, sorted(_SUBJECTS)))
        return
    own = _SUBJECTS[kind]
    found = subject.get(own)
    if found is None:
        causes.append(required(f"{field}.{own}", f"{own} is required when subject kind is '{kind}'"))
    else:
        _subject_name(found, kind, f"{field}.{own}", causes)
    for other, name in _SUBJECTS.items():
        if other != kind and subject.get(name) is not None:
            causes.append(forbidden_field(f"{field}.{name}", f"{name} is forbidden when subject kind is not '{other}'"))


def _subject_name(found: Map, kind: str, field: str, causes: Causes) -> None:
    name, namespace = found.get("name") or "", found.get("namespace") or ""
    if not name:
        causes.append(required(f"{field}.name"))
    elif kind == "ServiceAccount" and name != "*" and (wrong := dns_subdomain_error(name)):
        causes.append(invalid_value(f"{field}.name", name, wrong))
    if kind != "ServiceAccount":
        return
    if not namespace:
        causes.append(required(f"{field}.namespace", "must specify namespace for service account"))
    elif wrong := dns_label_error(namespace):
        causes.append(invalid_value(f"{field}.namespace", namespace, wrong))


def _verbs(verbs: Sequence[str], field: str, causes: Causes) -> None:
    if not verbs:
        causes.append(required(field, "verbs must contain at least one value"))
    elif "*" in verbs:
        _alone(verbs, field, "verbs", causes)
    elif not set(verbs) <= set(_VERBS):
        causes.append(go_not_supported(field, go_strings(verbs), _VERBS))


def _alone(values: Sequence[str], field: str, what: str, causes: Causes) -> None:
    if len(values) > 1 and "*" in values:
        causes.append(go_invalid(field, go_strings(values), f"if '*' is present, must not specify other {what}"))


def _resource_rule(rule: Map, field: str, causes: Causes) -> None:
    _verbs(rule.get("verbs") or (), f"{field}.verbs", causes)
    for name, one, many in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        if not rule.get(name):
            causes.append(required(f"{field}.{name}", f"resource rules must supply at least one {one}"))
        _alone(rule.get(name) or (), f"{field}.{name}", many, causes)
    spaces, at = rule.get("namespaces") or (), f"{field}.namespaces"
    if not spaces and not rule.get("clusterScope"):
        causes.append(required(at, "resource rules that are not cluster scoped must supply at least one namespace"))
    elif "*" in spaces:
        _alone(spaces, at, "namespaces", causes)
    else:
        for i, name in enumerate(spaces):
            if wrong := dns_label_error(name):
                why = f"each member of this list must be '*' or a DNS-1123 label; {wrong}"
                causes.append(invalid_value(f"{at}[{i}]", name, why))


def _url_rule(rule: Map, field: str, causes: Causes) -> None:
    _verbs(rule.get("verbs") or (), f"{field}.verbs", causes)
    paths, at = rule.get("nonResourceURLs") or (), f"{field}.nonResourceURLs"
    if not paths:
        causes.append(required(at, "nonResourceURLs must contain at least one value"))
    elif "*" in paths:
        _alone(paths, at, "non-resource URLs", causes)
    else:
        causes.extend(invalid_value(f"{at}[{i}]", p, wrong) for i, p in enumerate(paths) if (wrong := _path_error(p)))


def _path_error(path: str) -> str | None:
    if not path:
        return "must not be empty"
    if not path.startswith("/"):
        return "must start with slash"
    if " " in path:
        return "must not contain white-space"
    if "//" in path:
        return "must not contain double slash"
    if path.count("*") > 1 or ("*" in path and not path.endswith("/*")):
        return "wildcard can only do suffix matching"
    return None


def priority_level_configuration(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    _conditions(obj, causes)
    if subresource == "status":
        return
    spec, name = obj.get("spec") or {}, (obj.get("metadata") or {}).get("name") or ""
    kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    if (name == EXEMPT) is not (kind == "Exempt"):
        causes.append(invalid_value("spec.type", kind, "type must be 'Exempt' if and only if name is 'exempt'"))
    if kind == "Exempt":
        if limited is not None:
            causes.append(forbidden_field("spec.limited", "must be nil if the type is not Limited"))
        if exempt is None:
            causes.append(required("spec.exempt", "must not be empty when type is Exempt"))
        else:
            _shares(exempt, "spec.exempt", causes)
    elif kind == "Limited":
        if exempt is not None:
            causes.append(forbidden_field("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            causes.append(required("spec.limited", "must not be empty when type is Limited"))
        else:
            _limited(limited, "spec.limited", causes)
    else:
        causes.append(not_supported("spec.type", kind, ["Exempt", "Limited"]))
    _fixed(_FIXED_LEVELS, "flowcontrol.PriorityLevelConfigurationSpec{...}", name, spec, causes)


def _shares(found: Map, field: str, causes: Causes) -> None:
    shares = found.get("nominalConcurrencyShares")
    if shares is not None and shares < 0:
        causes.append(invalid_value(f"{field}.nominalConcurrencyShares", shares, _NOT_NEGATIVE))
    _lendable(found, field, causes)


def _lendable(found: Map, field: str, causes: Causes) -> None:
    share = found.get("lendablePercent")
    if share is not None and not 0 <= share <= 100:
        causes.append(invalid_value(f"{field}.lendablePercent", share, _PERCENT))


def _limited(found: Map, field: str, causes: Causes) -> None:
    shares, borrowed = found.get("nominalConcurrencyShares"), found.get("borrowingLimitPercent")
    if shares is not None and shares < 0:
        causes.append(invalid_value(f"{field}.nominalConcurrencyShares", shares, _NOT_NEGATIVE))
    _response(found.get("limitResponse") or {}, f"{field}.limitResponse", causes)
    _lendable(found, field, causes)
    if borrowed is not None and borrowed < 0:
        causes.append(invalid_value(f"{field}.borrowingLimitPercent", borrowed, f"if specified, {_NOT_NEGATIVE}"))


def _response(found: Map, field: str, causes: Causes) -> None:
    kind, queuing = found.get("type") or "", found.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            causes.append(forbidden_field(f"{field}.queuing", "must be nil if limited.limitResponse.type is not Limited"))
    elif kind == "Queue":
        if queuing is None:
            causes.append(required(f"{field}.queuing", "must not be empty if limited.limitResponse.type is Limited"))
        else:
            _queuing(queuing, f"{field}.queuing", causes)
    else:
        causes.append(not_supported(f"{field}.type", kind, ["Queue", "Reject"]))


def _queuing(found: Map, field: str, causes: Causes) -> None:
    values: dict[str, Any] = {name: found.get(name) or 0 for name in ("queueLengthLimit", "queues", "handSize")}
    queues, hand = values["queues"], values["handSize"]
    causes.extend(invalid_value(f"{field}.{n}", v, "must be positive") for n, v in values.items() if v <= 0)
    if queues > MAX_QUEUES:
        causes.append(invalid_value(f"{field}.queues", queues, f"must not be greater than {MAX_QUEUES}"))
    if hand > queues:
        causes.append(invalid_value(f"{field}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif queues > 0 and hand > 0 and math.ceil(math.log2(queues) * hand) > MAX_HASH_BITS:
        why = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        causes.append(invalid_value(f"{field}.handSize", hand, why))
