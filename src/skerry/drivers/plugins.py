"""Which drivers are installed: ours without a look at package metadata (which costs a node 3 MB), others by entry point."""

from __future__ import annotations

import importlib

from skerry.drivers.contract import Plugin, RefusedError

_OURS = {"modbus": "skerry.drivers.modbus:Modbus"}


def load_plugin(protocol: str) -> Plugin:
    """Return a new plugin for *protocol*; RefusedError when nothing installed speaks it."""
    target = _OURS.get(protocol) or _entry_point(protocol)
    if target is None:
        raise RefusedError(f"no driver for protocol {protocol!r} is installed on this node (entry points group skerry.drivers)")
    module, _, name = target.partition(":")
    try:
        plugin: Plugin = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise RefusedError(f"the driver for protocol {protocol!r} cannot be loaded: {error}") from error
    return plugin


def _entry_point(protocol: str) -> str | None:
    from importlib.metadata import entry_points

    return next((e.value for e in entry_points(group="skerry.drivers") if e.name == protocol), None)
