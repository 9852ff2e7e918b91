"""The contract between the node and whatever speaks a device's protocol. The suite is `tests/contract/driver.py`.

A driver only speaks: rates, back-off, deadband, ranges and the twin are the node's (`skerry.node.devices`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from skerry.model.profiles import Property, Scalar

__all__ = [
    "BusyError",
    "Command",
    "DeviceOfflineError",
    "Driver",
    "DriverError",
    "OnSamples",
    "PeerError",
    "Plugin",
    "Quality",
    "RefusedError",
    "Sample",
    "Target",
]


class Quality(StrEnum):
    """How far a value can be trusted."""

    GOOD = "Good"
    UNCERTAIN = "Uncertain"
    BAD = "Bad"


class Sample(msgspec.Struct, frozen=True):
    """A value as the device gave it. `at` is Unix seconds; `value` is None, and `detail` says why, when there is none."""

    value: Scalar | None
    at: float
    quality: Quality = Quality.GOOD
    detail: str = ""


class Command(msgspec.Struct, frozen=True):
    """Something a device can be told to do; `binding` is of the driver's protocol."""

    name: str
    binding: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to speak to: `connection` is `spec.connection.<protocol>`, `secret` the data of its credentials."""

    connection: Mapping[str, Any]
    device: str = ""
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)


class DriverError(Exception):
    """What a conversation can come to other than an answer."""


class DeviceOfflineError(DriverError):
    """No answer in time, or no connection: try again later. Whether a write arrived is then not known."""


class PeerError(DriverError):
    """The device answered what its protocol does not allow: what it said is not used."""


class RefusedError(DriverError):
    """The device understood and said no: asking the same again is pointless."""


class BusyError(DriverError):
    """The line was taken by others until the deadline: it says nothing about the device."""


OnSamples = Callable[[Mapping[str, Sample]], None]
"""Takes what a device pushed, by property."""


class Driver(Protocol):
    """One conversation with one device; its calls come one at a time.

    Nothing outlasts `timeout_s`. A silent device raises DeviceOfflineError, a garbled reply PeerError; `close` never raises.
    """

    async def read(self, points: Sequence[Property], *, timeout_s: float) -> Mapping[str, Sample]:
        """Return a sample for each of *points*; one that the device refuses is Bad and does not spoil the others."""
        ...

    async def write(self, point: Property, value: Scalar, *, timeout_s: float) -> Scalar:
        """Write, and return the value as the device can hold it (rounded to its scale); RefusedError when it says no."""
        ...

    def subscribe(self, on_samples: OnSamples) -> bool:
        """Have what the device pushes called back until `close`; False when the protocol only answers."""
        ...

    async def command(self, command: Command, arguments: Mapping[str, Scalar], *, timeout_s: float) -> Mapping[str, Scalar]:
        """Have the device do something once, and return what it answered; RefusedError when it says no."""
        ...

    async def close(self) -> None:
        """Hang up; safe to call twice."""
        ...


class Plugin(Protocol):
    """One protocol on one node: opens drivers, and owns what they share. An entry point of `skerry.drivers` makes one."""

    async def open(self, target: Target, *, timeout_s: float) -> Driver:
        """Begin a conversation; DeviceOfflineError when the device does not answer, RefusedError when *target* cannot be used."""
        ...

    async def close(self) -> None:
        """End what is shared, such as a worker; never raises."""
        ...
