"""Rules of what routes to Pods: Ingresses and their classes, NetworkPolicies, EndpointSlices. Pure.

Source: pkg/apis/networking/validation and pkg/apis/discovery/validation of Kubernetes 1.32.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import lru_cache
from typing import Any

from skerry.apiserver.schema.objectmeta import dns_1035_error, path_segment_error
from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    PORT_RANGE,
    Causes,
    Map,
    domain_path,
    duplicate,
    go_invalid,
    go_strings,
    ip_address,
    label_selector,
    one_of,
    port_name_error,
    too_long,
)
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, dns_subdomain_error, label_value_error, qualified_name_error
from skerry.model.objects import Object

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PARTS, _BAD_ENDS = ("//", "/./", "/../", "%2f", "%2F"), ("/..", "/.")
_WILDCARD = re.compile(r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WILDCARD_RULE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric "
    "characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is "
    "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
CIDR_RULE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
MAX_ADDRESSES, MAX_ENDPOINTS, MAX_PORTS, MAX_ZONES = 100, 1_000, 20_000, 8
_CLASS = "kubernetes.io/ingress.class"
_WAYS = ("Ingress", "Egress")
_node_name_error = lru_cache(maxsize=1024)(dns_subdomain_error)  # a slice names the same few nodes at every write


def ingress(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        load_balancer(obj, causes)
        return
    spec = obj.get("spec") or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        shown = "[]networking.IngressRule(nil)" if spec.get("rules") is None else "[]networking.IngressRule{}"
        causes.append(go_invalid("spec", shown, "either `defaultBackend` or `rules` must be specified"))
    if spec.get("defaultBackend"):
        _backend(spec["defaultBackend"], "spec.defaultBackend", causes)
    for i, rule in enumerate(spec.get("rules") or ()):
        _ingress_rule(rule, f"spec.rules[{i}]", causes)
    for i, tls in enumerate(spec.get("tls") or ()):
        for j, host in enumerate(tls.get("hosts") or ()):
            _host(host, f"spec.tls[{i}].hosts[{j}]", causes)
        if tls.get("secretName") and (wrong := dns_subdomain_error(tls["secretName"])):
            causes.append(invalid_value(f"spec.tls[{i}].secretName", tls["secretName"], wrong))
    named = spec.get("ingressClassName")
    if named is not None and (wrong := dns_subdomain_error(named)):
        causes.append(invalid_value("spec.ingressClassName", named, wrong))
    noted = ((obj.get("metadata") or {}).get("annotations") or {}).get(_CLASS)
    if old is None and noted is not None and named is not None and noted != named:
        causes.append(invalid_value(f"annotations.{_CLASS}", noted, "must match `ingressClassName` when both are specified"))


def load_balancer(obj: Object, causes: Causes) -> None:
    """Check where an Ingress or a Service is reached."""
    for i, entry in enumerate(((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()):
        at, name = f"status.loadBalancer.ingress[{i}]", entry.get("hostname")
        if entry.get("ip"):
            ip_address(entry["ip"], f"{at}.ip", causes)
        if name and (wrong := dns_subdomain_error(name)):
            causes.append(invalid_value(f"{at}.hostname", name, wrong))
        if name and _is_address(name):
            causes.append(invalid_value(f"{at}.hostname", name, "must be a DNS name, not an IP address"))


def _ingress_rule(rule: Map, field: str, causes: Causes) -> None:
    host = rule.get("host")
    if host:
        if _is_address(host):
            causes.append(invalid_value(f"{field}.host", host, "must be a DNS name, not an IP address"))
        else:
            _host(host, f"{field}.host", causes)
    http = rule.get("http")
    if http is not None and not http.get("paths"):
        causes.append(required(f"{field}.http.paths"))
    for i, path in enumerate((http or {}).get("paths") or ()):
        _ingress_path(path, f"{field}.http.paths[{i}]", causes)


def _host(host: str, field: str, causes: Causes) -> None:
    wrong = _wildcard_error(host) if "*" in host else dns_subdomain_error(host)
    if wrong:
        causes.append(invalid_value(field, host, wrong))


def _wildcard_error(host: str) -> str | None:
    return None if _WILDCARD.fullmatch(host) else _WILDCARD_RULE


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _ingress_path(path: Map, field: str, causes: Causes) -> None:
    kind, value = path.get("pathType"), path.get("path") or ""
    if kind is None:
        causes.append(required(f"{field}.pathType", "pathType must be specified"))
        return
    if kind not in _PATH_TYPES:
        causes.append(not_supported(f"{field}.pathType", kind, list(_PATH_TYPES)))
    elif not value.startswith("/") and (value or kind != "ImplementationSpecific"):
        causes.append(invalid_value(f"{field}.path", value, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        causes.extend(invalid_value(f"{field}.path", value, f"must not contain '{p}'") for p in _BAD_PARTS if p in value)
        causes.extend(invalid_value(f"{field}.path", value, f"cannot end with '{e}'") for e in _BAD_ENDS if value.endswith(e))
    _backend(path.get("backend") or {}, f"{field}.backend", causes)


def _backend(backend: Map, field: str, causes: Causes) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        causes.append(invalid_value(field, "", "cannot set both resource and service backends"))
    elif service is not None:
        _backend_service(service, field, causes)
    elif resource is not None:
        _typed_reference(resource, f"{field}.resource", causes)
    else:
        causes.append(invalid_value(field, "", "resource or service backend is required"))


def _typed_reference(found: Map, field: str, causes: Causes) -> None:
    group = found.get("apiGroup")
    if group is not None and (wrong := dns_subdomain_error(group)):
        causes.append(invalid_value(f"{field}.apiGroup", group, wrong))
    for name in ("kind", "name"):
        if not found.get(name):
            causes.append(required(f"{field}.{name}", f"{name} is required"))
        elif wrong := path_segment_error(found[name]):
            causes.append(invalid_value(f"{field}.{name}", found[name], wrong))


def _backend_service(service: Map, field: str, causes: Causes) -> None:
    name, port = service.get("name"), service.get("port") or {}
    if not name:
        causes.append(required(f"{field}.service.name"))
    elif wrong := dns_1035_error(name):
        causes.append(invalid_value(f"{field}.service.name", name, wrong))
    if port.get("name") and port.get("number"):
        causes.append(invalid_value(field, "", "cannot set both port name & port number"))
    elif port.get("name"):
        if wrong := port_name_error(port["name"]):
            causes.append(invalid_value(f"{field}.service.port.name", port["name"], wrong))
    elif port.get("number"):
        if not 1 <= port["number"] <= 65535:
            causes.append(invalid_value(f"{field}.service.port.number", port["number"], PORT_RANGE))
    else:
        causes.append(required(field, "port name or number is required"))


def ingress_class(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    if len(spec.get("controller") or "") > 250:
        causes.append(too_long("spec.controller", 250))
    domain_path(spec.get("controller") or "", "spec.controller", causes)
    if spec.get("parameters") is not None:
        _class_parameters(spec["parameters"], "spec.parameters", causes)
    if old is not None and spec.get("controller") != (old.get("spec") or {}).get("controller"):
        causes.append(invalid_value("spec.controller", spec.get("controller"), IMMUTABLE))


def _class_parameters(found: Map, field: str, causes: Causes) -> None:
    _typed_reference(found, field, causes)
    scope, namespace = found.get("scope"), found.get("namespace")
    if scope is None:
        causes.append(required(f"{field}.scope"))
    elif scope not in ("Cluster", "Namespace"):
        causes.append(not_supported(f"{field}.scope", scope, ["Cluster", "Namespace"]))
    elif scope == "Cluster" and namespace is not None:
        causes.append(forbidden_field(f"{field}.namespace", "`parameters.scope` is set to 'Cluster'"))
    elif scope == "Namespace" and namespace is None:
        causes.append(required(f"{field}.namespace", "`parameters.scope` is set to 'Namespace'"))
    elif scope == "Namespace" and (wrong := dns_label_error(str(namespace))):
        causes.append(invalid_value(f"{field}.namespace", namespace, wrong))


def network_policy(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    label_selector(spec.get("podSelector"), "spec.podSelector", causes)
    for way, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(spec.get(way) or ()):
            at = f"spec.{way}[{i}]"
            for j, port in enumerate(rule.get("ports") or ()):
                _policy_port(port, f"{at}.ports[{j}]", causes)
            for j, peer in enumerate(rule.get(peers) or ()):
                _peer(peer, f"{at}.{peers}[{j}]", causes)
    types = spec.get("policyTypes") or ()
    if len(types) > len(_WAYS):
        shown = go_strings(types, "networking.PolicyType")
        causes.append(go_invalid("spec.policyTypes", shown, "may not specify more than two policyTypes"))
        return
    causes.extend(not_supported(f"spec.policyTypes[{i}]", t, list(_WAYS)) for i, t in enumerate(types) if t not in _WAYS)


def _policy_port(port: Map, field: str, causes: Causes) -> None:
    one_of(port.get("protocol"), ("TCP", "UDP", "SCTP"), f"{field}.protocol", causes, optional=True)
    first, last = port.get("port"), port.get("endPort")
    if first is None:
        if last is not None:
            causes.append(invalid_value(f"{field}.endPort", last, "may not be specified when `port` is not specified"))
    elif isinstance(first, str):
        if last is not None:
            causes.append(invalid_value(f"{field}.endPort", last, "may not be specified when `port` is non-numeric"))
        if wrong := port_name_error(first):
            causes.append(invalid_value(f"{field}.port", first, wrong))
    else:
        if not 1 <= first <= 65535:
            causes.append(invalid_value(f"{field}.port", first, PORT_RANGE))
        if last is not None and last < first:
            causes.append(invalid_value(f"{field}.endPort", first, "must be greater than or equal to `port`"))
        if last is not None and not 1 <= last <= 65535:
            causes.append(invalid_value(f"{field}.endPort", last, PORT_RANGE))


def _peer(peer: Map, field: str, causes: Causes) -> None:
    for name in ("podSelector", "namespaceSelector"):
        label_selector(peer.get(name), f"{field}.{name}", causes)
    given = [n for n in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(n) is not None]
    if not given:
        causes.append(required(field, "must specify a peer"))
    if "ipBlock" in given:
        _block(peer["ipBlock"], f"{field}.ipBlock", causes)
        if len(given) > 1:
            causes.append(forbidden_field(field, "may not specify both ipBlock and another peer"))


def _block(block: Map, field: str, causes: Causes) -> None:
    cidr = block.get("cidr") or ""
    if not cidr:
        causes.append(required(f"{field}.cidr"))
        return
    whole = network(cidr)
    if whole is None:
        causes.append(invalid_value(f"{field}.cidr", cidr, CIDR_RULE))
        return
    for i, text in enumerate(block.get("except") or ()):
        part: Any = network(text)
        if part is None:
            causes.append(invalid_value(f"{field}.except[{i}]", text, CIDR_RULE))
        elif part.version != whole.version or part == whole or not part.subnet_of(whole):
            causes.append(invalid_value(f"{field}.except[{i}]", text, "must be a strict subset of `cidr`"))


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the network that *text* names (a length is needed; other bits may be set), or None."""
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def endpoint_slice(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    family = obj.get("addressType")
    one_of(family, ("FQDN", "IPv4", "IPv6"), "addressType", causes)
    if old is not None and family != old.get("addressType"):
        causes.append(invalid_value("addressType", family, IMMUTABLE))
    endpoints = obj.get("endpoints") or ()
    if len(endpoints) > MAX_ENDPOINTS:
        causes.append(_too_many("endpoints", len(endpoints), MAX_ENDPOINTS))
        endpoints = ()
    for i, endpoint in enumerate(endpoints):
        _endpoint(endpoint, str(family), f"endpoints[{i}]", causes)
    _slice_ports(obj.get("ports") or (), causes)


def _too_many(field: str, count: int, most: int) -> Cause:
    return Cause(field, "FieldValueTooMany", f"Too many: {count}: must have at most {most} items")


def _endpoint(endpoint: Map, family: str, field: str, causes: Causes) -> None:
    addresses, at, node = endpoint.get("addresses") or (), f"{field}.addresses", endpoint.get("nodeName")
    if not addresses:
        causes.append(required(at, "must contain at least 1 address"))
    elif len(addresses) > MAX_ADDRESSES:
        causes.append(_too_many(at, len(addresses), MAX_ADDRESSES))
    for j, address in enumerate(addresses[:MAX_ADDRESSES]):
        wrong = _slice_address_error(address, family)
        if wrong:
            causes.append(invalid_value(f"{at}[{j}]", address, wrong))
    if node is not None and (wrong := _node_name_error(node)):
        causes.append(invalid_value(f"{field}.nodeName", node, wrong))
    if endpoint.get("hostname") is not None and (wrong := dns_label_error(endpoint["hostname"])):
        causes.append(invalid_value(f"{field}.hostname", endpoint["hostname"], wrong))
    if endpoint.get("hints"):
        _zones(endpoint["hints"].get("forZones") or (), f"{field}.hints.forZones", causes)


def _zones(found: Any, field: str, causes: Causes) -> None:
    if len(found) > MAX_ZONES:
        causes.append(_too_many(field, len(found), MAX_ZONES))
        return
    zones = [z.get("name") or "" for z in found]
    for j, zone in enumerate(zones):
        if zone in zones[:j]:
            causes.append(duplicate(f"{field}[{j}].name", zone))
        if wrong := label_value_error(zone):
            causes.append(invalid_value(f"{field}[{j}].name", zone, wrong))


def _slice_address_error(address: str, family: str) -> str | None:
    if family == "FQDN":
        return dns_subdomain_error(address.removesuffix("."))
    try:
        socket.inet_pton(socket.AF_INET6 if family == "IPv6" else socket.AF_INET, address)
    except (OSError, ValueError):
        return f"must be a valid {family} address"
    return None  # Kubernetes refuses the loopback range; a node of ours may be the hub's own machine, with its Pods at its address.


def _slice_ports(ports: Any, causes: Causes) -> None:
    if len(ports) > MAX_PORTS:
        causes.append(_too_many("ports", len(ports), MAX_PORTS))
        return
    seen: set[str] = set()
    for i, port in enumerate(ports):
        at, name, spoken = f"ports[{i}]", port.get("name") or "", port.get("appProtocol")
        if name and (wrong := dns_label_error(name)):
            causes.append(invalid_value(f"{at}.name", name, wrong))
        if name in seen:
            causes.append(duplicate(f"{at}.name", name))
        seen.add(name)
        one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{at}.protocol", causes, optional=True)
        if spoken is not None and (wrong := qualified_name_error(spoken)):
            causes.append(invalid_value(f"{at}.appProtocol", spoken, wrong))
