"""What a DeviceProfile says, as typed values: `extends` resolved, units in the names, and the rules a value must keep.

What must stay true: everything here is pure; a `Profile` is consistent (`profile_causes` found nothing), so whoever drives
or simulates a device need not check it again; `value_error` is the one judgement of a value, at the API and at the node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from skerry.model.bindings import ModbusPoint, binding_causes, modbus_point, modbus_span
from skerry.model.errors import Cause, invalid_value, not_supported, required
from skerry.model.expressions import RESERVED, Expression, ExpressionError, Kind, parse
from skerry.model.objects import Object, dig, metadata
from skerry.model.times import parse_duration

TYPES = ("number", "integer", "boolean", "string", "enum")
ACCESS = ("read", "readWrite", "write")
MAX_EXTENDS = 8
MAX_TEXT = 4096
EVERY_S = (0.1, 86_400.0)
DEFAULT_EVERY_S = 1.0
MQTT_KEYS = ("at", "seq")
"""Keys of a telemetry message that are no properties."""
_KINDS: dict[str, Kind] = {"number": "double", "integer": "int", "boolean": "bool", "string": "string", "enum": "string"}

Scalar = bool | int | float | str
Find = Callable[[str], Object | None]
"""Finds the DeviceProfile of a name in the profile's own namespace."""


class Property(msgspec.Struct, frozen=True):
    """One typed value of a device. `every_s` 0 means that it is not polled (write only, or the device pushes)."""

    name: str
    type: str
    unit: str = ""
    range: tuple[float, float] | None = None
    values: tuple[str, ...] = ()
    access: str = "read"
    every_s: float = DEFAULT_EVERY_S
    deadband: float = 0.0
    binding: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @property
    def readable(self) -> bool:
        return self.access != "write"

    @property
    def writable(self) -> bool:
        return self.access != "read"

    @property
    def limits(self) -> tuple[float, float] | None:
        """The stated range, or what the register can hold when a written number states none."""
        if self.range is not None or self.type not in ("number", "integer") or not self.binding.get("modbus"):
            return self.range
        return modbus_span(modbus_point(self.binding["modbus"]))


class Rule(msgspec.Struct, frozen=True):
    """A device event: it happens when `when` becomes true."""

    name: str
    when: Expression
    severity: int


class Profile(msgspec.Struct, frozen=True):
    """A DeviceProfile with everything that it extends."""

    name: str
    protocol: str
    properties: Mapping[str, Property]
    rules: tuple[Rule, ...] = ()
    commands: Mapping[str, Mapping[str, Any]] = msgspec.field(default_factory=dict)


class ProfileError(ValueError):
    """The profile cannot be used: `reason` is a condition's reason, the message names the profile and the field."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def load_profile(obj: Object, find: Find) -> Profile:
    """Return the resolved, consistent profile; raises ProfileError."""
    spec = merged_spec(obj, find)
    causes = profile_causes(spec, complete=True)
    name = str(metadata(obj).get("name") or "")
    if causes:
        raise ProfileError("ProfileInvalid", f"DeviceProfile {name}: {causes[0]}")
    return typed_profile(name, spec)


def typed_profile(name: str, spec: Mapping[str, Any]) -> Profile:
    """Return the typed form of a merged spec in which `profile_causes` found nothing."""
    properties = {n: _property(n, p) for n, p in (spec.get("properties") or {}).items()}
    kinds = expression_kinds(spec)
    rules = tuple(Rule(n, parse(e["when"], kinds), int(e.get("severity", 9))) for n, e in (spec.get("events") or {}).items())
    return Profile(name, spec["protocol"], properties, rules, spec.get("commands") or {})


def _property(name: str, p: Mapping[str, Any]) -> Property:
    every = dig(p, "read", "every")
    bounds = p.get("range")
    return Property(
        name,
        p["type"],
        str(p.get("unit") or ""),
        (bounds[0], bounds[1]) if bounds else None,
        tuple(p.get("values") or ()),
        p.get("access") or "read",
        parse_duration(every) if every else DEFAULT_EVERY_S,
        float(dig(p, "read", "deadband", default=0.0)),
        p.get("binding") or {},
    )


def expression_kinds(spec: Mapping[str, Any]) -> dict[str, Kind]:
    """Return the properties that an expression may name, with the type it sees."""
    found = spec.get("properties") or {}
    return {n: _KINDS[p["type"]] for n, p in found.items() if p.get("type") in _KINDS and p.get("access") != "write"}


def merged_spec(obj: Object, find: Find) -> dict[str, Any]:
    """Return the spec with every base laid under it, later bases and the profile itself winning field by field."""
    return _merge(obj, find, ())


def _merge(obj: Object, find: Find, path: tuple[str, ...]) -> dict[str, Any]:
    name, spec = str(metadata(obj).get("name") or ""), obj.get("spec") or {}
    if name in path:
        raise ProfileError("ProfileInvalid", f"DeviceProfile {path[0]} extends itself: {' -> '.join([*path, name])}")
    if len(path) >= MAX_EXTENDS:
        raise ProfileError("ProfileInvalid", f"DeviceProfile {path[0]} extends through more than {MAX_EXTENDS} profiles")
    result: dict[str, Any] = {}
    for base in spec.get("extends") or []:
        found = find(base)
        if found is None:
            raise ProfileError("ProfileNotFound", f"DeviceProfile {name} extends {base}, which does not exist")
        result = _overlay(result, _merge(found, find, (*path, name)))
    return _overlay(result, {k: v for k, v in spec.items() if k != "extends"})


def _overlay(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`properties`, `commands` and `events` merge by name and field; a field itself is replaced whole."""
    result = {**under, **over}
    for part in ("properties", "commands", "events"):
        if part in under and part in over:
            both = {**under[part], **over[part]}
            result[part] = {n: {**under[part].get(n, {}), **v} for n, v in both.items()}
    return result


def profile_causes(spec: Mapping[str, Any], *, complete: bool, field_name: str = "spec") -> list[Cause]:
    """Say what is inconsistent; *complete* is False when a base is not there yet, and missing parts are forgiven."""
    found: list[Cause] = []
    if complete and not spec.get("protocol"):
        found.append(required(f"{field_name}.protocol", "the protocol that the bindings are for, such as modbus or mqtt"))
    protocol = spec.get("protocol") or ""
    for name, p in (spec.get("properties") or {}).items():
        found += _property_causes(f"{field_name}.properties.{name}", name, p, protocol, complete=complete)
    for name, command in (spec.get("commands") or {}).items():
        found += _command_causes(f"{field_name}.commands.{name}", command, protocol)
    if complete and not found:
        found += _event_causes(f"{field_name}.events", spec)
    return found


def _property_causes(at: str, name: str, p: Mapping[str, Any], protocol: str, *, complete: bool) -> list[Cause]:
    kind = p.get("type") or ""
    found: list[Cause] = []
    if name in RESERVED or name == "size":
        found.append(invalid_value(at, name, "is a reserved word of the expression language"))
    if not kind and complete:
        return [*found, required(f"{at}.type", f"one of {', '.join(TYPES)}")]
    if kind:
        found += _type_causes(at, p, kind)
    found += _read_causes(at, p, kind)
    binding = dig(p, "binding", protocol, default={} if protocol == "mqtt" else None)
    if binding is None:
        if complete and protocol == "modbus":
            found.append(required(f"{at}.binding.modbus", "the profile's protocol is modbus"))
        return found
    where = f"{at}.binding.{protocol}"
    wrong = binding_causes(where, protocol, binding, kind=kind, writes=p.get("access", "read") != "read")
    if not wrong and not found and protocol == "modbus" and kind:
        wrong = _fits(where, p, modbus_point(binding), kind)
    if protocol == "mqtt" and (binding.get("name") or name) in MQTT_KEYS:
        wrong.append(
            invalid_value(where, binding.get("name") or name, f"is a key of every message ({', '.join(MQTT_KEYS)}): give it another name")
        )
    return found + wrong


def _fits(at: str, p: Mapping[str, Any], point: ModbusPoint, kind: str) -> list[Cause]:
    """A range or a list of values that the register cannot hold would be refused only by the device, far away."""
    if point.table not in ("input", "holding"):
        return []
    if kind == "enum" and len(p["values"]) - 1 > modbus_span(point)[1]:
        return [invalid_value(f"{at}.as", point.format, f"cannot hold {len(p['values'])} values")]
    if kind in ("number", "integer") and p.get("range") and p.get("access", "read") != "read":
        low, high = modbus_span(point)
        if not low <= p["range"][0] <= p["range"][1] <= high:
            return [invalid_value(f"{at}.as", point.format, f"holds {_n(low)} to {_n(high)}, which does not cover the range")]
    return []


def _type_causes(at: str, p: Mapping[str, Any], kind: str) -> list[Cause]:
    found: list[Cause] = []
    numeric = kind in ("number", "integer")
    if not numeric:
        found += [
            invalid_value(f"{at}.{part}", p[part], f"is for numbers and integers, this is a {kind}")
            for part in ("unit", "range")
            if part in p
        ]
    elif p.get("range"):
        found += _range_causes(f"{at}.range", p["range"], kind)
    values = p.get("values")
    if kind == "enum" and not values:
        found.append(required(f"{at}.values", "the values of the enum"))
    elif kind == "enum" and len(set(values or ())) != len(values or ()):
        found.append(invalid_value(f"{at}.values", values, "must have no duplicates"))
    elif kind != "enum" and values:
        found.append(invalid_value(f"{at}.values", values, f"is for an enum, this is a {kind}"))
    return found


def _range_causes(at: str, bounds: Any, kind: str) -> list[Cause]:
    if not isinstance(bounds, list) or len(bounds) != 2 or any(_finite(b) is None for b in bounds):
        return [invalid_value(at, bounds, "must be two finite numbers: the least and the greatest value")]
    if bounds[0] > bounds[1]:
        return [invalid_value(at, bounds, "the least value comes first")]
    if kind == "integer" and any(b != int(b) for b in bounds):
        return [invalid_value(at, bounds, "must be whole numbers for an integer")]
    return []


def _read_causes(at: str, p: Mapping[str, Any], kind: str) -> list[Cause]:
    found: list[Cause] = []
    every, deadband = dig(p, "read", "every"), dig(p, "read", "deadband")
    if every is not None:
        found += duration_causes(f"{at}.read.every", every, *EVERY_S)
    if deadband is not None and (_finite(deadband) is None or deadband < 0):
        found.append(invalid_value(f"{at}.read.deadband", deadband, "must be a finite number of at least 0"))
    elif deadband and kind not in ("number", "integer", ""):
        found.append(invalid_value(f"{at}.read.deadband", deadband, f"is for numbers and integers, this is a {kind}"))
    if p.get("access") == "write" and "read" in p:
        found.append(invalid_value(f"{at}.read", "read", "the property is write only"))
    return found


def _command_causes(at: str, command: Mapping[str, Any], protocol: str) -> list[Cause]:
    found: list[Cause] = []
    for name, arg in (command.get("args") or {}).items():
        found += _type_causes(f"{at}.args.{name}", arg, arg.get("type") or "")
    if "timeout" in command:
        found += duration_causes(f"{at}.timeout", command["timeout"], 0.1, 3600.0)
    binding = dig(command, "binding", protocol)
    if binding is not None:
        # A Modbus command writes 1 (or true) to its point: it must be one that can be written.
        kind = "boolean" if "coil" in binding or "discrete" in binding else "integer"
        found += binding_causes(f"{at}.binding.{protocol}", protocol, binding, kind=kind, writes=True)
    return found


def _event_causes(at: str, spec: Mapping[str, Any]) -> list[Cause]:
    kinds, found = expression_kinds(spec), []
    for name, event in (spec.get("events") or {}).items():
        when = event.get("when")
        if not isinstance(when, str) or not when:
            found.append(required(f"{at}.{name}.when", "the expression that must become true"))
            continue
        try:
            if (kind := parse(when, kinds).kind) != "bool":
                found.append(invalid_value(f"{at}.{name}.when", when, f"must be true or false, this is a {kind}"))
        except ExpressionError as error:
            found.append(invalid_value(f"{at}.{name}.when", when, str(error)))
    return found


def duration_causes(at: str, text: Any, low_s: float, high_s: float) -> list[Cause]:
    """Say what is wrong with a duration that must lie between two others, in seconds."""
    try:
        seconds = parse_duration(text)
    except (ValueError, TypeError) as error:
        return [invalid_value(at, text, str(error))]
    if not low_s <= seconds <= high_s:
        return [invalid_value(at, text, f"must be between {_n(low_s)}s and {_n(high_s)}s")]
    return []


def desired_causes(profile: Profile, desired: Mapping[str, Any], *, at: str = "spec.desired") -> list[Cause]:
    """Judge desired values: known, writable, of the property's type and inside its range."""
    found: list[Cause] = []
    for name, value in desired.items():
        prop = profile.properties.get(name)
        if prop is None:
            known = sorted(n for n, p in profile.properties.items() if p.writable)
            found.append(not_supported(f"{at}.{name}", name, known))
        elif not prop.writable:
            found.append(
                invalid_value(f"{at}.{name}", value, f"cannot be set: DeviceProfile {profile.name} gives it access: {prop.access}")
            )
        elif why := value_error(prop, value):
            found.append(invalid_value(f"{at}.{name}", value, why))
    return found


def value_error(prop: Property, value: Any) -> str | None:
    """Say why *value* is none of *prop*, naming the range or the values, or None."""
    match prop.type:
        case "boolean":
            return None if isinstance(value, bool) else "must be true or false"
        case "string":
            return _text_error(value)
        case "enum":
            return None if isinstance(value, str) and value in prop.values else f"must be one of {', '.join(prop.values)}"
    return _number_error(prop, value)


def _text_error(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    if len(value) > MAX_TEXT or "\0" in value:
        return f"must have no NUL and at most {MAX_TEXT} characters"
    return None


def _number_error(prop: Property, value: Any) -> str | None:
    number = _finite(value)
    if number is None:
        return f"must be a finite {prop.type}"
    if prop.type == "integer" and (number != int(number) or abs(number) >= (2**63 if type(value) is int else 2**53)):
        return "must be a whole number of 64 bits"
    limits = prop.limits
    if limits and not limits[0] <= number <= limits[1]:
        unit = f" {prop.unit}" if prop.unit else ""
        return f"must be between {_n(limits[0])} and {_n(limits[1])}{unit}"
    return None


def _finite(value: Any) -> float | None:
    """Return the number, or None for anything else; an int is never turned into a float, since 10**400 does not fit."""
    if type(value) is int:
        return value if abs(value) < 2**1000 else None
    return value if type(value) is float and math.isfinite(value) else None


def _n(value: float) -> str:
    return f"{value:.10g}"
