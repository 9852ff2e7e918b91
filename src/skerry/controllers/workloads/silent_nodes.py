"""Which nodes are not heard: what they run is unknown, and neither failed nor gone. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from skerry.controllers.workloads.nodelife_plan import ready_status
from skerry.model.objects import Object, name_of


def silent_nodes(nodes: Iterable[Object]) -> frozenset[str]:
    """Return the names of the nodes whose Ready condition is Unknown."""
    return frozenset(name_of(n).name for n in nodes if ready_status(n) == "Unknown")
