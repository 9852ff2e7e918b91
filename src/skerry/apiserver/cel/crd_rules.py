"""What is wrong with the rules of a CRD: said when it is made, so that no object meets a rule that cannot run.

Source: apiextensions-apiserver/pkg/apis/apiextensions/validation (ValidateCustomResourceDefinitionOpenAPISchema) of Kubernetes 1.32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.apiserver.cel.costs import MOST, estimate
from skerry.apiserver.cel.declarations import MAX_REQUEST, Declaration, declare, escape, is_resource
from skerry.apiserver.cel.errors import CelSyntaxError
from skerry.apiserver.cel.paths import field_path_error
from skerry.apiserver.cel.program import CelProgram
from skerry.apiserver.cel.rules import OLD, variables
from skerry.apiserver.cel.types import BOOL, STRING
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required

PER_RULE, PER_SCHEMA = 10_000_000, 100_000_000
"""Estimated cost units that a rule, and all rules of a schema, may have, as in Kubernetes."""
MAX_RULES = 350
MAX_TEXT = 64 * 1024
"""Characters of all rules of a schema: compiling so many takes some 100 ms, in which nothing else is done."""
_REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
_KEY = "x-kubernetes-validations"
_Schema = Mapping[str, Any]


class _Totals(msgspec.Struct):
    """What all rules of a schema cost together, and the most expensive of them."""

    causes: list[Cause]
    cost: int = 0
    rules: int = 0
    expensive: list[tuple[int, str]] = msgspec.field(default_factory=list)

    def add(self, at: str, cost: int) -> None:
        self.cost = min(self.cost + cost, MOST)
        self.expensive = sorted([*self.expensive, (-cost, at)])[:4]


def rule_causes(schema: _Schema, at: str, *, root_at: str) -> list[Cause]:
    """Return what is wrong with every rule of *schema*, whose place in the CRD is *at*."""
    length = _length(schema)
    if length > MAX_TEXT:
        return [forbidden_field(root_at, f"{_KEY} have {length} characters in all, the limit is {MAX_TEXT}")]
    totals = _Totals([])
    _walk(schema, declare(schema, root=True), at, 1, totals, correlatable="")
    if totals.cost > PER_SCHEMA:
        why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        totals.causes += [forbidden_field(place, why) for cost, place in totals.expensive if -cost > PER_SCHEMA // 100]
        name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        totals.causes.append(forbidden_field(root_at, _too_expensive(name, totals.cost, PER_SCHEMA)))
    return totals.causes


def _length(schema: Any) -> int:
    if not isinstance(schema, Mapping):
        return 0
    own = sum(len(str(r.get("rule") or "")) + len(str(r.get("messageExpression") or "")) for r in schema.get(_KEY) or ())
    parts = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return own + sum(map(_length, parts))


def _walk(schema: _Schema, of: Declaration | None, at: str, times: int | None, totals: _Totals, *, correlatable: str) -> None:
    """Check the rules of a schema and below. *times* is how many values it can have in one object, None where nothing bounds them."""
    rules = schema.get(_KEY) or ()
    if rules and of is None:
        why = (
            "rules are not allowed on a schema without a type that rules can know: "
            f"type '{schema.get('type', '')}' x-kubernetes-preserve-unknown-fields: "
            f"'{str(bool(schema.get('x-kubernetes-preserve-unknown-fields'))).lower()}'"
        )
        totals.causes.append(Cause(f"{at}.{_KEY}", "FieldValueInvalid", f"Invalid value: {why}"))
    for i, rule in enumerate(rules):
        totals.rules += 1
        if totals.rules > MAX_RULES:
            totals.causes.append(forbidden_field(f"{at}.{_KEY}", f"a schema may have {MAX_RULES} rules at most"))
            return
        if of is not None:
            _rule(rule, schema, of, f"{at}.{_KEY}[{i}]", times, totals, correlatable=correlatable)
    for name, part in sorted((schema.get("properties") or {}).items()):
        escaped = escape(name)
        inner = of.fields.get(escaped) if of is not None and escaped else declare(part, root=is_resource(part), name=name)
        if isinstance(part, Mapping):
            _walk(part, inner, f"{at}.properties[{name}]", times, totals, correlatable=correlatable)
    for key in ("items", "additionalProperties"):
        part = schema.get(key)
        if isinstance(part, Mapping):
            most = schema.get("maxItems" if key == "items" else "maxProperties")
            more = None if times is None or most is None else min(times * max(most, 0), MOST)
            lost = key == "items" and schema.get("x-kubernetes-list-type") != "map"
            inner = of.element if of is not None else None
            where = f"{at}.{key}"
            _walk(part, inner, where, more, totals, correlatable=correlatable or (at if lost else ""))


def _rule(
    rule: Mapping[str, Any], schema: _Schema, of: Declaration, at: str, times: int | None, totals: _Totals, *, correlatable: str
) -> None:
    causes = totals.causes
    if not str(rule.get("rule") or "").strip():
        causes.append(required(f"{at}.rule", "rule is not specified"))
        return
    _texts(rule, schema, at, causes)
    names = variables(of, rule)
    program = _compiled(rule, "rule", names, at, causes)
    if program is not None:
        if program.type != BOOL:
            causes.append(_invalid(rule, f"{at}.rule", "cel expression must evaluate to a bool"))
        # Where nothing else bounds the values, a request does: it holds so many of the smallest.
        most = times if times is not None else MAX_REQUEST // (of.min_size + 1)
        _cost(program, names, f"{at}.rule", "estimated rule cost", most, totals)
        if correlatable and OLD in program.uses:
            why = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {correlatable}"
            causes.append(invalid_value(f"{at}.rule", rule["rule"], why))
        if rule.get("optionalOldSelf") and OLD not in program.uses:
            causes.append(invalid_value(f"{at}.optionalOldSelf", True, "may not be set if oldSelf is not used in rule"))
    if rule.get("messageExpression"):
        message = _compiled(rule, "messageExpression", names, at, causes)
        if message is not None and message.type != STRING:
            causes.append(_invalid(rule, f"{at}.messageExpression", "messageExpression must evaluate to a string"))
        elif message is not None:
            _cost(message, names, f"{at}.messageExpression", "estimated messageExpression cost", 1, totals)


def _texts(rule: Mapping[str, Any], schema: _Schema, at: str, causes: list[Cause]) -> None:
    message = rule.get("message") or ""
    if message and not message.strip():
        causes.append(invalid_value(f"{at}.message", message, "message must be non-empty if specified"))
    elif "\n" in message.strip():
        causes.append(invalid_value(f"{at}.message", message, "message must not contain line breaks"))
    elif "\n" in rule["rule"].strip() and not message:
        causes.append(required(f"{at}.message", "message must be specified if rule contains line breaks"))
    if "messageExpression" in rule and rule["messageExpression"] and not rule["messageExpression"].strip():
        causes.append(required(f"{at}.messageExpression", "messageExpression must be non-empty if specified"))
    reason = rule.get("reason")
    if reason is not None and reason not in _REASONS:
        causes.append(not_supported(f"{at}.reason", reason, list(_REASONS)))
    path = rule.get("fieldPath") or ""
    if path and (why := field_path_error(path, schema)):
        causes.append(invalid_value(f"{at}.fieldPath", path, f"fieldPath must be a valid path: {why}"))


def _compiled(rule: Mapping[str, Any], key: str, names: Mapping[str, Declaration], at: str, causes: list[Cause]) -> CelProgram | None:
    try:
        return CelProgram(rule[key], {name: d.type for name, d in names.items()})
    except CelSyntaxError as error:
        prefix = "compilation failed" if key == "rule" else "messageExpression compilation failed"
        causes.append(_invalid(rule, f"{at}.{key}", f"{prefix}: {error}"))
    return None


def _cost(program: CelProgram, names: Mapping[str, Declaration], at: str, what: str, times: int, totals: _Totals) -> None:
    cost = min(estimate(program.checked, names) * times, MOST)
    if cost > PER_RULE:
        totals.causes.append(forbidden_field(at, _too_expensive(what, cost, PER_RULE)))
    totals.add(at, cost)


def _too_expensive(what: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    hint = "try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared"
    return f"{what} exceeds budget by factor of {shown} ({hint})"


def _invalid(rule: Mapping[str, Any], at: str, why: str) -> Cause:
    """Blame a rule as a real server does, which shows its Go value."""
    quoted = {k: json.dumps(str(rule.get(k) or ""), ensure_ascii=False) for k in ("rule", "message", "messageExpression", "fieldPath")}
    reason = "(*apiextensions.FieldValueErrorReason)(nil)" if not rule.get("reason") else "(*apiextensions.FieldValueErrorReason)(0xc0)"
    optional = "(*bool)(nil)" if rule.get("optionalOldSelf") is None else "(*bool)(0xc0)"
    value = (
        f"apiextensions.ValidationRule{{Rule:{quoted['rule']}, Message:{quoted['message']}, "
        f"MessageExpression:{quoted['messageExpression']}, Reason:{reason}, FieldPath:{quoted['fieldPath']}, OptionalOldSelf:{optional}}}"
    )
    return Cause(at, "FieldValueInvalid", f"Invalid value: {value}: {why}")
