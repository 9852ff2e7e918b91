"""DeviceProfile: a type of device: its typed properties, commands, events, and how each is reached in a protocol.

Left out until something implements them: `firmware`, a safe state, and write policies other than "the hub wins".
"""

from __future__ import annotations

import re
from typing import Any

from skerry.model.bindings import FORMATS, MAX_STRING_REGISTERS, ORDERS
from skerry.model.errors import Cause, invalid_value
from skerry.model.kinds.definition import Column, Definition, Lookup
from skerry.model.names import dns_subdomain_error
from skerry.model.objects import Object, metadata, name_of
from skerry.model.profiles import ACCESS, TYPES, ProfileError, merged_spec, profile_causes
from skerry.model.resources import DEVICEPROFILES

PROPERTY_NAME = "^[A-Za-z][A-Za-z0-9_]{0,62}$"
"""What a property may be called: an identifier, so that expressions can name it."""
EVENT_NAME = "^[A-Za-z][A-Za-z0-9_-]{0,62}$"
"""What a command or an event may be called: one level of a topic."""
_NAMES = {"properties": PROPERTY_NAME, "commands": EVENT_NAME, "events": EVENT_NAME}


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _number(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "number", "description": description, **more}


def _integer(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "integer", "description": description, **more}


def _object(description: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "description": description, "properties": properties, **more}


def _map(description: str, items: dict[str, Any], limit: int) -> dict[str, Any]:
    return {"type": "object", "description": description, "maxProperties": limit, "additionalProperties": items}


def _address(table: str) -> dict[str, Any]:
    return _integer(f"Zero-based address in the {table} table.", minimum=0, maximum=65535)


_MODBUS = _object(
    "Modbus: exactly one of input, holding, coil, discrete.",
    {
        "input": _address("input register (read only)"),
        "holding": _address("holding register"),
        "coil": _address("coil"),
        "discrete": _address("discrete input (read only)"),
        "as": _text("How registers are read; uint16 when not set.", enum=[*FORMATS, "string"]),
        "order": _text("Word and byte order of values longer than one register; abcd (big-endian) when not set.", enum=list(ORDERS)),
        "scale": _number("value = raw * scale + offset; 1 when not set."),
        "offset": _number("value = raw * scale + offset; 0 when not set."),
        "bit": _integer("The bit of the register that holds a boolean, 0 is the least significant.", minimum=0, maximum=15),
        "length": _integer("Registers of a string.", minimum=1, maximum=MAX_STRING_REGISTERS),
    },
)
_BINDING = _object(
    "How it is reached, by protocol. Of other protocols the driver judges the binding.",
    {
        "modbus": _MODBUS,
        "mqtt": _object("MQTT: a key of the JSON object.", {"name": _text("The key; the name itself when not set.", maxLength=128)}),
    },
    **{"x-kubernetes-preserve-unknown-fields": True},
)
_BOUNDS = {
    "type": "array",
    "description": "The least and the greatest value, both allowed.",
    "minItems": 2,
    "maxItems": 2,
    "items": {"type": "number"},
}
_VALUES = {
    "type": "array",
    "description": "The values of an enum, in order; in a Modbus register each is its position, from 0.",
    "maxItems": 256,
    "items": {"type": "string", "minLength": 1, "maxLength": 128},
}
_TYPE = _text("number, integer, boolean, string or enum.", enum=list(TYPES))
_PROPERTY = _object(
    "One typed value of the device.",
    {
        "type": _TYPE,
        "description": _text("What it is, for people.", maxLength=1024),
        "unit": _text("The unit of a number, for people and for messages.", maxLength=32),
        "range": _BOUNDS,
        "values": _VALUES,
        "access": _text("read, readWrite or write; read when not set.", enum=list(ACCESS)),
        "read": _object(
            "How often it is read, and what counts as news.",
            {
                "every": _text("Between two reads, such as 500ms or 10s; 1s when not set.", maxLength=16),
                "deadband": _number("A sample goes out only when the value moved by more than this.", minimum=0),
            },
        ),
        "binding": _BINDING,
    },
)
_ARGUMENT = _object(
    "One typed argument.", {"type": _TYPE, "unit": _text("Its unit.", maxLength=32), "range": _BOUNDS, "values": _VALUES}, required=["type"]
)
_COMMAND = _object(
    "Something the device can be told to do.",
    {
        "description": _text("What it does, for people.", maxLength=1024),
        "args": _map("Its arguments by name.", _ARGUMENT, 16),
        "timeout": _text("How long it may take, such as 5s; 5s when not set.", maxLength=16),
        "binding": _BINDING,
    },
)
_EVENT = _object(
    "Something worth telling: a CloudEvent goes out when `when` becomes true.",
    {
        "description": _text("What it means, for people.", maxLength=1024),
        "when": _text("An expression over the properties, a subset of CEL, such as: flow > 100.0 && mode == 'auto'.", maxLength=1024),
        "severity": _integer("1 (debug) to 24 (fatal) as OpenTelemetry counts; 9 (information) when not set.", minimum=1, maximum=24),
    },
)
SCHEMA: dict[str, Any] = _object(
    "DeviceProfile says what a type of device is: its typed properties, commands and events, and how they are reached.",
    {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": _object(
            "What devices of this type have in common.",
            {
                "extends": {
                    "type": "array",
                    "description": "DeviceProfiles of this namespace that lie under this one; later ones and this one win, field by field.",
                    "maxItems": 8,
                    "items": {"type": "string", "minLength": 1, "maxLength": 253},
                },
                "description": _text("What the device is, for people.", maxLength=4096),
                "protocol": _text(
                    "The protocol that is spoken: modbus, mqtt, or that of a driver installed on the nodes.", maxLength=63, minLength=1
                ),
                "properties": _map("The typed values by name.", _PROPERTY, 512),
                "commands": _map("The commands by name.", _COMMAND, 64),
                "events": _map("The events by name.", _EVENT, 64),
            },
        ),
    },
    required=["spec"],
)


def admit(new: Object, old: Object | None, lookup: Lookup) -> list[Cause]:
    """Refuse a profile that contradicts itself; one whose base is not there yet is judged as far as it goes."""
    spec = new.get("spec") or {}
    if old is not None and old.get("spec") == spec:
        return []
    found = _name_causes(spec)
    if found:
        return found
    namespace = name_of(new).namespace

    def find(name: str) -> Object | None:
        return new if name == metadata(new).get("name") else lookup(DEVICEPROFILES, namespace, name)

    try:
        merged, complete = merged_spec(new, find), True
    except ProfileError as error:
        if error.reason != "ProfileNotFound":
            return [invalid_value("spec.extends", spec.get("extends"), str(error))]
        merged, complete = spec, False
    return profile_causes(merged, complete=complete)


def _name_causes(spec: dict[str, Any]) -> list[Cause]:
    found = [
        invalid_value(f"spec.{part}", name, f"must match {pattern}")
        for part, pattern in _NAMES.items()
        for name in spec.get(part) or {}
        if not re.fullmatch(pattern, name)
    ]
    for i, base in enumerate(spec.get("extends") or []):
        if wrong := dns_subdomain_error(base):
            found.append(invalid_value(f"spec.extends[{i}]", base, wrong))
    return found


DEFINITION = Definition(
    resource=DEVICEPROFILES,
    singular="deviceprofile",
    schema=SCHEMA,
    short_names=("dprof",),
    categories=("skerry",),
    columns=(
        Column("Protocol", ".spec.protocol", description="The protocol that is spoken."),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    status=False,
    admit=admit,
)
