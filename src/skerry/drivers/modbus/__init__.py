"""Modbus TCP. The library lives in a worker process that runs only while a device needs it."""

from __future__ import annotations

from skerry.drivers.modbus.driver import Modbus

__all__ = ["Modbus"]
