"""Rules of the core group that are not about Pods: data, Services, Nodes, Namespaces, Events, Endpoints."""

from __future__ import annotations

import binascii
from typing import Any

import msgspec

from skerry.apiserver.schema.gojson import go_words
from skerry.apiserver.schema.objectmeta import STANDARD_FINALIZERS
from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    MAX_DATA_BYTES,
    NOT_NEGATIVE,
    Causes,
    Map,
    amount,
    config_key_error,
    duplicate,
    go_invalid,
    go_strings,
    ip_address,
    one_of,
    port_number,
    too_long,
)
from skerry.apiserver.schema.rules.networking import CIDR_RULE, network
from skerry.model.errors import Cause, forbidden_field, invalid_value, required
from skerry.model.names import dns_label_error, dns_subdomain_error, label_value_error, qualified_name_error
from skerry.model.objects import Object
from skerry.model.unreadable import NOT_JSON

_FROZEN = "field is immutable when `immutable` is set"


def config_map(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    total = 0
    for key, value in data.items():
        _key(key, f"data[{key}]", causes)
        if key in binary:
            causes.append(invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData"))
        total += len(value) if value.isascii() else len(value.encode())
    for key, value in binary.items():
        _key(key, f"binaryData[{key}]", causes)
        total += _decoded_length(value)
    if total > MAX_DATA_BYTES:
        causes.append(too_long("[]", MAX_DATA_BYTES))
    if old is not None and old.get("immutable"):
        _frozen(obj, old, ("data", "binaryData"), causes)


def _key(key: str, field: str, causes: Causes) -> None:
    wrong = config_key_error(key)
    if wrong:
        causes.append(invalid_value(field, key, wrong))


def _decoded_length(text: str) -> int:
    return len(text) // 4 * 3 - text.count("=", -2)


def _frozen(obj: Object, old: Object, fields: tuple[str, ...], causes: Causes) -> None:
    if not obj.get("immutable"):
        causes.append(forbidden_field("immutable", _FROZEN))
    causes.extend(forbidden_field(f, _FROZEN) for f in fields if (obj.get(f) or {}) != (old.get(f) or {}))


_REDACTED = "<secret contents redacted>"
_SECRET_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def secret(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    data = obj.get("data") or {}
    total = 0
    for key, value in data.items():
        _key(key, f"data[{key}]", causes)
        total += _decoded_length(value)
    if total > MAX_DATA_BYTES:
        causes.append(too_long("data", MAX_DATA_BYTES))
    kind = obj.get("type") or ""
    for key in _SECRET_KEYS.get(kind, ()):
        if key not in data:
            causes.append(required(f"data[{key}]"))
        elif key.startswith(".docker"):
            _docker(data[key], f"data[{key}]", causes)
    if kind == "kubernetes.io/basic-auth" and not ("username" in data or "password" in data):
        causes.extend(required(f"data[{key}]") for key in ("username", "password"))
    if kind == "kubernetes.io/service-account-token":
        annotation = "kubernetes.io/service-account.name"
        if not ((obj.get("metadata") or {}).get("annotations") or {}).get(annotation):
            causes.append(required(f"metadata.annotations[{annotation}]"))
    if old is not None:
        if kind != old.get("type"):
            causes.append(invalid_value("type", kind, IMMUTABLE))
        if old.get("immutable"):
            _frozen(obj, old, ("data",), causes)


def _docker(value: str, field: str, causes: Causes) -> None:
    text = b""
    try:
        text = binascii.a2b_base64(value)
        found = msgspec.json.decode(text)
    except binascii.Error as error:
        causes.append(invalid_value(field, _REDACTED, str(error)))
        return
    except NOT_JSON as error:
        causes.append(invalid_value(field, _REDACTED, go_words(text, error)))
        return
    if not isinstance(found, dict):
        causes.append(invalid_value(field, _REDACTED, "must be a JSON object"))


def namespace(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    if old is not None and subresource != "finalize":
        return
    for i, finalizer in enumerate((obj.get("spec") or {}).get("finalizers") or ()):
        at = f"spec.finalizers[{i}]" if subresource else "spec.finalizers"
        if wrong := qualified_name_error(finalizer):
            causes.append(invalid_value(at, finalizer, wrong))
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            causes.append(invalid_value(at, finalizer, "name is neither a standard finalizer name nor is it fully qualified"))


def node(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    _taints(spec.get("taints") or (), causes)
    for name in ("capacity", "allocatable"):
        for resource, text in (status.get(name) or {}).items():
            if amount(text) < 0:
                causes.append(invalid_value(f"status.{name}.{resource}", text, NOT_NEGATIVE))
    if old is None:
        _ranges(spec.get("podCIDRs") or [], causes)
        return
    addresses = status.get("addresses") or ()
    for i, address in enumerate(addresses):
        if address in addresses[:i]:
            shown = f'core.NodeAddress{{Type:"{address.get("type") or ""}", Address:"{address.get("address") or ""}"}}'
            causes.append(Cause(f"status.addresses[{i}]", "FieldValueDuplicate", f"Duplicate value: {shown}"))
    before = old.get("spec") or {}
    for name, called in (("podCIDRs", "podCIDR"), ("providerID", "providerID")):
        if before.get(name) and spec.get(name) != before[name]:
            causes.append(forbidden_field(f"spec.{name}", f'node updates may not change {called} except from "" to valid'))


def _taints(taints: Any, causes: Causes) -> None:
    seen: set[tuple[Any, Any]] = set()
    for i, taint in enumerate(taints):
        at, key, value = f"metadata.taints[{i}]", taint.get("key") or "", taint.get("value") or ""  # where Kubernetes says that they are
        if wrong := qualified_name_error(key):
            causes.append(invalid_value(f"{at}.key", key, wrong))
        if wrong := label_value_error(value):
            causes.append(invalid_value(f"{at}.value", value, wrong))
        effect = taint.get("effect") or ""
        one_of(effect, ("NoSchedule", "PreferNoSchedule", "NoExecute"), f"{at}.effect", causes)
        if (key, effect) in seen:
            shown = f'core.Taint{{Key:"{key}", Value:"{value}", Effect:"{effect}", TimeAdded:<nil>}}'
            why = f"Duplicate value: {shown}: taints must be unique by key and effect pair"
            causes.append(Cause(at, "FieldValueDuplicate", why))
        seen.add((key, effect))


def _ranges(ranges: list[str], causes: Causes) -> None:
    """Check the addresses that a node gives to its Pods: a range of each family at most."""
    found = [network(text) for text in ranges]
    for i, (text, one) in enumerate(zip(ranges, found, strict=True)):
        if one is None:
            causes.append(invalid_value(f"spec.podCIDRs[{i}]", text, CIDR_RULE))
    if len(ranges) > 1 and (len(ranges) > 2 or len({one.version for one in found if one is not None}) < len(ranges)):
        causes.append(go_invalid("spec.podCIDRs", go_strings(ranges), "may specify no more than one CIDR for each IP family"))
    causes.extend(duplicate(f"spec.podCIDRs[{i}]", text) for i, text in enumerate(ranges) if text in ranges[:i])


def event(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    """Check an Event of either group; they are two views of one."""
    involved = obj.get("involvedObject", obj.get("regarding")) or {}
    field = "involvedObject" if "involvedObject" in obj else "regarding"
    own, about = (obj.get("metadata") or {}).get("namespace") or "", involved.get("namespace") or ""
    homes = ("default", "kube-system") if obj.get("eventTime") else ("", "default")
    if (not about and own not in homes) or (about and about != own and not obj.get("eventTime")):
        causes.append(invalid_value(f"{field}.namespace", about, "does not match event.namespace"))
    if obj.get("apiVersion") == "events.k8s.io/v1" and old is None:
        if not obj.get("eventTime"):
            causes.append(required("eventTime"))
        for name in ("reportingController", "reportingInstance", "action", "reason"):
            if not obj.get(name):
                causes.append(required(name))
        if obj.get("type") not in ("Normal", "Warning"):
            causes.append(invalid_value("type", "", f"has invalid value: {obj.get('type') or ''}"))


def endpoints(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    for i, subset in enumerate(obj.get("subsets") or ()):
        at, ports = f"subsets[{i}]", subset.get("ports") or ()
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for name in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(subset.get(name) or ()):
                _endpoint_address(address, f"{at}.{name}[{j}]", causes)
        for j, port in enumerate(ports):
            _endpoint_port(port, f"{at}.ports[{j}]", causes, named=len(ports) > 1)


def _endpoint_address(address: Map, field: str, causes: Causes) -> None:
    """Check an address; one that only its own machine reaches is taken, since a node of ours may be the hub's machine."""
    ip_address(address.get("ip") or "", f"{field}.ip", causes)
    if address.get("hostname") and (wrong := dns_label_error(address["hostname"])):
        causes.append(invalid_value(f"{field}.hostname", address["hostname"], wrong))
    node = address.get("nodeName")
    if node is not None and (wrong := dns_subdomain_error(node)):
        causes.append(invalid_value(f"{field}.nodeName", node, wrong))


def _endpoint_port(port: Map, field: str, causes: Causes, *, named: bool) -> None:
    name, spoken = port.get("name") or "", port.get("appProtocol")
    if named and not name:
        causes.append(required(f"{field}.name"))
    elif name and (wrong := dns_label_error(name)):
        causes.append(invalid_value(f"{field}.name", name, wrong))
    port_number(port.get("port") or 0, f"{field}.port", causes)
    one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{field}.protocol", causes)
    if spoken is not None and (wrong := qualified_name_error(spoken)):
        causes.append(invalid_value(f"{field}.appProtocol", spoken, wrong))
