"""Which topics a device may use: its own, and no other. Pure.

skerry/<namespace>/<device>/telemetry       from the device: a JSON object, property to value, optional `seq` and `at`
skerry/<namespace>/<device>/desired         to the device: {"generation": G, "values": {...}}
skerry/<namespace>/<device>/reported        from the device: {"generation": G, "values": {...}, "acks": {...}}
skerry/<namespace>/<device>/events/<name>   from the device: JSON data of an event
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

TopicKind = Literal["telemetry", "reported", "events"]
_EVENT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


class Topic(msgspec.Struct, frozen=True):
    """What a device publishes to; `event` is the name of its event."""

    kind: TopicKind
    event: str = ""


def own_topic(device: str, rest: str) -> str:
    """Return a topic of *device* (`namespace/name`)."""
    return f"skerry/{device}/{rest}"


def parse_topic(topic: str, device: str) -> Topic | None:
    """Return what *device* means with *topic*, or None when it may not publish there."""
    own = own_topic(device, "")
    if not topic.startswith(own):
        return None
    match topic[len(own) :].split("/"):
        case ["telemetry"]:
            return Topic("telemetry")
        case ["reported"]:
            return Topic("reported")
        case ["events", name] if _EVENT.fullmatch(name):
            return Topic("events", name)
    return None


def may_subscribe(wanted: str, device: str) -> bool:
    """Say whether a filter covers the device's own `desired` topic and nothing of another."""
    return wanted in (own_topic(device, "desired"), own_topic(device, "#"), own_topic(device, "+"))
