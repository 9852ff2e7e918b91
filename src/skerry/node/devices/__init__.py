"""The devices of this node: driven, twinned, and heard, with or without a hub."""

from __future__ import annotations

from skerry.node.devices.device import ManagedDevice
from skerry.node.devices.live import TwinHandler
from skerry.node.devices.subsystem import DeviceSettings, DeviceSubsystem

__all__ = ["DeviceSettings", "DeviceSubsystem", "ManagedDevice", "TwinHandler"]
