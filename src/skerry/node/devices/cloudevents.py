"""Samples and device events as CloudEvents. Pure.

What must stay true: `id` is the device's running number at this node, so it is unique within the source; `sequence` is the
source's own number: the device's when it counts itself, else the running one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from skerry.events.cloudevents import DEVICE_EVENT_TYPE, SAMPLE_TYPE, Event
from skerry.model.profiles import Scalar
from skerry.model.times import rfc3339_micro


@dataclass(frozen=True)
class Identity:
    """Who an event comes from."""

    node: str
    site: str
    namespace: str
    name: str
    profile: str

    @cached_property
    def source(self) -> str:
        return f"/nodes/{self.node}/devices/{self.namespace}/{self.name}"

    @cached_property
    def extensions(self) -> Mapping[str, str | int | bool]:
        found: dict[str, str | int | bool] = {
            "devicenamespace": self.namespace,
            "devicename": self.name,
            "profile": self.profile,
            "node": self.node,
        }
        return {**found, "site": self.site} if self.site else found


def time_text(at: float) -> str:
    """Return RFC 3339 of Unix seconds; years outside 1 to 9999 cannot be written and become the epoch."""
    try:
        return rfc3339_micro(datetime.fromtimestamp(at, UTC))
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00.000000Z"


def sample_event(identity: Identity, number: int, sequence: str, values: Mapping[str, Scalar], *, at: float, quality: str) -> Event:
    """Return the event of one or more values that were read at one time."""
    extensions = {**identity.extensions, "quality": quality, **({"sequence": sequence} if sequence else {})}
    subject = next(iter(values)) if len(values) == 1 else ""
    return _event(identity, number, SAMPLE_TYPE, subject, values, at, extensions)


def device_event(
    identity: Identity, number: int, sequence: str, name: str, data: Mapping[str, object], *, at: float, severity: int
) -> Event:
    """Return the event *name* of the profile, or one that the device told by itself."""
    extensions = {**identity.extensions, "severity": severity, **({"sequence": sequence} if sequence else {})}
    return _event(identity, number, DEVICE_EVENT_TYPE, name, data, at, extensions)


def _event(
    identity: Identity, number: int, kind: str, subject: str, data: Mapping[str, object], at: float, extensions: dict[str, str | int | bool]
) -> Event:
    return Event(
        id=str(number),
        source=identity.source,
        type=kind,
        subject=subject,
        time=time_text(at),
        datacontenttype="application/json",
        data=dict(data),
        extensions=extensions,
    )
