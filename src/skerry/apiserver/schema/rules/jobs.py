"""Rules of a Job's own fields: completion mode, limits of each index, failure and success policies."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.common import Causes, Map, domain_path, duplicate, go_string_map, not_negative, one_of, too_long
from skerry.model.errors import Cause, invalid_value, not_supported, required
from skerry.model.selectors import SelectorError, from_label_selector

INDEXED = "Indexed"
MOST_PARALLEL = 100_000
MOST_FAILED_INDEXES = 100_000
MANY_COMPLETIONS = 100_000
MOST_WITH_MANY = 10_000
MOST_RULES = 20
MOST_EXIT_CODES = 255

_NUMBERS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_ACTIONS = ["Count", "FailIndex", "FailJob", "Ignore"]
_NEEDS_INDEXES = "requires indexed completion mode"


def job_fields(spec: Map, field: str, causes: Causes) -> None:
    """Check everything of a Job's spec but its template."""
    not_negative(spec, _NUMBERS, field, causes)
    one_of(spec.get("completionMode"), ("NonIndexed", INDEXED), f"{field}.completionMode", causes, optional=True)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        causes.append(required(f"{field}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec.get("completionMode") == INDEXED:
        _indexed(spec, field, causes)
    else:
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                causes.append(invalid_value(f"{field}.{name}", spec[name], _NEEDS_INDEXES))
    if spec.get("podFailurePolicy") is not None:
        _failure_policy(spec, f"{field}.podFailurePolicy.rules", causes)
    _replacement(spec, f"{field}.podReplacementPolicy", causes)
    if spec.get("successPolicy") is not None:
        _success_policy(spec, f"{field}.successPolicy", causes)
    if spec.get("managedBy") is not None:
        domain_path(spec["managedBy"], f"{field}.managedBy", causes)
        if len(spec["managedBy"]) > 63:
            causes.append(too_long(f"{field}.managedBy", 63))
    _restart_policy(spec, f"{field}.template.spec.restartPolicy", causes)


def _indexed(spec: Map, field: str, causes: Causes) -> None:
    completions, most_failed, parallel = (spec.get(n) for n in ("completions", "maxFailedIndexes", "parallelism"))
    if completions is None:
        causes.append(required(f"{field}.completions", "when completion mode is Indexed"))
    if (parallel or 0) > MOST_PARALLEL:
        why = f"must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed"
        causes.append(invalid_value(f"{field}.parallelism", parallel, why))
    if most_failed is not None and completions is not None and most_failed > completions:
        causes.append(invalid_value(f"{field}.maxFailedIndexes", most_failed, "must be less than or equal to completions"))
    if (most_failed or 0) > MOST_FAILED_INDEXES:
        causes.append(invalid_value(f"{field}.maxFailedIndexes", most_failed, f"must be less than or equal to {MOST_FAILED_INDEXES}"))
    if (completions or 0) > MANY_COMPLETIONS and spec.get("backoffLimitPerIndex") is not None:
        if most_failed is None:
            causes.append(required(f"{field}.maxFailedIndexes", f"must be specified when completions is above {MANY_COMPLETIONS}"))
        for name, value in (("parallelism", parallel), ("maxFailedIndexes", most_failed)):
            if (value or 0) > MOST_WITH_MANY:
                limit = f"must be less than or equal to {MOST_WITH_MANY}"
                why = f"{limit} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
                causes.append(invalid_value(f"{field}.{name}", value, why))


def _replacement(spec: Map, field: str, causes: Causes) -> None:
    policy, allowed = spec.get("podReplacementPolicy"), ["Failed", "TerminatingOrFailed"]
    if spec.get("podFailurePolicy") is not None:
        allowed = ["Failed"]
    if policy is not None and policy not in allowed:
        causes.append(not_supported(field, policy, allowed))


def _restart_policy(spec: Map, field: str, causes: Causes) -> None:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        causes.append(required(field, 'valid values: "OnFailure", "Never"'))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        causes.append(invalid_value(field, policy, 'only "Never" is supported when podFailurePolicy is specified'))


def _failure_policy(spec: Map, field: str, causes: Causes) -> None:
    rules = spec["podFailurePolicy"].get("rules") or []
    if len(rules) > MOST_RULES:
        causes.append(_too_many(field, len(rules), MOST_RULES))
    pod = (spec.get("template") or {}).get("spec") or {}
    names = {c.get("name") for f in ("containers", "initContainers") for c in pod.get(f) or ()}
    for number, rule in enumerate(rules[:MOST_RULES]):
        _failure_rule(spec, rule, f"{field}[{number}]", names, causes)


def _failure_rule(spec: Map, rule: Map, field: str, names: set[Any], causes: Causes) -> None:
    action = rule.get("action")
    if not action:
        causes.append(required(f"{field}.action", 'valid values: ["Count" "FailIndex" "FailJob" "Ignore"]'))
    elif action not in _ACTIONS:
        causes.append(not_supported(f"{field}.action", action, _ACTIONS))
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        causes.append(invalid_value(f"{field}.action", action, "requires the backoffLimitPerIndex to be set"))
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        _exit_codes(codes, f"{field}.onExitCodes", names, causes)
    for number, pattern in enumerate(conditions):
        one_of(pattern.get("status"), ("False", "True", "Unknown"), f"{field}.onPodConditions[{number}].status", causes, optional=True)
    if (codes is None) == (not conditions):
        word = "one of" if codes is None else "both"
        tail = "is required" if codes is None else "is not supported"
        causes.append(Cause(field, "FieldValueInvalid", f"Invalid value: specifying {word} OnExitCodes and OnPodConditions {tail}"))


def _exit_codes(codes: Map, field: str, names: set[Any], causes: Causes) -> None:
    one_of(codes.get("operator"), ("In", "NotIn"), f"{field}.operator", causes)
    name, values = codes.get("containerName"), codes.get("values") or []
    if name is not None and name not in names:
        why = "must be one of the container or initContainer names in the pod template"
        causes.append(invalid_value(f"{field}.containerName", name, why))
    if not values:
        causes.append(invalid_value(f"{field}.values", values, "at least one value is required"))
    elif len(values) > MOST_EXIT_CODES:
        causes.append(_too_many(f"{field}.values", len(values), MOST_EXIT_CODES))
    for number, value in enumerate(values[:MOST_EXIT_CODES]):
        if value == 0 and codes.get("operator") == "In":
            causes.append(invalid_value(f"{field}.values[{number}]", value, "must not be 0 for the In operator"))
        if value in values[:number]:
            causes.append(duplicate(f"{field}.values[{number}]", value))
    if values != sorted(values):
        causes.append(invalid_value(f"{field}.values", values, "must be ordered"))


def _success_policy(spec: Map, field: str, causes: Causes) -> None:
    rules = spec["successPolicy"].get("rules") or []
    if spec.get("completionMode") != INDEXED:
        shown = "batch.SuccessPolicy{...}"
        causes.append(Cause(field, "FieldValueInvalid", f"Invalid value: {shown}: {_NEEDS_INDEXES}"))
        return
    if not rules:
        causes.append(required(f"{field}.rules", "at least one rules must be specified when the successPolicy is specified"))
    if len(rules) > MOST_RULES:
        causes.append(_too_many(f"{field}.rules", len(rules), MOST_RULES))
    for number, rule in enumerate(rules[:MOST_RULES]):
        count = rule.get("succeededCount")
        if count is None and rule.get("succeededIndexes") is None:
            causes.append(required(f"{field}.rules[{number}]", "at least one of succeededCount or succeededIndexes must be specified"))
        if count is not None and count > (spec.get("completions") or 0):
            why = f"must be less than or equal to {spec.get('completions') or 0} (the number of specified completions)"
            causes.append(invalid_value(f"{field}.rules[{number}].succeededCount", count, why))


def _too_many(field: str, count: int, most: int) -> Cause:
    return Cause(field, "FieldValueTooMany", f"Too many: {count}: must have at most {most} items")


def job_selector(spec: Map, causes: Causes) -> None:
    """Check that the Job will know its own Pods again."""
    selector = spec.get("selector")
    if not selector:
        causes.append(required("spec.selector"))
        return
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    try:
        found = from_label_selector(selector)
    except (SelectorError, KeyError):
        return  # its own error says more
    if not found or not found.matches(labels):
        shown = go_string_map(labels)
        causes.append(
            Cause(
                "spec.template.metadata.labels", "FieldValueInvalid", f"Invalid value: {shown}: `selector` does not match template `labels`"
            )
        )
