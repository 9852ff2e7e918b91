"""A device's twin: what it should have, what it said, and what became of each wish. Pure.

What must stay true: the hub wins, so a device that drifts from an accepted value is written again; a value that the device or
the profile rejected is not tried again until the wish changes; an acknowledgement carries the generation that it answers;
`in_sync` is true only when every wish of *this* generation was accepted and, where it can be read, read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from skerry.drivers import Quality
from skerry.model.profiles import Profile, Property, Scalar, value_error

Code = Literal["Accepted", "Rejected", "Failed", "Pending"]


class Reported(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a device said of one property. `at` is Unix seconds."""

    value: Scalar | None
    at: float
    quality: Quality = Quality.GOOD
    detail: str = ""


class Ack(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a wish: `wanted` is the wish, `settled` what the device holds for it, `tries` the failures in a row."""

    generation: int
    code: Code
    wanted: Scalar
    settled: Scalar | None = None
    message: str = ""
    tries: int = 0


class Twin(msgspec.Struct, omit_defaults=True):
    """Everything the node remembers of one device; `firing` are the events whose condition holds."""

    uid: str
    generation: int = 0
    desired: dict[str, Scalar] = {}
    reported: dict[str, Reported] = {}
    acks: dict[str, Ack] = {}
    firing: list[str] = []
    last_seen: float = 0.0


class Write(msgspec.Struct, frozen=True):
    """Write *value*, then read it back."""

    prop: Property
    value: Scalar


class Settle(msgspec.Struct, frozen=True):
    """Take *ack* down without asking the device."""

    name: str
    ack: Ack


Step = Write | Settle


def plan(profile: Profile, twin: Twin) -> list[Step]:
    """Return what brings the device to what it should have; planning again after the steps returns none."""
    steps = [_step(profile, twin, name, value) for name, value in sorted(twin.desired.items())]
    return [s for s in steps if s is not None]


def _step(profile: Profile, twin: Twin, name: str, value: Scalar) -> Step | None:
    prop, ack = profile.properties.get(name), twin.acks.get(name)
    known = ack is not None and same(ack.wanted, value)
    if prop is None or not prop.writable or (why := value_error(prop, value)):
        why = _wrong(profile, name, value)
        rejected = Ack(twin.generation, "Rejected", value, message=why)
        return None if known and ack and ack.code == "Rejected" and ack.message == why else Settle(name, rejected)
    if known and ack and ack.code == "Rejected":
        return None
    holds = _holds(twin, prop, ack.settled if known and ack and ack.code == "Accepted" else value)
    if known and ack and ack.code == "Accepted":
        return Write(prop, value) if holds is False else None
    return Settle(name, Ack(twin.generation, "Accepted", value, settled=value)) if holds else Write(prop, value)


def _wrong(profile: Profile, name: str, value: Scalar) -> str:
    prop = profile.properties.get(name)
    if prop is None:
        return f"DeviceProfile {profile.name} has no property {name}"
    if not prop.writable:
        return f"{name} cannot be set: DeviceProfile {profile.name} gives it access: {prop.access}"
    return f"{name}: {value_error(prop, value)}"


def _holds(twin: Twin, prop: Property, value: Scalar | None) -> bool | None:
    """Say whether the device holds *value*; None when it cannot be known now."""
    reported = twin.reported.get(prop.name)
    if not prop.readable or reported is None or reported.quality is not Quality.GOOD or reported.value is None:
        return None
    return value is not None and same(reported.value, value)


def same(a: Scalar, b: Scalar) -> bool:
    """Equal as JSON is: true is not 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def accepted(twin: Twin, name: str, wanted: Scalar, settled: Scalar) -> Ack:
    return Ack(twin.generation, "Accepted", wanted, settled=settled)


def failed(twin: Twin, name: str, wanted: Scalar, message: str) -> Ack:
    """Return the acknowledgement of one more failure; `retry_after_s` says how long to wait."""
    before = twin.acks.get(name)
    tries = before.tries if before is not None and same(before.wanted, wanted) else 0
    return Ack(twin.generation, "Failed", wanted, message=message, tries=tries + 1)


def retry_after_s(ack: Ack | None) -> float:
    """Return how long to wait before a failed write is tried again: 1 s, doubling, at most 60 s."""
    return 0.0 if ack is None or ack.code != "Failed" else min(60.0, 2.0 ** min(ack.tries - 1, 6))


def adopt(twin: Twin, *, generation: int, desired: Mapping[str, Scalar]) -> bool:
    """Take over what the hub wants now; returns whether anything is new. Acknowledgements of dropped wishes go."""
    if twin.generation == generation and twin.desired == dict(desired):
        return False
    twin.generation = generation
    twin.desired = dict(desired)
    twin.acks = {n: a for n, a in twin.acks.items() if n in twin.desired}
    return True


def in_sync(profile: Profile, twin: Twin, *, connected: bool) -> tuple[bool | None, str, str]:
    """Return status, reason and message of the condition InSync, for `twin.generation`."""
    if not twin.desired:
        return True, "NothingDesired", ""
    pending: list[str] = []
    for name, value in sorted(twin.desired.items()):
        prop, ack = profile.properties.get(name), twin.acks.get(name)
        if prop is None or not prop.writable or value_error(prop, value):
            return False, "DesiredInvalid", _wrong(profile, name, value)
        if ack is None or not same(ack.wanted, value):
            pending.append(name)
        elif ack.code == "Rejected":
            return False, "Rejected", f"{name}: {ack.message}"
        elif ack.code == "Failed":
            return False, "WriteFailed", f"{name}: {ack.message}"
        elif ack.code != "Accepted" or _holds(twin, prop, ack.settled) is False:
            pending.append(name)
    if pending:
        return False, "WritePending", f"not acknowledged yet: {', '.join(pending)}"[:1024]
    return (True, "AllAccepted", "") if connected else (None, "NotConnected", "accepted before the device was lost")
