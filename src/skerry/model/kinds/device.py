"""Device: one device, its connection and desired values in `spec`; in `status` what its node saw, as a rate-limited summary.

What must stay true: `status.observedGeneration` and the conditions' own say which `spec` they speak of, so that
`kubectl wait --for=condition=InSync` never takes the answer to an older spec for the answer to this one.

Left out until something implements them: `writes` (today the hub always wins).
"""

from __future__ import annotations

from typing import Any

from skerry.model.bindings import connection_causes
from skerry.model.errors import Cause, invalid_value
from skerry.model.kinds.definition import Column, Definition, Lookup, conditions_schema
from skerry.model.names import dns_label_error, dns_subdomain_error, label_value_error, qualified_name_error
from skerry.model.objects import Object, dig, name_of
from skerry.model.profiles import Profile, ProfileError, desired_causes, duration_causes, load_profile
from skerry.model.resources import DEVICEPROFILES, DEVICES

SUMMARY_EVERY_S = (1.0, 86_400.0)
DEFAULT_SUMMARY_EVERY = "60s"
DEFAULT_BROKER = "default"
QUALITIES = ("Good", "Uncertain", "Bad")
ACK_CODES = ("Accepted", "Rejected", "Failed", "Pending")
_ANY = {"x-kubernetes-preserve-unknown-fields": True}


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _integer(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "integer", "format": "int64", "description": description, **more}


def _object(description: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "description": description, "properties": properties, **more}


_TIME = {"type": "string", "format": "date-time"}
_SPEC = _object(
    "What the device is and should be.",
    {
        "profile": _text("The DeviceProfile in this namespace; it may be created later.", minLength=1, maxLength=253),
        "placement": _object(
            "Which node drives it: one at a time, and the device stays with it. Any node when empty.",
            {
                "nodeName": _text("This node.", maxLength=253),
                "nodeSelector": {
                    "type": "object",
                    "description": "A node with all these labels, such as skerry.dev/site: dock-3.",
                    "maxProperties": 32,
                    "additionalProperties": {"type": "string", "maxLength": 63},
                },
            },
        ),
        "connection": _object(
            "How the node reaches it, by protocol; of other protocols the driver judges its part.",
            {
                "modbus": _object(
                    "A Modbus TCP device.",
                    {
                        "url": _text("tcp://host:port; port 502 when not set.", maxLength=256),
                        "unit": _integer("The unit (slave) identifier; 1 when not set.", minimum=1, maximum=247),
                    },
                ),
                "mqtt": _object("A device that connects to its node's MQTT listener as user <namespace>/<device>.", {}),
                "credentials": _object(
                    "What the device, or the node towards it, proves itself with.",
                    {
                        "secretRef": _object(
                            "A Secret in this namespace; MQTT uses its key `password`.",
                            {"name": _text("Its name.", minLength=1, maxLength=253)},
                            required=["name"],
                        )
                    },
                ),
            },
            **_ANY,
        ),
        "desired": {
            "type": "object",
            "description": "The values that writable properties should have; a key that is removed is no longer wanted, not reset.",
            "maxProperties": 512,
            "additionalProperties": dict(_ANY),
        },
        "telemetry": _object(
            "What goes out of what is read.",
            {
                "broker": _text(
                    "The Broker of this namespace that samples and events enter.", default=DEFAULT_BROKER, minLength=1, maxLength=253
                ),
                "summaryEvery": _text(
                    "At most this often are values written to status, such as 60s; conditions and acknowledgements go at once.",
                    default=DEFAULT_SUMMARY_EVERY,
                    maxLength=16,
                ),
            },
            default={},
        ),
    },
    required=["profile"],
)
_ACK = _object(
    "What became of the desired value.",
    {
        "generation": _integer("The metadata.generation that it came with."),
        "code": _text(
            "Accepted (written and read back), Rejected (by the device or its profile), Failed (not written yet, will be tried again).",
            enum=list(ACK_CODES),
        ),
        "message": _text("Why, when it was not accepted.", maxLength=1024),
    },
)
_STATUS = _object(
    "What the node saw last, at most every spec.telemetry.summaryEvery; live values are in the DeviceTwin.",
    {
        "nodeName": _text("The node that drives it; set by the hub.", maxLength=253),
        "observedGeneration": _integer("The metadata.generation that the conditions speak of.", minimum=0),
        "lastSeen": {**_TIME, "description": "When it last answered or spoke."},
        "conditions": conditions_schema(),
        "properties": {
            "type": "object",
            "description": "The last known values by property.",
            "additionalProperties": _object(
                "One property.",
                {
                    "value": {"description": "The value that the device reported.", **_ANY},
                    "at": {**_TIME, "description": "When it was read."},
                    "quality": _text("Good, Uncertain (old, or not confirmed) or Bad (out of range, or unreadable).", enum=list(QUALITIES)),
                    "ack": _ACK,
                },
            ),
        },
    },
)
SCHEMA: dict[str, Any] = _object(
    "Device is one device: which profile it follows, where it hangs, and what it should do.",
    {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}, "spec": _SPEC, "status": _STATUS},
    required=["spec"],
)


def admit(new: Object, old: Object | None, lookup: Lookup) -> list[Cause]:
    """Refuse what is wrong in what changed; a Device whose profile is not there yet is judged by its node later."""
    found = _name_causes(new) if old is None else []
    if old is not None and old.get("spec") == new.get("spec"):  # for Python, though, true equals 1
        return found or _desired_causes(new, old, lookup)
    spec = new.get("spec") or {}
    found += _placement_causes(spec.get("placement") or {})
    secret = dig(spec, "connection", "credentials", "secretRef", "name")
    if secret and (wrong := dns_subdomain_error(secret)):
        found.append(invalid_value("spec.connection.credentials.secretRef.name", secret, wrong))
    every = dig(spec, "telemetry", "summaryEvery")
    if every is not None:
        found += duration_causes("spec.telemetry.summaryEvery", every, *SUMMARY_EVERY_S)
    for protocol, connection in (spec.get("connection") or {}).items():
        if isinstance(connection, dict):
            found += connection_causes(f"spec.connection.{protocol}", protocol, connection)
    return found or _desired_causes(new, old, lookup)


def profile_of(device: Object, lookup: Lookup) -> Profile | None:
    """Return the device's resolved profile, or None when it does not exist or cannot be used."""
    namespace = name_of(device).namespace

    def find(name: str) -> Object | None:
        return lookup(DEVICEPROFILES, namespace, name)

    obj = find(str(dig(device, "spec", "profile", default="")))
    try:
        return load_profile(obj, find) if obj else None
    except ProfileError:
        return None


def _desired_causes(new: Object, old: Object | None, lookup: Lookup) -> list[Cause]:
    """Only what this write changes is judged: a profile that moved on must not lock the Device's other fields."""
    desired = dig(new, "spec", "desired", default={})
    if old is not None and dig(old, "spec", "profile") == dig(new, "spec", "profile"):
        before = dig(old, "spec", "desired", default={})
        desired = {k: v for k, v in desired.items() if k not in before or type(before[k]) is not type(v) or before[k] != v}
    profile = profile_of(new, lookup) if desired else None
    return desired_causes(profile, desired) if profile else []


def _name_causes(new: Object) -> list[Cause]:
    """The name is a level of MQTT topics and a part of event sources: a label, 63 characters."""
    name = name_of(new).name
    wrong = dns_label_error(name) if name else None
    return [invalid_value("metadata.name", name, wrong)] if wrong else []


def _placement_causes(placement: dict[str, Any]) -> list[Cause]:
    found: list[Cause] = []
    node = placement.get("nodeName")
    if node and (wrong := dns_subdomain_error(node)):
        found.append(invalid_value("spec.placement.nodeName", node, wrong))
    for key, value in (placement.get("nodeSelector") or {}).items():
        if wrong := qualified_name_error(key):
            found.append(invalid_value("spec.placement.nodeSelector", key, wrong))
        if wrong := label_value_error(value):
            found.append(invalid_value(f"spec.placement.nodeSelector[{key}]", value, wrong))
    return found


DEFINITION = Definition(
    resource=DEVICES,
    singular="device",
    schema=SCHEMA,
    short_names=("dev",),
    categories=("skerry",),
    columns=(
        Column("Profile", ".spec.profile", description="The DeviceProfile that it follows."),
        Column("Node", ".status.nodeName", description="The node that drives it."),
        Column("Connected", '.status.conditions[?(@.type=="Connected")].status', description="Whether it answers."),
        Column("InSync", '.status.conditions[?(@.type=="InSync")].status', description="Whether it has the desired values."),
        Column("Last-Seen", ".status.lastSeen", "date", description="When it last answered or spoke."),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Reason", '.status.conditions[?(@.type=="Connected")].reason', wide=True),
    ),
    selectable_fields=(".status.nodeName",),
    admit=admit,
)
