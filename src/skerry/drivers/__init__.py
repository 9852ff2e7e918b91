"""Device protocols: the contract that every driver keeps, and one folder a protocol."""

from __future__ import annotations

from skerry.drivers.contract import (
    BusyError,
    Command,
    DeviceOfflineError,
    Driver,
    DriverError,
    OnSamples,
    PeerError,
    Plugin,
    Quality,
    RefusedError,
    Sample,
    Target,
)
from skerry.drivers.plugins import load_plugin

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
    "load_plugin",
]
