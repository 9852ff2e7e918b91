"""Rules of what makes Pods: selectors that match their templates, strategies, and what an update may not change."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    NOT_NEGATIVE,
    PERCENT_RULE,
    Causes,
    Map,
    go_int_or_string,
    go_invalid,
    go_label_selector,
    go_not_supported,
    go_string_map,
    label_selector,
    not_negative,
    one_of,
)
from skerry.apiserver.schema.rules.pods import template_metadata, template_spec
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.objects import Object
from skerry.model.selectors import SelectorError, from_label_selector


def deployment(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    not_negative(spec, ("replicas",), "spec", causes)
    _selected_template(spec, causes, kind="Deployment")
    _strategy(spec.get("strategy") or {}, causes)
    not_negative(spec, ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"), "spec", causes)
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and 0 <= deadline <= spec.get("minReadySeconds", 0):
        causes.append(invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    _fixed_selector(spec, old, causes)


def replica_set(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    not_negative(spec, ("replicas", "minReadySeconds"), "spec", causes)
    _selected_template(spec, causes)
    _fixed_selector(spec, old, causes)


def daemon_set(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    _selected_template(spec, causes, kind="DaemonSet")
    not_negative(spec, ("minReadySeconds", "revisionHistoryLimit"), "spec", causes)
    _daemon_strategy(spec.get("updateStrategy") or {}, causes)
    _fixed_selector(spec, old, causes)


def _daemon_strategy(strategy: Map, causes: Causes) -> None:
    kind, at = strategy.get("type"), "spec.updateStrategy.rollingUpdate"
    if kind not in ("RollingUpdate", "OnDelete"):
        causes.append(_unknown_strategy("spec.updateStrategy", "DaemonSet", kind, ("RollingUpdate", "OnDelete")))
    if kind != "RollingUpdate":
        return
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        causes.append(required(at))
        return
    for name in ("maxUnavailable", "maxSurge"):
        _amount(rolling.get(name), f"{at}.{name}", causes)
    for name in ("maxUnavailable", "maxSurge"):
        _at_most_all(rolling.get(name), f"{at}.{name}", causes)
    surge, away = (rolling.get(name, 0) for name in ("maxSurge", "maxUnavailable"))
    if surge not in (0, "0%") and away not in (0, "0%"):
        causes.append(go_invalid(f"{at}.maxSurge", go_int_or_string(surge), "may not be set when maxUnavailable is non-zero"))
    elif surge in (0, "0%") and away in (0, "0%"):
        causes.append(required(f"{at}.maxUnavailable", "cannot be 0 when maxSurge is 0"))


_STATEFUL_SET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
    "revisionHistoryLimit",
)


def stateful_set(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    if spec.get("podManagementPolicy") not in ("OrderedReady", "Parallel"):
        why = "must be 'OrderedReady' or 'Parallel'"
        causes.append(invalid_value("spec.podManagementPolicy", spec.get("podManagementPolicy") or "", why))
    _stateful_strategy(spec.get("updateStrategy") or {}, causes)
    for name, policy in (spec.get("persistentVolumeClaimRetentionPolicy") or {}).items():
        one_of(policy, ("Retain", "Delete"), f"spec.persistentVolumeClaimRetentionPolicy.{name}", causes)
    not_negative(spec, ("replicas", "minReadySeconds", "revisionHistoryLimit"), "spec", causes)
    not_negative(spec.get("ordinals") or {}, ("start",), "spec.ordinals", causes)
    _selected_template(spec, causes, kind="StatefulSet")
    if old is not None:
        fixed, was = ({k: v for k, v in s.items() if k not in _STATEFUL_SET_MUTABLE} for s in (spec, old["spec"]))
        if fixed != was:
            why = (
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
                "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
            )
            causes.append(forbidden_field("spec", why))


def _stateful_strategy(strategy: Map, causes: Causes) -> None:
    kind, rolling, at = strategy.get("type"), strategy.get("rollingUpdate"), "spec.updateStrategy"
    if not kind:
        causes.append(required(at))
    elif kind not in ("RollingUpdate", "OnDelete"):
        causes.append(go_invalid(at, "apps.StatefulSetUpdateStrategy{...}", "must be 'RollingUpdate' or 'OnDelete'"))
    elif kind == "OnDelete" and rolling is not None:
        shown = "apps.RollingUpdateStatefulSetStrategy{...}"
        causes.append(go_invalid(f"{at}.rollingUpdate", shown, "only allowed for updateStrategy 'RollingUpdate'"))
    else:
        not_negative(rolling or {}, ("partition",), f"{at}.rollingUpdate", causes)


def controller_revision(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if obj.get("data") is None:
        causes.append(required("data", "data is mandatory"))
    revision = obj.get("revision") or 0
    if revision < 0:
        causes.append(invalid_value("revision", revision, NOT_NEGATIVE))
    if old is not None and obj.get("data") != old.get("data"):
        causes.append(go_invalid("data", "runtime.RawExtension{...}", IMMUTABLE))


_EMPTY = {"Deployment": "deployment", "ReplicaSet": "deployment", "DaemonSet": "daemonset", "StatefulSet": "statefulset"}
"""What Kubernetes says an empty selector is invalid for."""


def _selected_template(spec: Map, causes: Causes, *, kind: str = "ReplicaSet") -> None:
    """Check the selector and that the template carries its labels, then the template."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        if kind != "DaemonSet":  # there it only matches nothing
            causes.append(required("spec.selector"))
    else:
        label_selector(selector, "spec.selector", causes)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            shown = "v1.LabelSelector{MatchLabels:map[string]string(nil), MatchExpressions:[]v1.LabelSelectorRequirement(nil)}"
            causes.append(go_invalid("spec.selector", shown, f"empty selector is invalid for {_EMPTY[kind]}"))
    labels = (template.get("metadata") or {}).get("labels")
    if not _matches(selector, labels):
        causes.append(go_invalid("spec.template.metadata.labels", go_string_map(labels), "`selector` does not match template `labels`"))
    if kind == "StatefulSet":
        template_metadata(template, "spec.template", causes)  # Kubernetes leaves the rest to the Pods: what they mount may be claimed
    else:
        template_spec(template, "spec.template", causes)
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy in ("OnFailure", "Never"):
        causes.append(not_supported("spec.template.spec.restartPolicy", policy, ["Always"]))
    if (template.get("spec") or {}).get("activeDeadlineSeconds") is not None:
        whose = "ReplicaSet" if kind == "Deployment" else kind
        causes.append(forbidden_field("spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {whose} is not Supported"))


def _matches(selector: Map | None, labels: Map | None) -> bool:
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return True  # reported as empty already
    try:
        found = from_label_selector(selector)
    except (SelectorError, KeyError):
        return True  # its own error says more
    return found is not None and found.matches(labels or {})


def _strategy(strategy: Map, causes: Causes) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            why = "may not be specified when strategy `type` is 'Recreate'"
            causes.append(forbidden_field("spec.strategy.rollingUpdate", why))
    elif kind == "RollingUpdate":
        _rolling(rolling or {}, causes)
    else:
        causes.append(_unknown_strategy("spec.strategy", "Deployment", kind, ("Recreate", "RollingUpdate")))


def _unknown_strategy(field: str, owner: str, kind: Any, known: tuple[str, ...]) -> Cause:
    struct = {"Deployment": "DeploymentStrategy", "DaemonSet": "DaemonSetUpdateStrategy"}[owner]
    shown = f'apps.{struct}{{Type:"{kind or ""}", RollingUpdate:(*apps.RollingUpdate{owner})(nil)}}'
    return go_not_supported(field, shown, known)


def _rolling(rolling: Map, causes: Causes) -> None:
    field = "spec.strategy.rollingUpdate"
    for name in ("maxUnavailable", "maxSurge"):
        _amount(rolling.get(name), f"{field}.{name}", causes)
    if all(rolling.get(name) in (0, "0%") for name in ("maxUnavailable", "maxSurge")):
        shown = go_int_or_string(rolling["maxUnavailable"])
        causes.append(go_invalid(f"{field}.maxUnavailable", shown, "may not be 0 when `maxSurge` is 0"))
    _at_most_all(rolling.get("maxUnavailable"), f"{field}.maxUnavailable", causes)


def _at_most_all(value: Any, field: str, causes: Causes) -> None:
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() and int(value[:-1][:9]) > 100:
        causes.append(go_invalid(field, go_int_or_string(value), "must not be greater than 100%"))


def _amount(value: Any, field: str, causes: Causes) -> None:
    if isinstance(value, str):
        if not (value.endswith("%") and value[:-1].isdigit()):
            causes.append(go_invalid(field, go_int_or_string(value), PERCENT_RULE))
    elif isinstance(value, int) and value < 0:
        causes.append(invalid_value(field, value, "must be greater than or equal to 0"))


def _fixed_selector(spec: Map, old: Object | None, causes: Causes) -> None:
    if old is not None and spec.get("selector") != old["spec"].get("selector"):
        causes.append(go_invalid("spec.selector", go_label_selector(spec.get("selector")), IMMUTABLE))


def replication_controller(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj["spec"]
    not_negative(spec, ("replicas", "minReadySeconds"), "spec", causes)
    selector = spec.get("selector")
    template = spec.get("template")
    if not selector:
        causes.append(required("spec.selector"))
    if template is None:
        causes.append(required("spec.template"))
        return
    labels, pod = (template.get("metadata") or {}).get("labels") or {}, template.get("spec") or {}
    if selector and any(labels.get(k) != v for k, v in selector.items()):
        causes.append(go_invalid("spec.template.metadata.labels", go_string_map(labels), "`selector` does not match template `labels`"))
    template_spec(template, "spec.template", causes)
    if pod.get("restartPolicy") != "Always":
        causes.append(not_supported("spec.template.spec.restartPolicy", pod.get("restartPolicy") or "", ["Always"]))
    if pod.get("activeDeadlineSeconds") is not None:
        why = "activeDeadlineSeconds in ReplicationController is not Supported"
        causes.append(forbidden_field("spec.template.spec.activeDeadlineSeconds", why))


def scale(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    not_negative(obj.get("spec") or {}, ("replicas",), "spec", causes)
