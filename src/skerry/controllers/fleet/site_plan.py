"""What a Site's status says: how many nodes are there, how many of them are heard. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from skerry.model.conditions import is_true, with_condition
from skerry.model.objects import Object, dig, metadata, name_of

CONNECTED = "Connected"
"""True while at least one node of the Site is heard: the place can be reached."""


def status(site: Object, nodes: Sequence[Object], now: datetime) -> Object:
    """Return the status of *site*, whose members are *nodes*."""
    silent = sorted(name_of(n).name for n in nodes if not is_heard(n))
    state, reason, message = _connected(len(nodes), silent)
    generation = int(metadata(site).get("generation") or 0)
    conditions = with_condition(
        dig(site, "status", "conditions", default=[]), CONNECTED, state, reason=reason, message=message, now=now, generation=generation
    )
    return {"nodes": len(nodes), "readyNodes": len(nodes) - len(silent), "observedGeneration": generation, "conditions": conditions}


def is_heard(node: Object) -> bool:
    return is_true(dig(node, "status", "conditions"), "Ready")


def _connected(nodes: int, silent: Sequence[str]) -> tuple[bool | None, str, str]:
    if not nodes:
        return None, "NoNodes", "no node carries the label of this Site"
    if len(silent) == nodes:
        return False, "AllNodesSilent", f"no node is ready: {_few(silent)}"
    if silent:
        return True, "SomeNodesSilent", f"{len(silent)} of {nodes} nodes are not ready: {_few(silent)}"
    return True, "AllNodesReady", f"all {nodes} nodes are ready"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
