"""Rules of Pods and of the pod specs inside templates. Source: pkg/apis/core/validation of Kubernetes 1.32."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.defaults.pods import qos_class
from skerry.apiserver.schema.objectmeta import validate_annotations, validate_labels
from skerry.apiserver.schema.rules.common import (
    Causes,
    Map,
    dns_label,
    dns_subdomain,
    duplicate,
    ip_address,
    not_found,
    not_negative,
    one_of,
)
from skerry.apiserver.schema.rules.containers import container, ephemeral_container, resources
from skerry.apiserver.schema.rules.scheduling import affinity, spread_constraints, toleration
from skerry.apiserver.schema.rules.security import dns, pod_security
from skerry.apiserver.schema.rules.volumes import volumes
from skerry.model.errors import forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_subdomain_error, qualified_name_error
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
    _images(spec, causes)
    if old is None:
        if spec.get("ephemeralContainers"):
            causes.append(forbidden_field("spec.ephemeralContainers", "cannot be set on create"))
        if spec.get("nodeName") and spec.get("schedulingGates"):
            causes.append(forbidden_field("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
    if old is not None and subresource not in _FREE_SUBRESOURCES:
        _update(spec, old.get("spec") or {}, causes)
    if old is not None and subresource == "ephemeralcontainers":
        _joined(spec, old.get("spec") or {}, causes)


def _images(spec: Map, causes: Causes) -> None:
    """Check what Kubernetes lets a template have, but no Pod."""
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for i, c in enumerate(spec.get(kind) or ()):
            image = c.get("image") or ""
            if image != image.strip():
                causes.append(invalid_value(f"spec.{kind}[{i}].image", image, "must not have leading or trailing whitespace"))


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
    template_metadata(template, field, causes)
    pod_spec(template.get("spec") or {}, f"{field}.spec", causes)
    if (template.get("spec") or {}).get("ephemeralContainers"):
        causes.append(forbidden_field(f"{field}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"))


def template_metadata(template: Map, field: str, causes: Causes) -> None:
    """Check the labels and annotations of a PodTemplateSpec, and no more of it."""
    meta = template.get("metadata") or {}
    validate_labels(meta.get("labels"), causes, f"{field}.labels")  # as Kubernetes calls it, without the metadata
    if meta.get("annotations"):
        validate_annotations(meta["annotations"], causes, f"{field}.annotations")


def pod_spec(spec: Map, field: str, causes: Causes) -> None:
    """Check a PodSpec after its defaults were added."""
    mounted = volumes(spec.get("volumes"), f"{field}.volumes", causes)
    _containers(spec, field, causes, volumes=mounted, host_network=bool(spec.get("hostNetwork")))
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
    for i, found in enumerate(spec.get("tolerations") or ()):
        toleration(found, f"{field}.tolerations[{i}]", causes)
    _host_aliases(spec.get("hostAliases") or (), f"{field}.hostAliases", causes)
    pod_security(spec.get("securityContext") or {}, spec, f"{field}.securityContext", causes)
    dns(spec, field, causes)
    if spec.get("affinity"):
        affinity(spec["affinity"], f"{field}.affinity", causes)
    if spec.get("topologySpreadConstraints"):
        spread_constraints(spec["topologySpreadConstraints"], f"{field}.topologySpreadConstraints", causes)
    _gates(spec, field, causes)
    if spec.get("preemptionPolicy") is not None:
        one_of(spec["preemptionPolicy"], ("PreemptLowerPriority", "Never"), f"{field}.preemptionPolicy", causes)
    if spec.get("overhead"):
        resources({"limits": spec["overhead"]}, f"{field}.overhead", causes)
    if spec.get("os") is not None:
        _system(spec["os"].get("name") or "", f"{field}.os", causes)


def _system(name: str, field: str, causes: Causes) -> None:
    if not name:
        causes.append(required(f"{field}.name", "cannot be empty"))
    elif name not in ("linux", "windows"):
        causes.append(not_supported(field, name, ["linux", "windows"]))


def _host_aliases(aliases: Any, field: str, causes: Causes) -> None:
    for i, alias in enumerate(aliases):
        ip_address(alias.get("ip") or "", f"{field}[{i}].ip", causes)
        for j, name in enumerate(alias.get("hostnames") or ()):
            wrong = dns_subdomain_error(name)
            if wrong:
                causes.append(invalid_value(f"{field}[{i}].hostnames[{j}]", name, wrong))


def _gates(spec: Map, field: str, causes: Causes) -> None:
    for i, gate in enumerate(spec.get("readinessGates") or ()):
        wrong = qualified_name_error(gate.get("conditionType") or "")
        if wrong:
            causes.append(invalid_value(f"{field}.readinessGates[{i}].conditionType", gate.get("conditionType") or "", wrong))
    seen: set[str] = set()
    for i, gate in enumerate(spec.get("schedulingGates") or ()):
        name, at = gate.get("name") or "", f"{field}.schedulingGates[{i}]"
        wrong = qualified_name_error(name)
        if wrong:
            causes.append(invalid_value(at, name, wrong))
        if name in seen:
            causes.append(duplicate(at, name))
        seen.add(name)


def _containers(spec: Map, field: str, causes: Causes, *, volumes: Map, host_network: bool) -> None:
    if not spec.get("containers"):
        causes.append(required(f"{field}.containers"))
    seen: set[str] = set()
    grace = spec.get("terminationGracePeriodSeconds") or 0
    ports: set[str] = set()
    for kind in ("containers", "initContainers"):
        for i, c in enumerate(spec.get(kind) or ()):
            at = f"{field}.{kind}[{i}]"
            container(c, at, causes, volumes=volumes, host_network=host_network, init=kind == "initContainers", grace_s=grace)
            _unique_name(c, at, seen, causes)
            _unique_host_ports(c, at, ports if kind == "containers" else set(), causes)  # those of init run one after the other
    others = set(seen)
    for i, c in enumerate(spec.get("ephemeralContainers") or ()):
        at, target = f"{field}.ephemeralContainers[{i}]", c.get("targetContainerName")
        ephemeral_container(c, at, causes, volumes=volumes)
        _unique_name(c, at, seen, causes)
        if target and target not in others:
            causes.append(not_found(f"{at}.targetContainerName", target))


def _unique_name(c: Map, at: str, seen: set[str], causes: Causes) -> None:
    name = c.get("name")
    if name and name in seen:
        causes.append(duplicate(f"{at}.name", name))
    seen.add(name or "")


def _unique_host_ports(c: Map, at: str, seen: set[str], causes: Causes) -> None:
    for i, port in enumerate(c.get("ports") or ()):
        if port.get("hostPort"):
            taken = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if taken in seen:
                causes.append(duplicate(f"{at}.ports[{i}].hostPort", taken))
            seen.add(taken)


def _numbers(spec: Map, field: str, causes: Causes) -> None:
    not_negative(spec, ("terminationGracePeriodSeconds",), field, causes)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        causes.append(invalid_value(f"{field}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive"))


def _update(new: Map, old: Map, causes: Causes) -> None:
    """Only images, the deadline, more tolerations, fewer gates (and, while gated, where it may run) can change."""
    if new == old:
        return
    for name in ("containers", "initContainers"):
        if len(new.get(name) or ()) != len(old.get(name) or ()):
            causes.append(forbidden_field(f"spec.{name}", "pod updates may not add or remove containers"))
            return
    _deadline_shrinks(new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds"), causes)
    kept = [_without_seconds(t) for t in new.get("tolerations") or ()]
    if any(_without_seconds(t) not in kept for t in old.get("tolerations") or ()):
        causes.append(forbidden_field("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"))
    gates = {g.get("name") for g in old.get("schedulingGates") or ()}
    for i, gate in enumerate(new.get("schedulingGates") or ()):
        if gate.get("name") not in gates:
            why = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            causes.append(forbidden_field(f"spec.schedulingGates[{i}].name", why))
    if (quality := qos_class(old)) != qos_class(new):
        causes.append(invalid_value("metadata", quality, "Pod QoS is immutable"))
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


def _without_seconds(toleration: Map) -> Map:
    return {k: v for k, v in toleration.items() if k != "tolerationSeconds"}


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
        causes.append(invalid_value(field, new, "must be less than or equal to previous value"))
