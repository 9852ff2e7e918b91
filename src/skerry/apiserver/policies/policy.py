"""ValidatingAdmissionPolicies and their bindings as they are used: compiled when they change. Pure.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating of Kubernetes 1.32.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from skerry.apiserver.cel import CelProgram, CelSyntaxError
from skerry.apiserver.cel.types import DYN, Type, record
from skerry.apiserver.webhooks.hooks import Condition, condition_causes, expression_causes, selector_causes
from skerry.apiserver.webhooks.matching import LATER, Selectors
from skerry.apiserver.webhooks.variables import CONDITION_TYPES
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.names import qualified_name_error
from skerry.model.objects import Object
from skerry.model.selectors import SelectorError

POLICIES, BINDINGS = f"validatingadmissionpolicies.{LATER}", f"validatingadmissionpolicybindings.{LATER}"
ACTIONS = ("Audit", "Deny", "Warn")
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
MAX_EXPRESSIONS = 256
MAX_TEXT = 64 * 1024
"""Characters of all expressions of a policy: compiling so many takes some 100 ms."""
MAX_VALUE_EXPRESSION = 5 * 1024
_TOO_LONG = f"Too long: may not be more than {MAX_VALUE_EXPRESSION} bytes"
_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


class Validation(msgspec.Struct, frozen=True):
    program: CelProgram
    message: str
    explain: CelProgram | None
    reason: str


class Match(msgspec.Struct, frozen=True):
    """matchConstraints, or a binding's matchResources."""

    rules: Sequence[Mapping[str, Any]]
    excluded: Sequence[Mapping[str, Any]]
    selectors: Selectors
    exact: bool


class Policy(msgspec.Struct, frozen=True):
    name: str
    match: Match
    conditions: tuple[Condition, ...]
    variables: tuple[tuple[str, CelProgram], ...]
    validations: tuple[Validation, ...]
    annotations: tuple[tuple[str, CelProgram], ...]
    """What is noted in the audit log of a write: keys, and what gives their values (a text, or null for none)."""
    fails: bool
    param_kind: tuple[str, str] | None
    """apiVersion and kind of the parameters."""


class Binding(msgspec.Struct, frozen=True):
    name: str
    policy: str
    match: Match | None
    param_ref: Mapping[str, Any] | None
    actions: frozenset[str]


def types_of(spec: Mapping[str, Any], *, variables: Type | None = None) -> dict[str, Type]:
    """Return what expressions of a policy may use."""
    found: dict[str, Type] = {**CONDITION_TYPES, "namespaceObject": DYN}
    if spec.get("paramKind"):
        found["params"] = DYN
    if variables is not None:
        found["variables"] = variables
    return found


def policy_of(obj: Object) -> Policy:
    """Return a stored policy, which compiled when it was stored."""
    spec = obj["spec"]
    variables, types = _variables(spec)
    kind = spec.get("paramKind")
    return Policy(
        name=obj["metadata"]["name"],
        match=match_of(spec.get("matchConstraints") or {}),
        conditions=tuple(Condition(c["name"], CelProgram(c["expression"], types_of(spec))) for c in spec.get("matchConditions") or ()),
        variables=variables,
        validations=tuple(_validation(v, types) for v in spec.get("validations") or ()),
        annotations=tuple((a["key"], CelProgram(a["valueExpression"], types)) for a in spec.get("auditAnnotations") or ()),
        fails=spec.get("failurePolicy") != "Ignore",
        param_kind=(kind.get("apiVersion", ""), kind.get("kind", "")) if kind else None,
    )


def _variables(spec: Mapping[str, Any]) -> tuple[tuple[tuple[str, CelProgram], ...], dict[str, Type]]:
    """Compile the variables, each of which may use those before it."""
    fields: dict[str, Type] = {}
    found = []
    for source in spec.get("variables") or ():
        program = CelProgram(source["expression"], types_of(spec, variables=record("kubernetes.variables", dict(fields))))
        fields[source["name"]] = program.type
        found.append((source["name"], program))
    return tuple(found), types_of(spec, variables=record("kubernetes.variables", fields))


def _validation(source: Mapping[str, Any], types: Mapping[str, Type]) -> Validation:
    explain = source.get("messageExpression")
    return Validation(
        CelProgram(source["expression"], types),
        source.get("message") or "",
        CelProgram(explain, types) if explain else None,
        source.get("reason") or "Invalid",
    )


def match_of(source: Mapping[str, Any]) -> Match:
    try:
        selectors = Selectors.of(source)
    except SelectorError:
        selectors = Selectors(None, None)
    rules, excluded = source.get("resourceRules") or (), source.get("excludeResourceRules") or ()
    return Match(rules, excluded, selectors, source.get("matchPolicy") == "Exact")


def binding_of(obj: Object) -> Binding:
    spec = obj["spec"]
    match = spec.get("matchResources")
    actions = frozenset(spec.get("validationActions") or ())
    return Binding(obj["metadata"]["name"], spec.get("policyName") or "", match_of(match) if match else None, spec.get("paramRef"), actions)


def policy_causes(obj: Object) -> list[Cause]:
    """Return what is wrong with a policy: above all, expressions that do not compile."""
    spec = obj.get("spec") or {}
    causes: list[Cause] = []
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        why = "validations or auditAnnotations must contain at least one item"
        causes += [required("spec.validations", why), required("spec.auditAnnotations", why)]
    for field in ("validations", "variables", "auditAnnotations"):
        if len(spec.get(field) or ()) > MAX_EXPRESSIONS:
            return [Cause(f"spec.{field}", "FieldValueTooMany", f"Too many: must have at most {MAX_EXPRESSIONS} items")]
    parts = [p for field in ("validations", "variables", "matchConditions", "auditAnnotations") for p in spec.get(field) or ()]
    length = sum(len(str(p.get(k) or "")) for p in parts for k in ("expression", "messageExpression", "valueExpression"))
    if length > MAX_TEXT:
        return [forbidden_field("spec", f"the expressions have {length} characters in all, the limit is {MAX_TEXT}")]
    constraints = spec.get("matchConstraints")
    if constraints is None:
        causes.append(required("spec.matchConstraints"))
    elif not constraints.get("resourceRules"):
        causes.append(required("spec.matchConstraints.resourceRules"))
    else:
        causes += selector_causes(constraints, "spec.matchConstraints")
    kind = spec.get("paramKind")
    if kind is not None:
        causes += [required(f"spec.paramKind.{k}") for k in ("apiVersion", "kind") if not kind.get(k)]
    causes += condition_causes(spec.get("matchConditions"), "spec.matchConditions", types_of(spec))
    causes += _variable_causes(spec)
    if not causes:
        _, types = _variables(spec)
        causes += _validation_causes(spec, types)
        causes += _annotation_causes(obj["metadata"].get("name") or "", spec, types)
    return causes


def _variable_causes(spec: Mapping[str, Any]) -> list[Cause]:
    causes: list[Cause] = []
    names: set[str] = set()
    for i, variable in enumerate(spec.get("variables") or ()):
        at, name = f"spec.variables[{i}]", variable.get("name") or ""
        if not name:
            causes.append(required(f"{at}.name"))
        elif not _IDENTIFIER.fullmatch(name):
            causes.append(invalid_value(f"{at}.name", name, "name is not a valid CEL identifier"))
        elif name in names:
            causes.append(Cause(f"{at}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
        names.add(name)
        if not str(variable.get("expression") or "").strip():
            causes.append(required(f"{at}.expression", "expression is not specified"))
    if causes:
        return causes
    fields: dict[str, Type] = {}
    for i, variable in enumerate(spec.get("variables") or ()):
        try:
            types = types_of(spec, variables=record("kubernetes.variables", dict(fields)))
            fields[variable["name"]] = CelProgram(variable["expression"], types).type
        except CelSyntaxError as error:
            return [invalid_value(f"spec.variables[{i}].expression", variable["expression"], f"compilation failed: {error}")]
    return []


def _validation_causes(spec: Mapping[str, Any], types: Mapping[str, Type]) -> list[Cause]:
    causes: list[Cause] = []
    for i, validation in enumerate(spec.get("validations") or ()):
        at, source = f"spec.validations[{i}]", str(validation.get("expression") or "")
        if not source.strip():
            causes.append(required(f"{at}.expression", "expression is not specified"))
            continue
        causes += expression_causes(source, f"{at}.expression", types, "bool")
        if validation.get("messageExpression"):
            causes += expression_causes(validation["messageExpression"], f"{at}.messageExpression", types, "string")
        if "\n" in (validation.get("message") or "").strip():
            causes.append(invalid_value(f"{at}.message", validation["message"], "message must not contain line breaks"))
        elif "\n" in source.strip() and not validation.get("message"):
            causes.append(required(f"{at}.message", "message must be specified if expression contains line breaks"))
        if validation.get("reason") and validation["reason"] not in REASONS:
            causes.append(not_supported(f"{at}.reason", validation["reason"], list(REASONS)))
    return causes


def _annotation_causes(name: str, spec: Mapping[str, Any], types: Mapping[str, Type]) -> list[Cause]:
    causes: list[Cause] = []
    keys: set[str] = set()
    for i, annotation in enumerate(spec.get("auditAnnotations") or ()):
        at, key, source = f"spec.auditAnnotations[{i}]", annotation.get("key") or "", annotation.get("valueExpression") or ""
        if not key:
            causes.append(required(f"{at}.key"))
        elif wrong := qualified_name_error(f"{name}/{key}"):
            causes.append(invalid_value(f"{at}.key", key, f"Audit annotation key must be a qualified name: {wrong}"))
        elif key in keys:
            causes.append(Cause(f"{at}.key", "FieldValueDuplicate", f'Duplicate value: "{key}"'))
        keys.add(key)
        if not source.strip():
            causes.append(required(f"{at}.valueExpression", "valueExpression is not specified"))
        elif len(source.encode()) > MAX_VALUE_EXPRESSION:
            causes.append(Cause(f"{at}.valueExpression", "FieldValueTooLong", _TOO_LONG))
        elif found := expression_causes(source, f"{at}.valueExpression", types, "string"):
            causes += [] if not expression_causes(source, "", types, "null") else found
    return causes


def binding_causes(obj: Object) -> list[Cause]:
    """Return what is wrong with a binding."""
    spec = obj.get("spec") or {}
    causes: list[Cause] = []
    if not spec.get("policyName"):
        causes.append(required("spec.policyName"))
    actions = spec.get("validationActions") or []
    if not actions:
        causes.append(required("spec.validationActions", "at least one validation action is required"))
    causes += [not_supported(f"spec.validationActions[{i}]", a, list(ACTIONS)) for i, a in enumerate(actions) if a not in ACTIONS]
    if "Deny" in actions and "Warn" in actions:
        why = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers "
            "serves no purpose)"
        )
        causes.append(Cause("spec.validationActions", "FieldValueInvalid", f"Invalid value: {actions!r}: {why}".replace("'", '"')))
    ref = spec.get("paramRef")
    if ref is not None and bool(ref.get("name")) is (ref.get("selector") is not None):
        causes.append(required("spec.paramRef", "one of name or selector must be specified"))
    if spec.get("matchResources"):
        causes += selector_causes(spec["matchResources"], "spec.matchResources")
    return causes
