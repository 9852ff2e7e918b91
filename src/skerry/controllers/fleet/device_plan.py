"""Which node drives a Device, and what the hub says of it when no node can. Pure.

What must stay true: a Device has one node and stays with it, silent or not; it moves only when its placement no longer allows
that node or the Node object is gone, since a node that is cut off goes on driving what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from skerry.model.conditions import get_condition, is_true, with_condition
from skerry.model.objects import Name, Object, dig, labels_of, metadata, name_of


class Placement(msgspec.Struct, frozen=True):
    """`node` is "" when there is none; then `reason` and `message` say why."""

    node: str
    reason: str = ""
    message: str = ""


def place(device: Object, nodes: Mapping[Name, Object], load: Callable[[str], int]) -> Placement:
    """Return where *device* belongs; *load* says how many Devices a node has already. Costs little where it stays."""
    current = Name("", str(dig(device, "status", "nodeName", default="")))
    if current in nodes and allows(device, nodes[current]):
        return Placement(current.name)
    allowed = {name_of(n).name: n for n in _named(device, nodes) if allows(device, n)}
    ready = [name for name, node in allowed.items() if is_true(dig(node, "status", "conditions"), "Ready")]
    if ready:
        return Placement(min(ready, key=lambda name: (load(name), name)))
    wanted = _words(device)
    if allowed:
        return Placement("", "NodeNotReady", f"no node with {wanted} is ready: {', '.join(sorted(allowed)[:5])}")
    return Placement("", "NoNode", f"no node has {wanted}")


def _named(device: Object, nodes: Mapping[Name, Object]) -> Iterable[Object]:
    """Return the node that the placement names, if it is there; all where it names none."""
    name = dig(device, "spec", "placement", "nodeName", default="")
    if not name:
        return nodes.values()
    node = nodes.get(Name("", name))
    return () if node is None else (node,)


def allows(device: Object, node: Object) -> bool:
    """Say whether the placement of *device* lets it be driven by *node*."""
    placement = dig(device, "spec", "placement", default={})
    if placement.get("nodeName") and placement["nodeName"] != name_of(node).name:
        return False
    labels = labels_of(node)
    return all(labels.get(k) == v for k, v in (placement.get("nodeSelector") or {}).items())


def _words(device: Object) -> str:
    placement = dig(device, "spec", "placement", default={})
    parts = [f"name {placement['nodeName']}"] if placement.get("nodeName") else []
    parts += [f"label {k}={v}" for k, v in sorted((placement.get("nodeSelector") or {}).items())]
    return " and ".join(parts) or "any name"


def status_patch(device: Object, placement: Placement, node: Object | None, *, now: datetime) -> dict[str, Any] | None:
    """Return what of the Device's status the hub has to change, or None.

    A placed Device's conditions are its node's; only while the node is not heard the hub says that they are not known.
    """
    old = device.get("status") or {}
    if not placement.node:
        return _unplaced(device, placement, now)
    if old.get("nodeName", "") != placement.node:
        return {"nodeName": placement.node, "conditions": _all(device, None, "Placed", f"waiting for node {placement.node}", now)}
    silent = (get_condition(dig(node, "status", "conditions"), "Ready") or {}).get("status") == "Unknown"
    known = [c for c in ("Connected", "InSync") if (get_condition(old.get("conditions"), c) or {}).get("status") not in (None, "Unknown")]
    if not silent or not known:
        return None
    return {"conditions": _all(device, None, "NodeNotHeard", f"node {placement.node} is not heard; it goes on by itself", now)}


def _unplaced(device: Object, placement: Placement, now: datetime) -> dict[str, Any] | None:
    old, generation = device.get("status") or {}, int(metadata(device).get("generation") or 0)
    connected = get_condition(old.get("conditions"), "Connected") or {}
    told = (connected.get("reason"), connected.get("message"), old.get("observedGeneration"))
    if not old.get("nodeName") and told == (placement.reason, placement.message, generation):
        return None
    conditions = _all(device, False, placement.reason, placement.message, now, generation)
    return {"nodeName": None, "observedGeneration": generation, "conditions": conditions}


def _all(
    device: Object, status: bool | None, reason: str, message: str, now: datetime, generation: int | None = None
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = list(dig(device, "status", "conditions", default=[]))
    for kind in ("Connected", "InSync"):
        found = with_condition(found, kind, status, reason=reason, message=message, now=now, generation=generation)
    return found
