"""Modbus TCP. The library lives in a worker process that runs only while a device needs it.

The worker is a module of this package and has no use for what the node has of it: that is loaded when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skerry.drivers.modbus.driver import Modbus

__all__ = ["Modbus"]


def __getattr__(name: str) -> Any:
    if name != "Modbus":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from skerry.drivers.modbus.driver import Modbus

    return Modbus
