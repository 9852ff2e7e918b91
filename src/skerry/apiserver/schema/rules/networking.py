"""Rules of what routes to Pods: Ingresses and their classes, NetworkPolicies, EndpointSlices. Pure.

Source: pkg/apis/networking/validation and pkg/apis/discovery/validation of Kubernetes 1.32.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from skerry.apiserver.schema.objectmeta import dns_1035_error
from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    PORT_RANGE,
    Causes,
    Map,
    domain_path,
    duplicate,
    label_selector,
    one_of,
    port_name_error,
)
from skerry.model.errors import Cause, forbidden_field, invalid_value, not_supported, required
from skerry.model.names import dns_label_error, dns_subdomain_error
from skerry.model.objects import Object

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PARTS, _BAD_ENDS = ("//", "/./", "/../", "%2f", "%2F"), ("/..", "/.")
_WILDCARD = re.compile(r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WILDCARD_RULE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric "
    "characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is "
    "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_CIDR_RULE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
MAX_ADDRESSES = 100


def ingress(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if subresource == "status":
        return
    spec = obj.get("spec") or {}
    if not spec.get("rules") and not spec.get("defaultBackend"):
        causes.append(invalid_value("spec", [], "either `defaultBackend` or `rules` must be specified"))
    if spec.get("defaultBackend"):
        _backend(spec["defaultBackend"], "spec.defaultBackend", causes)
    for i, rule in enumerate(spec.get("rules") or ()):
        _ingress_rule(rule, f"spec.rules[{i}]", causes)
    for i, tls in enumerate(spec.get("tls") or ()):
        for j, host in enumerate(tls.get("hosts") or ()):
            _host(host, f"spec.tls[{i}].hosts[{j}]", causes)
        if tls.get("secretName") and (wrong := dns_subdomain_error(tls["secretName"])):
            causes.append(invalid_value(f"spec.tls[{i}].secretName", tls["secretName"], wrong))
    if spec.get("ingressClassName") and (wrong := dns_subdomain_error(spec["ingressClassName"])):
        causes.append(invalid_value("spec.ingressClassName", spec["ingressClassName"], wrong))


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
    if not kind:
        causes.append(required(f"{field}.pathType", "pathType must be specified"))
    elif kind not in _PATH_TYPES:
        causes.append(not_supported(f"{field}.pathType", kind, list(_PATH_TYPES)))
    elif not value.startswith("/") and (value or kind != "ImplementationSpecific"):
        causes.append(invalid_value(f"{field}.path", value, "must be an absolute path"))
    elif kind != "ImplementationSpecific":
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
        causes.extend(required(f"{field}.resource.{n}") for n in ("kind", "name") if not resource.get(n))
    else:
        causes.append(invalid_value(field, "", "resource or service backend is required"))


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
        causes.append(Cause("spec.controller", "FieldValueTooLong", "Too long: may not be more than 250 bytes"))
    domain_path(spec.get("controller") or "", "spec.controller", causes)
    parameters, at = spec.get("parameters"), "spec.parameters"
    if parameters is not None:
        causes.extend(required(f"{at}.{n}") for n in ("kind", "name") if not parameters.get(n))
        scope, namespace = parameters.get("scope"), parameters.get("namespace")
        if scope == "Namespace" and not namespace:
            causes.append(required(f"{at}.namespace", "`parameters.scope` is set to 'Namespace'"))
        elif scope == "Cluster" and namespace:
            causes.append(forbidden_field(f"{at}.namespace", "`parameters.scope` is set to 'Cluster'"))
        one_of(scope, ("Cluster", "Namespace"), f"{at}.scope", causes, optional=True)
    if old is not None and spec.get("controller") != (old.get("spec") or {}).get("controller"):
        causes.append(invalid_value("spec.controller", spec.get("controller"), IMMUTABLE))


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
    for i, kind in enumerate(spec.get("policyTypes") or ()):
        one_of(kind, ("Egress", "Ingress"), f"spec.policyTypes[{i}]", causes)


def _policy_port(port: Map, field: str, causes: Causes) -> None:
    one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{field}.protocol", causes, optional=True)
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
            causes.append(invalid_value(f"{field}.endPort", last, "must be greater than or equal to `port`"))
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
        causes.append(invalid_value(f"{field}.cidr", cidr, _CIDR_RULE))
        return
    for i, text in enumerate(block.get("except") or ()):
        part: Any = network(text)
        if part is None:
            causes.append(invalid_value(f"{field}.except[{i}]", text, _CIDR_RULE))
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
    for i, endpoint in enumerate(obj.get("endpoints") or ()):
        addresses, at = endpoint.get("addresses") or (), f"endpoints[{i}].addresses"
        if not addresses:
            causes.append(required(at, "must contain at least 1 address"))
        elif len(addresses) > MAX_ADDRESSES:
            why = f"Too many: {len(addresses)}: must have at most {MAX_ADDRESSES} items"
            causes.append(Cause(at, "FieldValueTooMany", why))
        for j, address in enumerate(addresses[:MAX_ADDRESSES]):
            _slice_address(address, str(family), f"{at}[{j}]", causes)
    _slice_ports(obj.get("ports") or (), causes)


def _slice_address(address: str, family: str, field: str, causes: Causes) -> None:
    if family == "FQDN":
        wrong = dns_subdomain_error(address.removesuffix("."))
        if wrong:
            causes.append(invalid_value(field, address, wrong))
        return
    try:
        (ipaddress.IPv6Address if family == "IPv6" else ipaddress.IPv4Address)(address)
    except ValueError:
        causes.append(invalid_value(field, address, f"must be a valid {family} address"))
    # Kubernetes refuses the loopback range here; a node of ours may be the hub's own machine, and its Pods are at its address.


def _slice_ports(ports: Any, causes: Causes) -> None:
    seen: set[str] = set()
    for i, port in enumerate(ports):
        at, name = f"ports[{i}]", port.get("name") or ""
        if name in seen:
            causes.append(duplicate(f"{at}.name", name))
        elif name and (wrong := dns_label_error(name)):
            causes.append(invalid_value(f"{at}.name", name, wrong))
        seen.add(name)
        one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{at}.protocol", causes, optional=True)
