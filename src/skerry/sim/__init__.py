"""Simulated devices: any DeviceProfile as a device that really speaks its protocol, with faults to order."""

from __future__ import annotations

from skerry.sim.device import FAULTS, ControlError, Fault, SimulatedDevice, assignment, typed_value
from skerry.sim.signals import Signal, SignalError, parse_signal

__all__ = ["FAULTS", "ControlError", "Fault", "Signal", "SignalError", "SimulatedDevice", "assignment", "parse_signal", "typed_value"]
