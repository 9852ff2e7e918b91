"""Rules between Pods: affinity, anti-affinity and spread, the required ones. Pure; preferred ones are only hints and are not read.

A domain is all nodes with the same value of a topology key. A term that cannot be understood excludes every node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skerry.model.objects import Object, dig, labels_of, name_of
from skerry.model.selectors import SelectorError, from_label_selector

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Placement:
    """A node and the Pods on it."""

    node: Object
    pods: Sequence[Object]


def shy(placements: Sequence[Placement]) -> list[tuple[Placement, Object]]:
    """Return the Pods that keep others away, with where they are: looked up once, and asked of every node."""
    return [(p, other) for p in placements for other in p.pods if _terms(other, "podAntiAffinity")]


def obstacle(pod: Object, node: Object, placements: Sequence[Placement], shy_ones: Sequence[tuple[Placement, Object]]) -> str | None:
    """Return why *pod* may not be on *node* given all other Pods, in Kubernetes' words, or None."""
    if not all(_near(t, pod, node, placements) for t in _terms(pod, "podAffinity")):
        return "node(s) didn't match pod affinity rules"
    if any(_beside(t, pod, node, placements) for t in _terms(pod, "podAntiAffinity")):
        return "node(s) didn't match pod anti-affinity rules"
    if _unwelcome(pod, node, shy_ones):
        return "node(s) didn't satisfy existing pods anti-affinity rules"
    if not all(_is_even(c, pod, node, placements) for c in _constraints(pod)):
        return "node(s) didn't match pod topology spread constraints"
    return None


def _terms(pod: Object, kind: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = dig(pod, "spec", "affinity", kind, _REQUIRED, default=[])
    return found


def _constraints(pod: Object) -> list[Mapping[str, Any]]:
    found = dig(pod, "spec", "topologySpreadConstraints", default=[])
    return [c for c in found if c.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"]


def _domain(placements: Iterable[Placement], node: Object, key: str) -> list[Placement] | None:
    """Return the nodes of *node*'s domain; None when it has none."""
    value = labels_of(node).get(key)
    return None if value is None else [p for p in placements if labels_of(p.node).get(key) == value]


def _near(term: Mapping[str, Any], pod: Object, node: Object, placements: Sequence[Placement]) -> bool:
    domain = _domain(placements, node, str(term.get("topologyKey")))
    if domain is None:
        return False
    if _any_match(term, pod, domain):
        return True
    # The first of its kind may start a group: it looks for itself and finds nobody anywhere.
    return _matches(term, pod, pod) and not _any_match(term, pod, placements)


def _beside(term: Mapping[str, Any], pod: Object, node: Object, placements: Sequence[Placement]) -> bool:
    domain = _domain(placements, node, str(term.get("topologyKey")))
    return domain is not None and _any_match(term, pod, domain)


def _unwelcome(pod: Object, node: Object, shy_ones: Sequence[tuple[Placement, Object]]) -> bool:
    """Whether a Pod that is there keeps *pod* away by its own anti-affinity."""
    for placement, other in shy_ones:
        for term in _terms(other, "podAntiAffinity"):
            key = str(term.get("topologyKey"))
            value = labels_of(placement.node).get(key)
            if value is not None and value == labels_of(node).get(key) and _matches(term, other, pod):
                return True
    return False


def _any_match(term: Mapping[str, Any], pod: Object, placements: Iterable[Placement]) -> bool:
    return any(_matches(term, pod, other) for p in placements for other in p.pods)


def _matches(term: Mapping[str, Any], owner: Object, other: Object) -> bool:
    """Whether *other* is one that the term of *owner* speaks of."""
    spaces = term.get("namespaces") or ([] if "namespaceSelector" in term else [name_of(owner).namespace])
    everywhere = term.get("namespaceSelector") == {}
    if not everywhere and name_of(other).namespace not in spaces:
        return False
    try:
        selector = from_label_selector(term.get("labelSelector"))
    except SelectorError:
        return False
    return selector is not None and selector.matches(labels_of(other))


def _is_even(constraint: Mapping[str, Any], pod: Object, node: Object, placements: Sequence[Placement]) -> bool:
    key = str(constraint.get("topologyKey"))
    here = labels_of(node).get(key)
    if here is None:
        return False
    counts: dict[str, int] = {}
    for placement in placements:
        value = labels_of(placement.node).get(key)
        if value is not None:
            counts[value] = counts.get(value, 0) + sum(_matches(constraint, pod, other) for other in placement.pods)
    after = counts.get(here, 0) + int(_matches(constraint, pod, pod))
    return after - min(counts.values()) <= int(constraint.get("maxSkew", 1))
