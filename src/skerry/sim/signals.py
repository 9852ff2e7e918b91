"""Where a simulated property's value comes from: deterministic in time, so that a test can say what it must be."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from skerry.model.profiles import Property, Scalar

Shape = Literal["sine", "ramp", "counter", "constant"]
SHAPES = ("sine", "ramp", "counter", "constant")
DEFAULT_PERIOD_S = 20.0


class Signal(msgspec.Struct, frozen=True):
    """A shape between *low* and *high*; a counter counts whole periods and never turns back."""

    shape: Shape
    low: float = 0.0
    high: float = 100.0
    period_s: float = DEFAULT_PERIOD_S
    value: Scalar = 0

    def at(self, elapsed_s: float) -> Scalar:
        """Return the value *elapsed_s* seconds after the start."""
        turns = elapsed_s / self.period_s
        match self.shape:
            case "sine":
                return self.low + (self.high - self.low) * (1 - math.cos(2 * math.pi * turns)) / 2
            case "ramp":
                return self.low + (self.high - self.low) * (turns % 1.0)
            case "counter":
                return int(self.low) + int(turns)
        return self.value


class SignalError(ValueError):
    """Not a signal; the message names the text and the form."""


def default_signal(prop: Property) -> Signal:
    """Return what a property does when nothing else is said: measured numbers swing through their range, settings stand."""
    numeric = prop.type in ("number", "integer")
    low, high = prop.limits or (0.0, 100.0)
    if numeric and not prop.writable:
        return Signal("sine", low, high) if prop.range else Signal("counter", 0, period_s=1.0)
    return Signal("constant", value=initial_value(prop))


def initial_value(prop: Property) -> Scalar:
    """Return what a setting holds before anybody wrote it."""
    match prop.type:
        case "boolean":
            return False
        case "enum":
            return prop.values[0]
        case "string":
            return prop.name[:2]
    low, high = prop.range or (0, 0)
    value = min(max(0, low), high)
    return int(value) if prop.type == "integer" else float(value)


def parse_signal(text: str, prop: Property) -> Signal:
    """Read `sine:period=10,low=0,high=110` for *prop*; raises SignalError."""
    shape, _, rest = text.partition(":")
    if shape not in SHAPES[:3] or prop.type not in ("number", "integer"):
        raise SignalError(f"{prop.name}={text}: a signal is sine, ramp or counter, of a number or an integer")
    low, high = prop.range or (0.0, 100.0)
    options = {"low": low, "high": high, "period": DEFAULT_PERIOD_S if shape != "counter" else 1.0}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        try:
            options[name] = float(value) if name in options else options[name]
        except (ValueError, KeyError) as error:
            raise SignalError(f"{prop.name}={text}: {part!r} is not low=, high= or period= with a number") from error
    if not 0.001 <= options["period"] <= 1e9 or not all(map(math.isfinite, options.values())):
        raise SignalError(f"{prop.name}={text}: the period must be between 0.001 and 1e9 seconds, all numbers finite")
    return Signal(shape, options["low"], options["high"], options["period"])  # type: ignore[arg-type]
