"""A CloudEvent 1.0.2 and its JSON form. Times are RFC 3339 text, `data` is what JSON can hold or bytes.

Extension attributes that skerry sets: `devicenamespace`, `devicename`, `profile`, `node`, `site`, `sequence` (the
source's own running number, when it has one), `severity`, `quality`.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec

from skerry.model.unreadable import NOT_JSON

SAMPLE_TYPE = "dev.skerry.device.sample"
"""`subject` is the property when the sample has one, else absent; `data` maps property to value."""
DEVICE_EVENT_TYPE = "dev.skerry.device.event"
"""`subject` is the event's name in the DeviceProfile."""

OF_NODES = "/nodes/"
"""What the sources of a node and of its devices begin with."""

_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}")
_KNOWN = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema")


class EventError(ValueError):
    """Not a valid CloudEvent; the message names the attribute."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `id` is unique within `source`."""

    id: str
    source: str
    type: str
    subject: str = ""
    time: str = ""
    datacontenttype: str = ""
    dataschema: str = ""
    data: Any = None
    extensions: dict[str, str | int | bool] = msgspec.field(default_factory=dict)

    def attributes(self) -> dict[str, str | int | bool]:
        """Return all context and extension attributes that are set."""
        found: dict[str, str | int | bool] = {"specversion": "1.0", "id": self.id, "source": self.source, "type": self.type}
        for name in ("subject", "time", "datacontenttype", "dataschema"):
            value = getattr(self, name)
            if value:
                found[name] = value
        return {**found, **self.extensions}

    def to_json(self) -> bytes:
        """Return the structured JSON form."""
        found: dict[str, Any] = self.attributes()
        if isinstance(self.data, bytes):
            found["data_base64"] = base64.b64encode(self.data).decode()
        elif self.data is not None:
            found["data"] = self.data
        return msgspec.json.encode(found)


def from_json(raw: bytes) -> Event:
    """Read the structured JSON form; raises EventError naming what is wrong."""
    try:
        doc = msgspec.json.decode(raw)
    except NOT_JSON as error:
        raise EventError(f"not JSON: {error}") from error
    return from_mapping(doc)


def from_mapping(doc: Any) -> Event:
    """Read a decoded structured event; null attributes count as unset."""
    if not isinstance(doc, dict):
        raise EventError("a CloudEvent is a JSON object")
    doc = {k: v for k, v in doc.items() if v is not None}
    if doc.get("specversion") not in ("1.0", "0.3"):
        raise EventError(f"specversion {doc.get('specversion')!r} is not 1.0")
    for name in ("id", "source", "type"):
        if not isinstance(doc.get(name), str) or not doc[name]:
            raise EventError(f"attribute {name} is required and must be a non-empty string")
    data = doc.pop("data", None)
    if "data_base64" in doc:
        data = _decoded(doc.pop("data_base64"))
    extensions = {k: v for k, v in doc.items() if k not in _KNOWN}
    for name, value in doc.items():
        _check(name, value)
    known = {k: doc[k] for k in _KNOWN[1:] if k in doc}
    if any(not isinstance(v, str) for v in known.values()):
        raise EventError("context attributes must be strings")
    return Event(data=data, extensions=extensions, **known)


def key_of_apps(event: Event) -> str:
    """Return the outbox key of an event that an app sent: never one of a device, whose numbers an app could use up otherwise.

    EventError when it claims to come from a node or a device.
    """
    if event.source.startswith(OF_NODES):
        raise EventError(f"source {event.source[:64]!r}: below {OF_NODES} are a node's own events and its devices'; use another source")
    return f"app {event.extensions.get('partitionkey') or event.source}"


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise EventError("data_base64 is not base64") from error


def _check(name: str, value: Any) -> None:
    if not _ATTRIBUTE.fullmatch(name):
        raise EventError(f"attribute name {name!r} is not 1 to 20 lower-case letters and digits")
    if not isinstance(value, (str, int, bool)):
        raise EventError(f"attribute {name} must be a string, an integer or a boolean")
    if isinstance(value, str) and (len(value) > 2048 or any(ord(c) < 32 or ord(c) == 127 for c in value)):
        raise EventError(f"attribute {name} is longer than 2048 characters or has a control character")
