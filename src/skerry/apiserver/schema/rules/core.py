"""Rules of the core group that are not about Pods: data, Services, Nodes, Namespaces, Events, Endpoints."""

from __future__ import annotations

import binascii
from typing import Any

import msgspec

from skerry.apiserver.schema.gojson import go_words
from skerry.apiserver.schema.rules.common import (
    IMMUTABLE,
    MAX_DATA_BYTES,
    Causes,
    config_key_error,
    ip_address,
    one_of,
    port_number,
    too_long,
)
from skerry.model.errors import Cause, forbidden_field, invalid_value, required
from skerry.model.names import qualified_name_error
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
    for i, finalizer in enumerate((obj.get("spec") or {}).get("finalizers") or ()):
        if finalizer == "kubernetes":
            continue
        wrong = qualified_name_error(finalizer)
        if wrong:
            causes.append(invalid_value(f"spec.finalizers[{i}]", finalizer, wrong))


def node(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    spec = obj.get("spec") or {}
    seen: set[tuple[Any, Any]] = set()
    for i, taint in enumerate(spec.get("taints") or ()):
        at = f"spec.taints[{i}]"
        wrong = qualified_name_error(taint.get("key") or "")
        if wrong:
            causes.append(invalid_value(f"{at}.key", taint.get("key") or "", wrong))
        one_of(taint.get("effect"), ("NoSchedule", "PreferNoSchedule", "NoExecute"), f"{at}.effect", causes)
        key = (taint.get("key"), taint.get("effect"))
        if key in seen:
            why = f"Duplicate value: taints must be unique by key and effect pair: {taint.get('key')}:{taint.get('effect')}"
            causes.append(Cause(at, "FieldValueDuplicate", why))
        seen.add(key)
    if old is not None:
        before = old.get("spec") or {}
        for name in ("podCIDR", "providerID"):
            if before.get(name) and spec.get(name) != before[name]:
                causes.append(forbidden_field(f"spec.{name}", f'node updates may not change {name} except from "" to valid'))


def event(obj: Object, old: Object | None, causes: Causes, subresource: str) -> None:
    """Check an Event of either group; they are two views of one."""
    involved = obj.get("involvedObject", obj.get("regarding")) or {}
    field = "involvedObject" if "involvedObject" in obj else "regarding"
    own, about = (obj.get("metadata") or {}).get("namespace") or "", involved.get("namespace") or ""
    if (about and about != own) or (not about and own not in ("", "default")):
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
        at = f"subsets[{i}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for j, address in enumerate(subset.get("addresses") or ()):
            ip_address(address.get("ip") or "", f"{at}.addresses[{j}].ip", causes)
        for j, port in enumerate(subset.get("ports") or ()):
            if len(subset["ports"]) > 1 and not port.get("name"):
                causes.append(required(f"{at}.ports[{j}].name"))
            port_number(port.get("port"), f"{at}.ports[{j}].port", causes)
            one_of(port.get("protocol"), ("SCTP", "TCP", "UDP"), f"{at}.ports[{j}].protocol", causes)
