"""Webhook configurations as they are used: read once when they change, asked by kind and operation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from skerry.apiserver.cel import CelProgram, CelSyntaxError
from skerry.apiserver.webhooks.matching import LATER, Selectors
from skerry.apiserver.webhooks.variables import CONDITION_TYPES
from skerry.model.errors import Cause, forbidden_field, invalid_value, required
from skerry.model.objects import Object
from skerry.model.selectors import SelectorError

log = logging.getLogger(__name__)

MUTATING, VALIDATING = f"mutatingwebhookconfigurations.{LATER}", f"validatingwebhookconfigurations.{LATER}"
MAX_CONDITIONS = 64
MAX_TEXT = 64 * 1024
"""Characters of all conditions of a configuration: compiling so many takes some 100 ms."""
CONDITION_COST = 100_000
"""Cost units of one condition."""
_VERSION = "v1"


class Condition(msgspec.Struct, frozen=True):
    name: str
    program: CelProgram


class Hook(msgspec.Struct, frozen=True):
    """One webhook of one configuration."""

    configuration: str
    name: str
    client: Mapping[str, Any]
    rules: Sequence[Mapping[str, Any]]
    selectors: Selectors
    conditions: tuple[Condition, ...]
    exact: bool
    fails: bool
    """`failurePolicy: Fail`: what cannot be asked refuses."""
    timeout_s: float
    again: bool
    """`reinvocationPolicy: IfNeeded`."""
    dry_run: bool
    """It may be asked about what is not stored."""


def hooks_of(configuration: Object) -> list[Hook]:
    """Return the webhooks of a stored configuration; one whose conditions cannot be compiled (any more) is left without them."""
    return [_hook(configuration["metadata"]["name"], source) for source in configuration.get("webhooks") or ()]


def _hook(configuration: str, source: Mapping[str, Any]) -> Hook:
    try:
        selectors = Selectors.of(source)
    except SelectorError:
        selectors = Selectors(None, None)
    try:
        conditions = conditions_of(source.get("matchConditions"))
    except CelSyntaxError as error:
        log.error("webhook is asked without its conditions", extra={"webhook": source["name"], "cause": str(error)})
        conditions = ()
    return Hook(
        configuration=configuration,
        name=source["name"],
        client=source.get("clientConfig") or {},
        rules=source.get("rules") or (),
        selectors=selectors,
        conditions=conditions,
        exact=source.get("matchPolicy") == "Exact",
        fails=source.get("failurePolicy") != "Ignore",
        timeout_s=float(min(30, max(1, source.get("timeoutSeconds") or 10))),
        again=source.get("reinvocationPolicy") == "IfNeeded",
        dry_run=source.get("sideEffects") in ("None", "NoneOnDryRun"),
    )


def conditions_of(source: Sequence[Mapping[str, Any]] | None) -> tuple[Condition, ...]:
    return tuple(Condition(c["name"], CelProgram(c["expression"], CONDITION_TYPES)) for c in source or ())


def configuration_causes(obj: Object) -> list[Cause]:
    """Return what is wrong with a configuration beyond its fields: versions that we do not speak, conditions, selectors."""
    causes: list[Cause] = []
    conditions = [c for hook in obj.get("webhooks") or () for c in hook.get("matchConditions") or ()]
    length = sum(len(str(c.get("expression") or "")) for c in conditions)
    if length > MAX_TEXT:
        return [forbidden_field("webhooks", f"the matchConditions have {length} characters in all, the limit is {MAX_TEXT}")]
    for i, hook in enumerate(obj.get("webhooks") or ()):
        at = f"webhooks[{i}]"
        if hook.get("admissionReviewVersions") and _VERSION not in hook["admissionReviewVersions"]:
            shown = ", ".join(hook["admissionReviewVersions"])
            why = "must include at least one of v1"
            causes.append(invalid_value(f"{at}.admissionReviewVersions", [shown], why))
        causes += condition_causes(hook.get("matchConditions"), f"{at}.matchConditions")
        causes += selector_causes(hook, at)
    return causes


def selector_causes(source: Mapping[str, Any], at: str) -> list[Cause]:
    try:
        Selectors.of(source)
    except SelectorError as error:
        return [Cause(f"{at}.namespaceSelector", "FieldValueInvalid", f"Invalid value: {error}")]
    return []


def condition_causes(source: Sequence[Mapping[str, Any]] | None, at: str, types: Mapping[str, Any] = CONDITION_TYPES) -> list[Cause]:
    """Return what is wrong with matchConditions."""
    causes: list[Cause] = []
    if len(source or ()) > MAX_CONDITIONS:
        causes.append(Cause(at, "FieldValueTooMany", f"Too many: {len(source or ())}: must have at most {MAX_CONDITIONS} items"))
    names: set[str] = set()
    for i, condition in enumerate(source or ()):
        name, expression = condition.get("name") or "", str(condition.get("expression") or "").strip()
        if not name:
            causes.append(required(f"{at}[{i}].name"))
        if name in names:
            causes.append(Cause(f"{at}[{i}].name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
        names.add(name)
        if not expression:
            causes.append(required(f"{at}[{i}].expression"))
            continue
        causes += expression_causes(condition["expression"], f"{at}[{i}].expression", types, "bool")
    return causes


def expression_causes(source: str, at: str, types: Mapping[str, Any], wanted: str) -> list[Cause]:
    """Return why an expression does not compile, or does not give what is *wanted*."""
    try:
        found = str(CelProgram(source, types).type)
    except CelSyntaxError as error:
        return [invalid_value(at, source, f"compilation failed: {error}")]
    if found not in (wanted, "dyn"):
        return [invalid_value(at, source, f"must evaluate to {wanted}")]
    return []
