"""The kinds that skerry brings: one module a kind, each with a `DEFINITION`. `deploy/crds/` is generated from them."""

from __future__ import annotations

from skerry.model.kinds.definition import Admit, Column, Default, Definition, Lookup

__all__ = ["Admit", "Column", "Default", "Definition", "Lookup", "all_definitions"]


def all_definitions() -> tuple[Definition, ...]:
    """Return every kind of ours and those of others that we bring as CRDs, in the order in which they are installed."""
    from skerry.model.kinds import broker, device, deviceprofile, enrollment, site, trigger

    return tuple(m.DEFINITION for m in (site, enrollment, deviceprofile, device, broker, trigger))
