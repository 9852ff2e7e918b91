"""What an update of a Service keeps that its writer did not say, and what goes with a change of type. Pure.

Source: k8s.io/kubernetes/pkg/registry/core/service (patchAllocatedValues, normalizeClusterIPs, dropTypeDependentFields).
"""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]
_EXTERNAL = ("NodePort", "LoadBalancer")


def needs_address(spec: Spec) -> bool:
    return spec.get("type") != "ExternalName"


def needs_ports(spec: Spec) -> bool:
    return spec.get("type") in _EXTERNAL


def needs_health_port(spec: Spec) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _needs_policy(spec: Spec) -> bool:
    return needs_ports(spec) or (spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs")))


def normalise_new(spec: Spec) -> None:
    """An old client says `clusterIP` alone."""
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def carry_over(spec: Spec, old: Spec) -> None:
    """Complete *spec* by what was allocated before, and drop what its new type has no use for."""
    _carry_allocated(spec, old)
    _normalise(spec, old)
    _drop(spec, old)


def _carry_allocated(spec: Spec, old: Spec) -> None:
    if needs_address(spec) and needs_address(old):
        if not spec.get("clusterIP") and old.get("clusterIP"):
            spec["clusterIP"] = old["clusterIP"]
        if not spec.get("clusterIPs") and old.get("clusterIPs") and spec.get("clusterIP") == old.get("clusterIP"):
            spec["clusterIPs"] = list(old["clusterIPs"])
    if needs_ports(spec) and needs_ports(old):
        _carry_ports(spec, old)
    if needs_health_port(spec) and needs_health_port(old) and not spec.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old["healthCheckNodePort"]


def _carry_ports(spec: Spec, old: Spec) -> None:
    before = {(p.get("protocol"), p.get("port")): p["nodePort"] for p in old.get("ports") or () if p.get("nodePort")}
    said = {p["nodePort"] for p in spec.get("ports") or () if p.get("nodePort")}
    for port in spec.get("ports") or ():
        number = before.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and number and number not in said:
            port["nodePort"] = number


def _normalise(spec: Spec, old: Spec) -> None:
    now, before = spec.get("clusterIP") or "", old.get("clusterIP") or ""
    if not spec.get("clusterIPs") and now == before and old.get("clusterIPs"):
        spec["clusterIPs"] = list(old["clusterIPs"])
    if now != before and _same(spec, old, "clusterIPs"):
        if now:
            spec["clusterIPs"] = [now]
        else:
            spec.pop("clusterIPs", None)


def _same(spec: Spec, old: Spec, key: str) -> bool:
    return bool((spec.get(key) or None) == (old.get(key) or None))


def _drop(spec: Spec, old: Spec) -> None:
    if needs_address(old) and not needs_address(spec):
        if _same(spec, old, "clusterIPs"):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        for key in ("ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            if _same(spec, old, key):
                spec.pop(key, None)
    if needs_ports(old) and not needs_ports(spec) and _numbers(spec) == _numbers(old):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if needs_health_port(old) and not needs_health_port(spec) and _same(spec, old, "healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    if _needs_policy(old) and not _needs_policy(spec) and _same(spec, old, "externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)
    if old.get("type") == "LoadBalancer" != spec.get("type"):
        for key in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if _same(spec, old, key):
                spec.pop(key, None)


def _numbers(spec: Spec) -> list[int]:
    return [p.get("nodePort") or 0 for p in spec.get("ports") or ()]
