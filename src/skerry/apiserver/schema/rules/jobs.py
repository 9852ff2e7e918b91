"""Rules of a Job's own fields: completion mode, limits of each index, failure and success policies."""

from __future__ import annotations

import re
from typing import Any

from skerry.apiserver.schema.rules.common import (
    Causes,
    Map,
    domain_path,
    duplicate,
    go_invalid,
    go_label_selector,
    go_string_map,
    label_selector,
    not_negative,
    one_of,
    too_long,
)
from skerry.model.errors import Cause, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, qualified_name_error
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
_INDEX = re.compile(r"[+-]?[0-9]{1,18}")
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


def restart_policy(spec: Map, field: str, causes: Causes) -> None:
    """Check that Pods of a Job end."""
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if policy in ("Always", "", None):
        causes.append(required(field, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        causes.append(not_supported(field, policy, ["OnFailure", "Never"]))
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
    if len(conditions) > MOST_RULES:
        causes.append(_too_many(f"{field}.onPodConditions", len(conditions), MOST_RULES))
    for number, pattern in enumerate(conditions[:MOST_RULES]):
        at, kind = f"{field}.onPodConditions[{number}]", pattern.get("type") or ""
        if wrong := qualified_name_error(kind):
            causes.append(invalid_value(f"{at}.type", kind, wrong))
        one_of(pattern.get("status"), ("False", "True", "Unknown"), f"{at}.status", causes, optional=True)
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
        _success_rule(rule, spec.get("completions") or 0, f"{field}.rules[{number}]", causes)


def _success_rule(rule: Map, completions: int, field: str, causes: Causes) -> None:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        causes.append(required(field, "at least one of succeededCount or succeededIndexes must be specified"))
    total, wrong = indexes_of(indexes or "", completions)
    if wrong:
        causes.append(invalid_value(f"{field}.succeededIndexes", indexes, f"error parsing succeededIndexes: {wrong}"))
    if count is None:
        return
    not_negative(rule, ("succeededCount",), field, causes)
    if count > completions:
        why = f"must be less than or equal to {completions} (the number of specified completions)"
        causes.append(invalid_value(f"{field}.succeededCount", count, why))
    if indexes is not None and count > total:
        why = f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        causes.append(invalid_value(f"{field}.succeededCount", count, why))


def indexes_of(text: str, completions: int) -> tuple[int, str]:
    """Return how many indexes a text like `0,2-4` names, and what is wrong with it, "" when nothing is."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if len(ends) > 2:
            why = "violates the requirement that an index interval can have at most two parts separated by '-'"
            return 0, f'the fragment "{part}" {why}'
        for end in ends:
            if not _INDEX.fullmatch(end):
                return 0, f'cannot convert string to integer for index: "{end}"'
            if int(end) >= completions:
                return 0, f'too large index: "{end}"'
        first, until = int(ends[0]), int(ends[-1])
        if len(ends) > 1 and first >= until:
            return 0, f"non-increasing order, previous: {first}, current: {until}"
        if last >= first:
            return 0, f"non-increasing order, previous: {last}, current: {first}"
        total, last = total + until - first + 1, until
    return total, ""


def _too_many(field: str, count: int, most: int) -> Cause:
    return Cause(field, "FieldValueTooMany", f"Too many: {count}: must have at most {most} items")


def job_selector(spec: Map, causes: Causes) -> None:
    """Check that the Job will know its own Pods again."""
    selector = spec.get("selector")
    if selector is None:
        causes.append(required("spec.selector"))
        return
    label_selector(selector, "spec.selector", causes)
    labels = _template_labels(spec)
    if not _selects(selector, labels):
        causes.append(go_invalid("spec.template.metadata.labels", go_string_map(labels), "`selector` does not match template `labels`"))


def _template_labels(spec: Map) -> dict[str, str]:
    return ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}


def _selects(selector: Map, labels: dict[str, str]) -> bool:
    try:
        found = from_label_selector(selector)
    except (SelectorError, KeyError):
        return True  # its own error says more
    return found is not None and found.matches(labels)


def generated_selector(obj: Map, causes: Causes) -> None:
    """Check that what a selector follows from is this Job's own: labels that were copied from another one belong to its Pods."""
    spec, meta = obj["spec"], obj.get("metadata") or {}
    uid, name = meta.get("uid"), meta.get("name") or ""
    if spec.get("manualSelector") or spec.get("selector") is None or not uid:
        return
    labels = _template_labels(spec)
    own = {"controller-uid": uid, "job-name": name, "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name}
    for key, value in own.items():
        at = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            causes.append(required(at, f"must be '{value}'"))
        elif labels[key] != value:
            causes.append(go_invalid(at, go_string_map(labels), f"must be '{value}'"))
    if not _selects(spec["selector"], own):
        causes.append(go_invalid("spec.selector", go_label_selector(spec["selector"]), "`selector` not auto-generated"))


def job_hostnames(obj: Map, causes: Causes) -> None:
    """Check that each index gives its Pod a host name."""
    spec, name = obj["spec"], (obj.get("metadata") or {}).get("name") or ""
    if spec.get("completionMode") != INDEXED or not spec.get("completions") or spec["completions"] < 0:
        return
    longest = f"{name}-{spec['completions'] - 1}"
    if dns_label_error(longest):
        causes.append(invalid_value("metadata.name", name, f"will not able to create pod with invalid DNS label: {longest}"))
