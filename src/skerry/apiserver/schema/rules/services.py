"""Rules of Services: ports, types, addresses once given. Families and what is allocated are judged where they are settled.

Source: k8s.io/kubernetes/pkg/apis/core/validation (ValidateService, ValidateServiceUpdate, ValidateLoadBalancerStatus).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skerry.apiserver.schema.objectmeta import validate_labels
from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    Causes,
    Map,
    dns_label,
    duplicate,
    go_invalid,
    ip_address,
    one_of,
    port_number,
    port_or_name,
    special_address,
)
from skerry.apiserver.schema.rules.networking import load_balancer, network
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_subdomain_error, qualified_name_error
from skerry.model.objects import Object

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
MAX_AFFINITY_S = 86400
_KUBELET_PORT = 10250


def service(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj["spec"]
    if subresource == "status":
        _status(obj, spec, causes)
        return
    kind = spec.get("type")
    headless = spec.get("clusterIP") == "None"
    if not spec.get("ports") and not headless and kind != "ExternalName":
        causes.append(required("spec.ports"))
    if kind == "ExternalName" and not spec.get("externalName"):
        causes.append(required("spec.externalName"))
    elif kind == "ExternalName" and (wrong := dns_subdomain_error(spec["externalName"].removesuffix("."))):
        causes.append(invalid_value("spec.externalName", spec["externalName"].removesuffix("."), wrong))
    elif kind == "LoadBalancer" and headless:
        causes.append(invalid_value("spec.clusterIPs[0]", "None", "may not be set to 'None' for LoadBalancer services"))
    elif kind == "NodePort" and headless:
        causes.append(invalid_value("spec.clusterIPs[0]", "None", "may not be set to 'None' for NodePort services"))
    _ports(spec, kind, causes)
    validate_labels(spec.get("selector"), causes, "spec.selector")
    _affinity(spec, causes)
    one_of(kind, _TYPES, "spec.type", causes)
    if kind == "ExternalName":
        _nothing_allocated(spec, causes)
    for i, address in enumerate(spec.get("externalIPs") or ()):
        ip_address(address, f"spec.externalIPs[{i}]", causes)
        special_address(address, f"spec.externalIPs[{i}]", causes)
    _source_ranges(spec.get("loadBalancerSourceRanges") or (), kind, causes)
    one_of(spec.get("trafficDistribution"), ("PreferClose",), "spec.trafficDistribution", causes, optional=True)
    _traffic(spec, kind, headless, causes)
    if old is not None:
        _update(spec, old["spec"], causes)


def _ports(spec: Map, kind: str, causes: Causes) -> None:
    ports = spec.get("ports") or ()
    names: set[str] = set()
    numbers: set[tuple[Any, Any]] = set()
    node_ports: set[tuple[Any, Any]] = set()
    for i, port in enumerate(ports):
        at = f"spec.ports[{i}]"
        name = port.get("name")
        if name:
            dns_label(name, f"{at}.name", causes)
            if name in names:
                causes.append(duplicate(f"{at}.name", name))
            names.add(name)
        elif len(ports) > 1:
            causes.append(required(f"{at}.name"))
        port_number(port.get("port"), f"{at}.port", causes)
        one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{at}.protocol", causes)
        if port.get("appProtocol") and (wrong := qualified_name_error(port["appProtocol"])):
            causes.append(invalid_value(f"{at}.appProtocol", port["appProtocol"], wrong))
        port_or_name(port.get("targetPort"), f"{at}.targetPort", causes)
        if kind == "ClusterIP" and port.get("nodePort"):
            causes.append(forbidden_field(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'"))
        if kind == "LoadBalancer" and port.get("port") == _KUBELET_PORT:
            why = f"may not expose port {_KUBELET_PORT} externally since it is used by kubelet"
            causes.append(invalid_value(at, _KUBELET_PORT, why))
        key, taken = (port.get("protocol"), port.get("port")), (port.get("protocol"), port.get("nodePort"))
        if key in numbers:
            causes.append(Cause(at, "FieldValueDuplicate", f"Duplicate value: {_go_port(port)}"))
        if port.get("nodePort") and taken in node_ports:
            causes.append(duplicate(f"{at}.nodePort", port["nodePort"]))
        numbers.add(key)
        node_ports.add(taken)


def _go_port(port: Map) -> str:
    target = 'intstr.IntOrString{Type:0, IntVal:0, StrVal:""}'
    found = f'Protocol:"{port.get("protocol", "")}", AppProtocol:(*string)(nil), Port:{port.get("port", 0)}, TargetPort:{target}'
    return f'core.ServicePort{{Name:"", {found}, NodePort:0}}'


def _affinity(spec: Map, causes: Causes) -> None:
    affinity = spec.get("sessionAffinity")
    one_of(affinity, ("ClientIP", "None"), "spec.sessionAffinity", causes)
    client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    seconds = client.get("timeoutSeconds")
    if affinity == "ClientIP" and seconds is not None and not 0 < seconds <= MAX_AFFINITY_S:
        at = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        causes.append(invalid_value(at, seconds, f"must be greater than 0 and less than {MAX_AFFINITY_S}"))


def _source_ranges(ranges: Sequence[str], kind: str, causes: Causes) -> None:
    at = "spec.LoadBalancerSourceRanges"  # as Kubernetes spells it
    if ranges and kind != "LoadBalancer":
        causes.append(forbidden_field(at, _ONLY_BALANCED))
    for i, text in enumerate(ranges):
        if network(text.strip()) is None:
            why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            causes.append(invalid_value(f"{at}[{i}]", text, why))


def _nothing_allocated(spec: Map, causes: Causes) -> None:
    given = {"clusterIPs": spec.get("clusterIPs") or spec.get("clusterIP"), **{n: spec.get(n) for n in ("ipFamilies", "ipFamilyPolicy")}}
    causes.extend(forbidden_field(f"spec.{n}", "may not be set for ExternalName services") for n, found in given.items() if found)


def _traffic(spec: Map, kind: str, headless: bool, causes: Causes) -> None:
    balanced = kind == "LoadBalancer"
    outside = kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    policy, inner = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
    if policy and not outside:
        causes.append(invalid_value("spec.externalTrafficPolicy", policy, "may only be set for externally-accessible services"))
    elif policy or kind in ("LoadBalancer", "NodePort"):
        one_of(policy, ("Cluster", "Local"), "spec.externalTrafficPolicy", causes)
    if inner:
        one_of(inner, ("Cluster", "Local"), "spec.internalTrafficPolicy", causes)
    health = spec.get("healthCheckNodePort")
    if health and not (balanced and policy == "Local"):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(invalid_value("spec.healthCheckNodePort", health, why))
    if not balanced and spec.get("allocateLoadBalancerNodePorts") is not None:
        causes.append(forbidden_field("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCED))
    wanted = spec.get("loadBalancerClass")
    if wanted is not None and not balanced:
        causes.append(forbidden_field("spec.loadBalancerClass", _ONLY_BALANCED))
    elif wanted is not None and (wrong := qualified_name_error(wanted)):
        causes.append(invalid_value("spec.loadBalancerClass", wanted, wrong))


def _update(spec: Map, old: Map, causes: Causes) -> None:
    if "ExternalName" in (spec.get("type"), old.get("type")):
        return
    if spec.get("type") == old.get("type") == "LoadBalancer" and spec.get("loadBalancerClass") != old.get("loadBalancerClass"):
        causes.append(invalid_value("spec.loadBalancerClass", spec.get("loadBalancerClass"), "may not change once set"))
    if all(_checked(each) for each in (spec, old)) and spec.get("healthCheckNodePort") != old.get("healthCheckNodePort"):
        causes.append(forbidden_field("spec.healthCheckNodePort", IMMUTABLE))
    _update_addresses(_addresses(spec), _addresses(old), causes)
    before, after = old.get("ipFamilies") or [], spec.get("ipFamilies") or []
    if before and after and "None" not in (spec.get("clusterIP"), old.get("clusterIP")) and before[0] != after[0]:
        causes.append(go_invalid("spec.ipFamilies[0]", _go_families(after), "may not change once set"))


def _checked(spec: Map) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _addresses(spec: Map) -> list[str]:
    return list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))


def _update_addresses(after: Sequence[str], before: Sequence[str], causes: Causes) -> None:
    shown = "[]string{" + ", ".join(f'"{a}"' for a in after) + "}" if after else "[]string(nil)"
    if before and not after:
        causes.append(go_invalid("spec.clusterIPs[0]", shown, "primary clusterIP can not be unset"))
    for i, (old, new) in enumerate(zip(before, after, strict=False)):
        if old != new:
            causes.append(go_invalid(f"spec.clusterIPs[{i}]", shown, "may not change once set"))


def _go_families(families: Sequence[str]) -> str:
    return "[]core.IPFamily{" + ", ".join(f'"{f}"' for f in families) + "}"


def _status(obj: Object, spec: Map, causes: Causes) -> None:
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    at = "status.loadBalancer.ingress"
    if ingress and spec.get("type") != "LoadBalancer":
        causes.append(forbidden_field(at, "may only be used when `spec.type` is 'LoadBalancer'"))
        return
    load_balancer(obj, causes)
    for i, entry in enumerate(ingress):
        mode = entry.get("ipMode")
        if mode is not None and not entry.get("ip"):
            causes.append(forbidden_field(f"{at}[{i}].ipMode", "may not be specified when `ip` is not set"))
        elif mode is not None and mode not in ("Proxy", "VIP"):
            causes.append(not_supported(f"{at}[{i}].ipMode", mode, ["Proxy", "VIP"]))
