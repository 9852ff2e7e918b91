"""Rules of Pods and of the pod specs inside templates. Source: pkg/apis/core/validation of Kubernetes 1.32."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.objectmeta import validate_annotations, validate_labels
from skerry.apiserver.schema.rules.common import Causes, Map, dns_label, dns_subdomain, duplicate, not_negative, one_of
from skerry.apiserver.schema.rules.containers import container, ephemeral_container
from skerry.apiserver.schema.rules.volumes import volume
from skerry.model.errors import forbidden_field, invalid_value, required
from skerry.model.names import label_value_error, qualified_name_error
from skerry.model.objects import Object

_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_FREE_SUBRESOURCES = ("status", "binding", "ephemeralcontainers", "resize")
_MUTABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates", "nodeSelector", "affinity")


def pod(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj.get("spec") or {}
    pod_spec(spec, "spec", causes)
    if old is not None and subresource not in _FREE_SUBRESOURCES:
        _update(spec, old.get("spec") or {}, causes)
    if old is not None and subresource == "ephemeralcontainers":
        _joined(spec, old.get("spec") or {}, causes)


def _joined(spec: Map, old: Map, causes: Causes) -> None:
    """Check that containers that joined a Pod before are as they were."""
    now = {c.get("name"): c for c in spec.get("ephemeralContainers") or ()}
    for before in old.get("ephemeralContainers") or ():
        name = before.get("name")
        if now.get(name) != before:
            what = "removed" if name not in now else "changed"
            causes.append(forbidden_field("spec.ephemeralContainers", f'existing ephemeral containers "{name}" may not be {what}'))


def pod_template(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    template_spec(obj.get("template") or {}, "template", causes)


def template_spec(template: Map, field: str, causes: Causes) -> None:
    """Check a PodTemplateSpec."""
    meta = template.get("metadata") or {}
    validate_labels(meta.get("labels"), causes, f"{field}.metadata.labels")
    if meta.get("annotations"):
        validate_annotations(meta["annotations"], causes, f"{field}.metadata.annotations")
    pod_spec(template.get("spec") or {}, f"{field}.spec", causes)


def pod_spec(spec: Map, field: str, causes: Causes) -> None:
    """Check a PodSpec after its defaults were added."""
    volumes = _volumes(spec, field, causes)
    host_network = bool(spec.get("hostNetwork"))
    _containers(spec, field, causes, volumes=volumes, host_network=host_network)
    one_of(spec.get("restartPolicy"), ("Always", "OnFailure", "Never"), f"{field}.restartPolicy", causes)
    one_of(spec.get("dnsPolicy"), ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"), f"{field}.dnsPolicy", causes)
    validate_labels(spec.get("nodeSelector"), causes, f"{field}.nodeSelector")
    for name in ("serviceAccountName", "nodeName", "runtimeClassName", "priorityClassName"):
        if spec.get(name):
            dns_subdomain(spec[name], f"{field}.{name}", causes)
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            dns_label(spec[name], f"{field}.{name}", causes)
    _numbers(spec, field, causes)
    for i, toleration in enumerate(spec.get("tolerations") or ()):
        _toleration(toleration, f"{field}.tolerations[{i}]", causes)
    for i, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            causes.append(required(f"{field}.imagePullSecrets[{i}].name"))
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        if not alias.get("ip"):
            causes.append(required(f"{field}.hostAliases[{i}].ip"))


def _volumes(spec: Map, field: str, causes: Causes) -> dict[str, Any]:
    """Check volumes and return them by name."""
    found: dict[str, Any] = {}
    for i, v in enumerate(spec.get("volumes") or ()):
        at = f"{field}.volumes[{i}]"
        volume(v, at, causes)
        name = v.get("name") or ""
        if name in found:
            causes.append(duplicate(f"{at}.name", name))
        found[name] = v
    return found


def _containers(spec: Map, field: str, causes: Causes, *, volumes: Map, host_network: bool) -> None:
    if not spec.get("containers"):
        causes.append(required(f"{field}.containers"))
    seen: set[str] = set()
    for kind in ("containers", "initContainers"):
        for i, c in enumerate(spec.get(kind) or ()):
            at = f"{field}.{kind}[{i}]"
            container(c, at, causes, volumes=volumes, host_network=host_network, init=kind == "initContainers")
            _unique_name(c, at, seen, causes)
    for i, c in enumerate(spec.get("ephemeralContainers") or ()):
        at = f"{field}.ephemeralContainers[{i}]"
        ephemeral_container(c, at, causes, volumes=volumes)
        _unique_name(c, at, seen, causes)


def _unique_name(c: Map, at: str, seen: set[str], causes: Causes) -> None:
    name = c.get("name")
    if name and name in seen:
        causes.append(duplicate(f"{at}.name", name))
    seen.add(name or "")


def _numbers(spec: Map, field: str, causes: Causes) -> None:
    not_negative(spec, ("terminationGracePeriodSeconds",), field, causes)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        causes.append(invalid_value(f"{field}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive"))


def _toleration(t: Map, field: str, causes: Causes) -> None:
    key, operator = t.get("key") or "", t.get("operator") or "Equal"
    if key:
        wrong = qualified_name_error(key)
        if wrong:
            causes.append(invalid_value(f"{field}.key", key, wrong))
    elif operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        causes.append(invalid_value(f"{field}.operator", t.get("operator") or "", why))
    if t.get("tolerationSeconds") is not None and t.get("effect") != "NoExecute":
        causes.append(invalid_value(f"{field}.effect", t.get("effect") or "", "effect must be 'NoExecute' when `tolerationSeconds` is set"))
    if operator == "Equal":
        wrong = label_value_error(t.get("value") or "")
        if wrong:
            causes.append(invalid_value(f"{field}.operator", t.get("value"), wrong))
    elif operator == "Exists":
        if t.get("value"):
            causes.append(invalid_value(f"{field}.operator", "Exists", "value must be empty when `operator` is 'Exists'"))
    else:
        one_of(operator, ("Equal", "Exists"), f"{field}.operator", causes)
    one_of(t.get("effect"), ("NoSchedule", "PreferNoSchedule", "NoExecute"), f"{field}.effect", causes, optional=True)


def _update(new: Map, old: Map, causes: Causes) -> None:
    """Only images, the deadline, more tolerations, fewer gates (and, while gated, where it may run) can change."""
    if new == old:
        return
    gated = bool(old.get("schedulingGates"))
    masked, was = dict(new), dict(old)
    for name in _MUTABLE:
        if name in ("nodeSelector", "affinity") and not gated:
            continue
        masked.pop(name, None)
        was.pop(name, None)
    for name in ("containers", "initContainers"):
        masked[name] = [{**c, "image": ""} for c in masked.get(name) or ()]
        was[name] = [{**c, "image": ""} for c in was.get(name) or ()]
    if masked != was or not _grace_may_change(new, old):
        causes.append(forbidden_field("spec", _UPDATE))
    kept = new.get("tolerations") or []
    if any(t not in kept for t in old.get("tolerations") or ()):
        causes.append(forbidden_field("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"))
    _deadline_shrinks(new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"), causes)
    gates = {g.get("name") for g in old.get("schedulingGates") or ()}
    if any(g.get("name") not in gates for g in new.get("schedulingGates") or ()):
        causes.append(forbidden_field("spec.schedulingGates", "only deletion is allowed"))


def _grace_may_change(new: Map, old: Map) -> bool:
    before, after = old.get("terminationGracePeriodSeconds"), new.get("terminationGracePeriodSeconds")
    return before == after or (isinstance(before, int) and before < 0 and after == 1)


def _deadline_shrinks(new: int | None, old: int | None, causes: Causes) -> None:
    if old is None or new == old:
        return
    field = "spec.activeDeadlineSeconds"
    if new is None:
        causes.append(invalid_value(field, None, "must not update from a positive integer to nil value"))
    elif new > old:
        causes.append(invalid_value(field, new, f"must be less than or equal to previous value {old}"))
