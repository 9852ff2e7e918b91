"""Which Pods make room for one that matters more. Pure.

A Pod on a node that is not heard is never a victim: it cannot be asked to end, and may be all that its Site has. Of the nodes where
room can be made the one is taken where the fewest budgets are hurt, then where the least important Pods go, then the fewest.
Source: k8s.io/kubernetes/pkg/scheduler/framework/preemption.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from skerry.controllers.workloads.nodelife_plan import is_marked
from skerry.controllers.workloads.nodestate import NodeState, node_state
from skerry.controllers.workloads.scheduling import Asked
from skerry.model.objects import Object, dig, labels_of, metadata, name_of, uid_of
from skerry.model.selectors import SelectorError, from_label_selector


class Preemption(msgspec.Struct, frozen=True):
    """Where room can be made, and whose."""

    node: str
    victims: tuple[Object, ...]
    hurt: int = 0
    """How many of the victims their budget has not to spare."""


def priority_of(pod: Object) -> int:
    return int(dig(pod, "spec", "priority", default=0) or 0)


def may_preempt(pod: Object, states: Mapping[str, NodeState]) -> bool:
    """Say whether the Pod may have others removed: not when it never may, nor while those that it had removed still go."""
    if dig(pod, "spec", "preemptionPolicy") == "Never":
        return False
    there = states.get(str(dig(pod, "status", "nominatedNodeName", default="")))
    going = [p for p in there.pods if metadata(p).get("deletionTimestamp")] if there is not None else []
    return not any(priority_of(p) < priority_of(pod) for p in going)


def preempt(
    pod: Object,
    states: Iterable[NodeState],
    budgets: Sequence[Object],
    process_classes: frozenset[str],
    runtime_class: Object | None = None,
) -> Preemption | None:
    """Return where *pod* fits once others are gone, None when that helps nowhere."""
    asked = Asked.of(pod, runtime_class, process_classes, None)
    found = [p for s in states if (p := _on(asked, priority_of(pod), s, budgets, process_classes)) is not None]
    return min(found, key=_cost, default=None)


def _cost(found: Preemption) -> tuple[Any, ...]:
    priorities = [priority_of(v) for v in found.victims]
    return (found.hurt, max(priorities), sum(priorities), len(priorities), found.node)


def _on(asked: Asked, priority: int, state: NodeState, budgets: Sequence[Object], classes: frozenset[str]) -> Preemption | None:
    if is_marked(state.node):
        return None
    lower = [p for p in state.pods if priority_of(p) < priority and not metadata(p).get("deletionTimestamp")]
    kept = [p for p in state.pods if p not in lower]
    if not lower or not _fits(asked, state, kept, classes):
        return None
    costly, cheap = _by_budget(lower, budgets)
    victims: list[Object] = []
    hurt = 0
    for candidate in (*_dearest_first(costly), *_dearest_first(cheap)):
        if _fits(asked, state, [*kept, candidate], classes):
            kept.append(candidate)
        else:
            victims.append(candidate)
            hurt += candidate in costly
    return Preemption(state.name, tuple(victims), hurt) if victims else None


def _fits(asked: Asked, state: NodeState, pods: Sequence[Object], classes: frozenset[str]) -> bool:
    return not asked.shortages(node_state(state.node, pods, classes))


def _dearest_first(pods: Iterable[Object]) -> list[Object]:
    return sorted(pods, key=lambda p: (-priority_of(p), metadata(p).get("creationTimestamp") or "", name_of(p)))


def _by_budget(pods: Sequence[Object], budgets: Sequence[Object]) -> tuple[list[Object], list[Object]]:
    """Tell the Pods that their budgets have not to spare from the others."""
    left = {uid_of(b) or str(name_of(b)): int(dig(b, "status", "disruptionsAllowed", default=0)) for b in budgets}
    costly: list[Object] = []
    cheap: list[Object] = []
    for pod in _dearest_first(pods):
        mine = [b for b in budgets if name_of(b).namespace == name_of(pod).namespace and _selects(b, pod)]
        for budget in mine:
            left[uid_of(budget) or str(name_of(budget))] -= 1
        (costly if any(left[uid_of(b) or str(name_of(b))] < 0 for b in mine) else cheap).append(pod)
    return costly, cheap


def _selects(budget: Object, pod: Object) -> bool:
    try:
        selector = from_label_selector(dig(budget, "spec", "selector"))
    except SelectorError:
        return False
    return selector is not None and selector.matches(labels_of(pod))
