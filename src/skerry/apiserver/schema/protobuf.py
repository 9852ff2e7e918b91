"""Protobuf request bodies (`application/vnd.kubernetes.protobuf`), decoded by table; answers are never protobuf.

Go's generated clients send built-in kinds this way and do not fall back to JSON. The envelope is `k8s\\0` and a
`runtime.Unknown` message; fields come from the published wire format. Go writes every zero of a field that is not a pointer:
those are dropped here, zeros of pointers are kept. Work is bounded by the length of the body: nothing is allocated for a length
that is not there, and messages nest 64 deep at most.
"""

from __future__ import annotations

import base64
import struct
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from skerry.apiserver.schema.budget import MAX_VALUES
from skerry.apiserver.schema.facts import FACTS, WireField
from skerry.model.errors import bad_request
from skerry.model.objects import Object

MAGIC = b"k8s\x00"
MAX_NESTING = 64
_LONG = 64
"""Fields of shorter messages are not counted one by one: bytes."""

_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GROUPS = {
    "": "core",
    "rbac.authorization.k8s.io": "rbac",
    "networking.k8s.io": "networking",
    "storage.k8s.io": "storage",
    "coordination.k8s.io": "coordination",
    "scheduling.k8s.io": "scheduling",
    "node.k8s.io": "node",
    "discovery.k8s.io": "discovery",
    "events.k8s.io": "events",
    "certificates.k8s.io": "certificates",
    "authentication.k8s.io": "authentication",
    "authorization.k8s.io": "authorization",
    "admissionregistration.k8s.io": "admissionregistration",
    "flowcontrol.apiserver.k8s.io": "flowcontrol",
    "resource.k8s.io": "resource",
}
_ELSEWHERE = {
    "apiextensions.k8s.io": "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "k8s.io.kube_aggregator.pkg.apis.apiregistration",
}
_SHARED = ("DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "ListOptions", "GetOptions")


class WireError(ValueError):
    """Bytes that are not the message that they should be."""


def decode(body: bytes) -> Object:
    """Return the object in an envelope; raises ApiError 400."""
    try:
        return _decode(body)
    except (WireError, UnicodeDecodeError, msgspec.DecodeError, OverflowError, RecursionError) as error:
        raise bad_request(f"the body is not a Kubernetes protobuf object: {error}") from None


def _decode(body: bytes) -> Object:
    if body[:4] != MAGIC:
        raise WireError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    _budget.begin()
    envelope = _message("k8s.io.apimachinery.pkg.runtime.Unknown").raw(memoryview(body)[4:])
    identity = envelope.get("typeMeta") or {}
    api_version, kind = identity.get("apiVersion", ""), identity.get("kind", "")
    if envelope.get("contentEncoding"):
        raise WireError(f"content encoding {envelope['contentEncoding']} is not supported")
    obj: Object = {"apiVersion": api_version, "kind": kind}
    obj.update(_message(_message_name(api_version, kind)).read(memoryview(envelope.get("raw", b"")), 0))
    return obj


def _message_name(api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    name = f"{_ELSEWHERE[group]}.{version}.{kind}" if group in _ELSEWHERE else f"k8s.io.api.{_GROUPS.get(group, group)}.{version}.{kind}"
    if FACTS.message(name) is None and kind in _SHARED:
        name = f"{_META}{kind}"
    if FACTS.message(name) is None:
        raise WireError(f'no kind "{kind}" is registered for version "{api_version}"')
    return name


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("truncated or overlong varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


class _Budget(threading.local):
    """How many fields the body that is being read may still have: a body of 3 MiB has room for a million and a half."""

    def __init__(self) -> None:
        self._left = 0

    def begin(self) -> None:
        self._left = MAX_VALUES

    def spend(self, fields: int) -> None:
        self._left -= fields
        if self._left < 0:
            raise WireError(f"more than {MAX_VALUES} fields")


_budget = _Budget()
"""One for each thread: a body is read in one go."""


def _fields(data: memoryview) -> Any:
    """Yield (number, wire type, value); value is an int, or a view of the bytes."""
    at, end = 0, len(data)
    if end:
        _budget.spend(1)
    while at < end:
        if end > _LONG:
            _budget.spend(1)
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise WireError(f"wire type {wire} is not supported")
        if not number or length > end - at:
            raise WireError("a field is longer than the message that holds it")
        yield number, wire, data[at : at + length]
        at += length


class _Message:
    """One message type: how each of its fields is read."""

    def __init__(self, name: str, fields: list[WireField]) -> None:
        self._name = name
        self._fields = {f.number: f for f in fields}
        self._spelling = _spelling(name, fields)

    def raw(self, data: memoryview) -> Object:
        """Read one level only: nested messages by their own table, bytes as bytes."""
        found: Object = {}
        for number, wire, value in _fields(data):
            field = self._fields.get(number)
            if field is not None and wire == 2:
                if field.type == "bytes":
                    found[field.name] = bytes(value)
                elif "." in field.type:
                    found[field.name] = _message(field.type).raw(value)
                else:
                    found[field.name] = str(value, "utf-8")
        return found

    def read(self, data: memoryview, depth: int) -> Object:
        if depth > MAX_NESTING:
            raise WireError(f"messages are nested deeper than {MAX_NESTING}")
        found: Object = {}
        for number, wire, value in _fields(data):
            field = self._fields.get(number)
            if field is None:
                continue  # a field of a later version: dropped, as an unknown field of a built-in is
            name = self._spelling.get(field.name, field.name)
            if field.label == "map":
                key, item = _entry(field, value, wire, depth)
                found.setdefault(name, {})[key] = item
            elif "I" in field.flags:
                found.update(_read(field, value, wire, depth))
            elif field.label == "repeated":
                self._repeated(found.setdefault(name, []), field, value, wire, depth)
            else:
                item = _read(field, value, wire, depth)
                if item is not None and ("P" in field.flags or isinstance(item, (dict, list)) or item not in ("", 0, False)):
                    found[name] = item
        return found

    def _repeated(self, items: list[Any], field: WireField, value: Any, wire: int, depth: int) -> None:
        if wire == 2 and field.type in _VARINTS:  # packed
            at = 0
            while at < len(value):
                number, at = _varint(value, at)
                items.append(_VARINTS[field.type](number))
        else:
            items.append(_read(field, value, wire, depth))


def _spelling(name: str, fields: list[WireField]) -> dict[str, str]:
    """Return wire name -> JSON name where they differ (`xPreserveUnknownFields`, `ref` of JSONSchemaProps)."""
    if not name.endswith(".JSONSchemaProps"):
        return {}
    definition = FACTS.definition(
        f"io.{name}".replace("apiextensions_apiserver", "apiextensions-apiserver").replace("io.k8s.io.", "io.k8s.")
    )
    squashed = {p.replace("-", "").replace("$", "").lower(): p for p in definition.get("properties", {})}
    return {f.name: squashed[f.name.lower()] for f in fields if f.name not in definition["properties"] and f.name.lower() in squashed}


_MESSAGES: dict[str, _Message] = {}


def _message(name: str) -> _Message:
    found = _MESSAGES.get(name)
    if found is None:
        fields = FACTS.message(name)
        if fields is None:
            raise WireError(f"message {name} is not known")
        found = _MESSAGES[name] = _Message(name, fields)
    return found


def _entry(field: WireField, data: Any, wire: int, depth: int) -> tuple[str, Any]:
    if wire != 2:
        raise WireError(f"map {field.name} has an entry of wire type {wire}")
    key, item = "", None
    for number, inner, value in _fields(data):
        if number == 1 and inner == 2:
            key = str(value, "utf-8")
        elif number == 2:
            item = _read(field, value, inner, depth)
    if item is None:
        item = _read(field, memoryview(b""), 2, depth) if field.type not in _VARINTS else _VARINTS[field.type](0)
    return key, item


def _read(field: WireField, value: Any, wire: int, depth: int) -> Any:
    kind = field.type
    convert = _VARINTS.get(kind)
    if convert is not None:
        if wire != 0:
            raise WireError(f"field {field.name} has wire type {wire}")
        return convert(value)
    if kind in ("double", "float"):
        if wire != (1 if kind == "double" else 5):
            raise WireError(f"field {field.name} has wire type {wire}")
        return struct.unpack("<d" if kind == "double" else "<f", value)[0]
    if wire != 2:
        raise WireError(f"field {field.name} has wire type {wire}")
    if kind == "string":
        return str(value, "utf-8")
    if kind == "bytes":
        return base64.b64encode(value).decode()
    special = _SPECIAL.get(kind)
    return special(value, depth + 1) if special is not None else _message(kind).read(value, depth + 1)


def _signed(bits: int) -> Callable[[int], int]:
    def convert(value: int) -> int:
        value &= (1 << 64) - 1
        value = value - (1 << 64) if value >> 63 else value
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            raise WireError(f"{value} is not an int{bits}")
        return value

    return convert


_VARINTS: dict[str, Callable[[int], Any]] = {
    "int32": _signed(32),
    "int64": _signed(64),
    "uint32": lambda v: v & 0xFFFFFFFF,
    "uint64": lambda v: v,
    "bool": bool,
}


def _plain(name: str) -> Callable[[memoryview, int], Object]:
    return lambda data, depth: _message(name).read(data, depth)


def _numbers(data: memoryview) -> dict[int, Any]:
    return {number: value for number, _, value in _fields(data)}


def _moment(data: memoryview) -> datetime | None:
    parts = _numbers(data)
    seconds, nanos = _VARINTS["int64"](parts.get(1, 0)), _VARINTS["int32"](parts.get(2, 0))
    if not parts or not -62135596800 <= seconds <= 253402300799:
        return None
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _time(data: memoryview, depth: int) -> Any:
    at = _moment(data)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None and at.year > 1 else None


def _micro_time(data: memoryview, depth: int) -> Any:
    at = _moment(data)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at is not None and at.year > 1 else None


def _duration(data: memoryview, depth: int) -> str:
    nanos = _VARINTS["int64"](_numbers(data).get(1, 0))
    return go_duration(nanos)


def go_duration(nanos: int) -> str:
    """Return a duration as Go writes it: `1m30s`, `250ms`."""
    if nanos == 0:
        return "0s"
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    for unit, size in (("ns", 1), ("µs", 1000), ("ms", 10**6)):
        if nanos < size * 1000:
            return f"{sign}{nanos / size:.9g}{unit}"
    minutes, rest = divmod(nanos, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    whole, fraction = divmod(rest, 10**9)
    seconds = f"{whole}.{fraction:09d}".rstrip("0").rstrip(".") + "s"
    return sign + (f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds)


def _quantity(data: memoryview, depth: int) -> str:
    value = _numbers(data).get(1)
    return str(value, "utf-8") if isinstance(value, memoryview) else "0"


def _int_or_string(data: memoryview, depth: int) -> Any:
    parts = _numbers(data)
    if parts.get(1):
        text = parts.get(3, b"")
        return str(text, "utf-8") if not isinstance(text, int) else ""
    return _VARINTS["int32"](parts.get(2, 0))


def _json(data: memoryview, depth: int) -> Any:
    raw = _numbers(data).get(1)
    return msgspec.json.decode(raw) if isinstance(raw, memoryview) and len(raw) else None


def _strings(data: memoryview, depth: int) -> list[str]:
    return [str(value, "utf-8") for number, wire, value in _fields(data) if number == 1 and wire == 2]


def _schema_or_bool(data: memoryview, depth: int) -> Any:
    parts = _numbers(data)
    return _schema(parts[2], depth) if 2 in parts else bool(parts.get(1, 0))


def _schema_or_array(data: memoryview, depth: int) -> Any:
    several = [_schema(value, depth) for number, _, value in _fields(data) if number == 2]
    parts = _numbers(data)
    return several or _schema(parts.get(1, memoryview(b"")), depth)


def _schema_or_strings(data: memoryview, depth: int) -> Any:
    several = [str(value, "utf-8") for number, wire, value in _fields(data) if number == 2 and wire == 2]
    parts = _numbers(data)
    return several or _schema(parts.get(1, memoryview(b"")), depth)


def _schema(data: Any, depth: int) -> Object:
    if not isinstance(data, memoryview):
        raise WireError("a schema is not a message")
    return _message(f"{_CRD}JSONSchemaProps").read(data, depth)


_CRD = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1."
_SPECIAL: dict[str, Callable[[memoryview, int], Any]] = {
    f"{_META}Time": _time,
    f"{_META}MicroTime": _micro_time,
    f"{_META}Duration": _duration,
    f"{_META}FieldsV1": _json,
    f"{_META}Verbs": _strings,
    "k8s.io.apimachinery.pkg.runtime.RawExtension": _json,
    "k8s.io.apimachinery.pkg.api.resource.Quantity": _quantity,
    "k8s.io.apimachinery.pkg.api.resource.QuantityValue": _quantity,
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "k8s.io.api.authentication.v1.ExtraValue": _strings,
    "k8s.io.api.authorization.v1.ExtraValue": _strings,
    "k8s.io.api.certificates.v1.ExtraValue": _strings,
    f"{_CRD}JSON": _json,
    f"{_CRD}JSONSchemaPropsOrBool": _schema_or_bool,
    f"{_CRD}JSONSchemaPropsOrArray": _schema_or_array,
    f"{_CRD}JSONSchemaPropsOrStringArray": _schema_or_strings,
}
