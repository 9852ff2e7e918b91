"""A device as the API shows it: the summary in `status`, and the live DeviceTwin. Pure.

What must stay true: `observedGeneration` and the conditions' own are the generation that the twin was judged for, never a
newer one; values are bounded in number and size by the profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from skerry.model.conditions import get_condition, with_condition
from skerry.model.objects import Object, dig, metadata
from skerry.model.profiles import Profile
from skerry.model.times import rfc3339
from skerry.node.devices.cloudevents import time_text
from skerry.node.devices.twin import Ack, Reported, Twin

MAX_MESSAGE = 1024


class Condition(msgspec.Struct, frozen=True):
    """One condition before it has a time; `status` None is Unknown."""

    type: str
    status: bool | None
    reason: str
    message: str = ""


def conditions_of(device: Object, wanted: Sequence[Condition], *, generation: int, now: datetime) -> list[dict[str, Any]]:
    """Return the conditions with *wanted* in place; the times of those whose status did not change stay."""
    found: list[dict[str, Any]] = list(dig(device, "status", "conditions", default=[]))
    for c in wanted:
        found = with_condition(found, c.type, c.status, reason=c.reason, message=c.message[:MAX_MESSAGE], now=now, generation=generation)
    return found


def urgent(device: Object, wanted: Sequence[Condition], twin: Twin) -> bool:
    """Say whether the stored status differs in what people wait for: generation, conditions, acknowledgements."""
    if dig(device, "status", "observedGeneration", default=0) != twin.generation:
        return True
    stored = dig(device, "status", "conditions", default=[])
    if any(not _told(get_condition(stored, c.type), c, twin.generation) for c in wanted):
        return True
    properties = dig(device, "status", "properties", default={})
    acks = {n: p.get("ack") for n, p in properties.items() if p.get("ack")}
    return acks != {n: ack_json(a) for n, a in twin.acks.items()}


def _told(stored: Mapping[str, Any] | None, wanted: Condition, generation: int) -> bool:
    word = "Unknown" if wanted.status is None else str(wanted.status)
    return stored is not None and (
        (stored.get("status"), stored.get("reason"), stored.get("message", ""), stored.get("observedGeneration"))
        == (word, wanted.reason, wanted.message[:MAX_MESSAGE], generation)
    )


def status_patch(device: Object, wanted: Sequence[Condition], twin: Twin, *, now: datetime) -> dict[str, Any]:
    """Return the merge patch for the status subresource; what the twin no longer has is set to null."""
    names = sorted({*twin.reported, *twin.acks})
    properties: dict[str, Any] = {n: _summary(twin.reported.get(n), twin.acks.get(n)) for n in names}
    gone = {n: None for n in dig(device, "status", "properties", default={}) if n not in properties}
    status: dict[str, Any] = {
        "observedGeneration": twin.generation,
        "conditions": conditions_of(device, wanted, generation=twin.generation, now=now),
        "properties": {**properties, **gone},
    }
    if twin.last_seen:
        status["lastSeen"] = rfc3339(datetime.fromtimestamp(twin.last_seen, UTC))
    return {"status": status}


def ack_json(ack: Ack) -> dict[str, Any]:
    found: dict[str, Any] = {"generation": ack.generation, "code": ack.code}
    return {**found, "message": ack.message[:MAX_MESSAGE]} if ack.message else found


def _summary(reported: Reported | None, ack: Ack | None) -> dict[str, Any]:
    """Values are nullable in a merge patch: null removes what stood there."""
    found: dict[str, Any] = {"value": None, "at": None, "quality": None, "ack": None}
    if reported is not None:
        found |= {"value": reported.value, "at": _at(reported.at), "quality": reported.quality.value}
    if ack is not None:
        found["ack"] = {"message": None, **ack_json(ack)}
    return found


def _at(at: float) -> str:
    return time_text(at)[:19] + "Z"


def twin_object(
    device: Object, profile: Profile | None, twin: Twin, wanted: Sequence[Condition], *, node: str, revision: int, now: datetime
) -> Object:
    """Return the DeviceTwin: every property with its live value, the desired one and the acknowledgement."""
    meta = metadata(device)
    kept = ("name", "namespace", "uid", "labels", "creationTimestamp", "generation")
    names = sorted({*(profile.properties if profile else ()), *twin.reported, *twin.desired})
    status: dict[str, Any] = {
        "nodeName": node,
        "profile": str(dig(device, "spec", "profile", default="")),
        "observedGeneration": twin.generation,
        "conditions": conditions_of(device, wanted, generation=twin.generation, now=now),
        "properties": {n: _live(n, profile, twin) for n in names},
    }
    if twin.last_seen:
        status["lastSeen"] = time_text(twin.last_seen)
    return {
        "apiVersion": "live.skerry.dev/v1alpha1",
        "kind": "DeviceTwin",
        "metadata": {**{k: meta[k] for k in kept if k in meta}, "resourceVersion": str(revision)},
        "status": status,
    }


def _live(name: str, profile: Profile | None, twin: Twin) -> dict[str, Any]:
    found: dict[str, Any] = {}
    prop = profile.properties.get(name) if profile else None
    if prop is not None:
        found |= {"type": prop.type, "access": prop.access}
        found |= {"unit": prop.unit} if prop.unit else {}
    reported = twin.reported.get(name)
    if reported is not None:
        found |= {"value": reported.value} if reported.value is not None else {}
        found |= {"at": time_text(reported.at), "quality": reported.quality.value}
        found |= {"detail": reported.detail} if reported.detail else {}
    if name in twin.desired:
        found["desired"] = twin.desired[name]
    if name in twin.acks:
        found["ack"] = ack_json(twin.acks[name])
    return found
