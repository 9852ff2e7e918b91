"""A simulated device without a protocol: its values in time, what may be written, and the faults it was ordered to show.

Pure: time is an argument. What was written or set stays until it is written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from skerry.model.profiles import Profile, Property, Scalar, value_error
from skerry.sim.signals import Signal, default_signal, parse_signal

FaultName = Literal["none", "silent", "slow", "garble"]
FAULTS = ("none", "silent", "slow", "garble")


class ControlError(ValueError):
    """An order that cannot be followed; the message says what can."""


class Fault(msgspec.Struct, frozen=True):
    """How the device misbehaves: says nothing, answers *delay_s* late, or answers noise."""

    name: FaultName = "none"
    delay_s: float = 0.0


class SimulatedDevice:
    """One device that follows a profile."""

    def __init__(self, profile: Profile, *, signals: Mapping[str, Signal] | None = None) -> None:
        self.profile = profile
        self.fault = Fault()
        self._signals = {n: default_signal(p) for n, p in profile.properties.items()} | dict(signals or {})

    def value(self, name: str, elapsed_s: float) -> Scalar:
        """Return the value of a property *elapsed_s* after the start, of its type and inside its range."""
        prop = self.profile.properties[name]
        value = self._signals[name].at(elapsed_s)
        if prop.type == "integer" and isinstance(value, float):
            return round(value)
        return value

    def write(self, name: str, value: Any) -> str | None:
        """Take a value from the outside; returns why it is refused, or None."""
        prop = self.profile.properties.get(name)
        if prop is None or not prop.writable:
            return f"{name} cannot be written"
        if why := value_error(prop, value):
            return f"{name}={value!r} {why}"
        self._signals[name] = Signal("constant", value=value)
        return None

    def set(self, name: str, value: Scalar) -> None:
        """Hold a property at *value*, whatever its range says: a broken sensor can be simulated too."""
        self._signals[self.property(name).name] = Signal("constant", value=value)

    def follow(self, name: str, signal: str) -> None:
        """Have a property follow a signal such as `sine:low=0,high=110`."""
        self._signals[name] = parse_signal(signal, self.property(name))

    def property(self, name: str) -> Property:
        if name not in self.profile.properties:
            raise ControlError(f"no property {name!r}; the profile has {', '.join(sorted(self.profile.properties))}")
        return self.profile.properties[name]

    def order(self, line: str) -> str:
        """Follow one line of control: `silent`, `slow SECONDS`, `garble`, `none`, `set NAME=VALUE`, `signal NAME=SHAPE:...`."""
        word, _, rest = line.strip().partition(" ")
        if word in ("silent", "garble", "none"):
            self.fault = Fault(word)  # type: ignore[arg-type]
        elif word == "slow":
            self.fault = Fault("slow", _seconds(rest or "1"))
        elif word == "set":
            name, value = assignment(rest)
            self.set(name, typed_value(self.property(name), value))
        elif word == "signal":
            self.follow(*assignment(rest))
        else:
            raise ControlError(f"{word!r} is no order: silent, slow SECONDS, garble, none, set NAME=VALUE, signal NAME=SHAPE")
        return line.strip()


def assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.strip().partition("=")
    if not equals or not name:
        raise ControlError(f"{text!r} is not NAME=VALUE")
    return name, value


def typed_value(prop: Property, text: str) -> Scalar:
    """Return *text* as a value of the property's type."""
    try:
        match prop.type:
            case "number":
                return float(text)
            case "integer":
                return int(text)
            case "boolean":
                return {"true": True, "false": False}[text]
    except (ValueError, KeyError) as error:
        raise ControlError(f"{prop.name}={text} is not a {prop.type}") from error
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise ControlError(f"slow {text!r}: not a number of seconds") from error
    if not 0 <= seconds <= 3600:
        raise ControlError(f"slow {text}: between 0 and 3600 seconds")
    return seconds
