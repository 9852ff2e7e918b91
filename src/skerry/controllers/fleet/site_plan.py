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
    ready = [n for n in nodes if is_true(dig(n, "status", "conditions"), "Ready")]
    silent = sorted(name_of(n).name for n in nodes if n not in ready)
    state, reason, message = _connected(nodes, ready, silent)
    generation = int(metadata(site).get("generation") or 0)
    conditions = with_condition(
        dig(site, "status", "conditions", default=[]), CONNECTED, state, reason=reason, message=message, now=now, generation=generation
    )
    return {"nodes": len(nodes), "readyNodes": len(ready), "observedGeneration": generation, "conditions": conditions}


def _connected(nodes: Sequence[Object], ready: Sequence[Object], silent: Sequence[str]) -> tuple[bool | None, str, str]:
    if not nodes:
        return None, "NoNodes", "no node carries the label of this Site"
    if not ready:
        return False, "AllNodesSilent", f"no node is ready: {_few(silent)}"
    if silent:
        return True, "SomeNodesSilent", f"{len(silent)} of {len(nodes)} nodes are not ready: {_few(silent)}"
    return True, "AllNodesReady", f"all {len(nodes)} nodes are ready"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
