"""Rules between Pods: affinity, anti-affinity and spread, required and preferred. Pure.

A domain is all nodes with the same value of a topology key. Who is where is counted once for a Pod, by domain; each node is then a
look into these counts. A term that cannot be understood excludes every node. Of Pods that are there, only what they require of others
counts, not what they prefer.
Source: k8s.io/kubernetes/pkg/scheduler/framework/plugins/interpodaffinity, podtopologyspread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skerry.controllers.workloads.nodestate import REQUIRED, NodeState
from skerry.model.objects import Object, dig, labels_of, metadata, name_of
from skerry.model.selectors import SelectorError, from_label_selector

PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
Matches = Callable[[Object], bool]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Near:
    """A term that asks for company: in these domains there is some."""

    key: str
    domains: frozenset[str]
    first: bool
    """The first of its kind may start a group: it looks for itself and finds nobody anywhere."""


@dataclass(frozen=True, slots=True)
class _Spread:
    key: str
    counts: Mapping[str, int]
    itself: int
    skew: int
    least: int
    """The fewest in any domain; 0 while there are fewer domains than are asked for."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What the Pods that are there mean for one that comes."""

    near: Sequence[_Near] = ()
    apart: frozenset[tuple[str, str]] = frozenset()
    unwelcome: frozenset[tuple[str, str]] = frozenset()
    even: Sequence[_Spread] = ()
    wishes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    soft: Sequence[_Spread] = ()

    @property
    def silent(self) -> bool:
        """Whether there is nothing to ask of any node."""
        return not (self.near or self.apart or self.unwelcome or self.even)

    def obstacle(self, labels: Labels) -> str | None:
        """Return why the Pod may not be on a node with these labels, in Kubernetes' words, or None."""
        for term in self.near:
            value = labels.get(term.key)
            if value is None or not (value in term.domains or term.first):
                return "node(s) didn't match pod affinity rules"
        if any(labels.get(key) == value for key, value in self.apart):
            return "node(s) didn't match pod anti-affinity rules"
        if any(labels.get(key) == value for key, value in self.unwelcome):
            return "node(s) didn't satisfy existing pods anti-affinity rules"
        for spread in self.even:
            value = labels.get(spread.key)
            if value is None:
                return "node(s) didn't match pod topology spread constraints (missing required label)"
            if spread.counts.get(value, 0) + spread.itself - spread.least > spread.skew:
                return "node(s) didn't match pod topology spread constraints"
        return None

    def liking(self, labels: Labels) -> int:
        """Return how much the Pod likes the neighbours that it has there."""
        return sum(weight for (key, value), weight in self.wishes.items() if labels.get(key) == value)

    def crowd(self, labels: Labels) -> int:
        """Return how many of those there are from whom the Pod would rather be spread."""
        return sum(s.counts.get(labels.get(s.key, ""), 0) for s in self.soft)


_ALONE = Neighbours()


def neighbours(pod: Object, states: Sequence[NodeState], eligible: Callable[[NodeState], bool]) -> Neighbours:
    """Count for *pod* who is where. *eligible* says which nodes its own node affinity leaves: only they count for spreading."""
    unwelcome = frozenset(_unwelcome(pod, states))
    affinity, constraints = dig(pod, "spec", "affinity", default={}), dig(pod, "spec", "topologySpreadConstraints", default=[])
    if not (affinity.get("podAffinity") or affinity.get("podAntiAffinity") or constraints):
        return Neighbours(unwelcome=unwelcome) if unwelcome else _ALONE
    hard = [c for c in constraints if c.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"]
    soft = [c for c in constraints if c not in hard]
    apart = [pair for t in _terms(affinity, "podAntiAffinity") for pair in _domains(t, pod, states)]
    return Neighbours(
        near=[_near(t, pod, states) for t in _terms(affinity, "podAffinity")],
        apart=frozenset(apart),
        unwelcome=unwelcome,
        even=[_spread(c, pod, states, eligible) for c in hard],
        wishes=_wishes(affinity, pod, states),
        soft=[_spread(c, pod, states, eligible) for c in soft],
    )


def _terms(affinity: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = dig(affinity, kind, REQUIRED, default=[])
    return found


def _domains(term: Mapping[str, Any], pod: Object, states: Iterable[NodeState]) -> set[tuple[str, str]]:
    """Return the key and value of each domain in which a Pod is that the term speaks of."""
    key, matches = str(term.get("topologyKey")), matcher(term, pod)
    return {(key, s.labels[key]) for s in states if key in s.labels and any(map(matches, s.pods))}


def _near(term: Mapping[str, Any], pod: Object, states: Sequence[NodeState]) -> _Near:
    found = _domains(term, pod, states)
    matches = matcher(term, pod)
    first = matches(pod) and not found and not any(matches(other) for s in states for other in s.pods)
    return _Near(str(term.get("topologyKey")), frozenset(value for _, value in found), first)


def _unwelcome(pod: Object, states: Iterable[NodeState]) -> Iterable[tuple[str, str]]:
    """Yield the domains from which Pods that are there keep *pod* away."""
    for state in states:
        for other in state.shy:
            for term in _terms(dig(other, "spec", "affinity", default={}), "podAntiAffinity"):
                value = state.labels.get(str(term.get("topologyKey")))
                if value is not None and matcher(term, other)(pod):
                    yield str(term.get("topologyKey")), value


def _wishes(affinity: Mapping[str, Any], pod: Object, states: Sequence[NodeState]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        for wish in dig(affinity, kind, PREFERRED, default=[]):
            for place in _domains(wish.get("podAffinityTerm") or {}, pod, states):
                found[place] = found.get(place, 0) + sign * int(wish.get("weight") or 0)
    return found


def _spread(constraint: Mapping[str, Any], pod: Object, states: Iterable[NodeState], eligible: Callable[[NodeState], bool]) -> _Spread:
    key, matches = str(constraint.get("topologyKey")), matcher(_with_keys(constraint, pod), pod)
    honour = constraint.get("nodeAffinityPolicy", "Honor") == "Honor"
    counts: dict[str, int] = {}
    for state in states:
        value = state.labels.get(key)
        if value is not None and (not honour or eligible(state)):
            here = sum(1 for other in state.pods if matches(other) and not metadata(other).get("deletionTimestamp"))
            counts[value] = counts.get(value, 0) + here
    few = len(counts) < int(constraint.get("minDomains") or 1)
    least = 0 if few else min(counts.values(), default=0)
    return _Spread(key, counts, int(matches(pod)), int(constraint.get("maxSkew", 1)), least)


def _with_keys(constraint: Mapping[str, Any], pod: Object) -> Mapping[str, Any]:
    """Return the constraint with `matchLabelKeys` turned into terms: only Pods with the same values count."""
    keys = [k for k in constraint.get("matchLabelKeys") or () if k in labels_of(pod)]
    if not keys:
        return constraint
    selector = constraint.get("labelSelector") or {}
    labels = {**(selector.get("matchLabels") or {}), **{k: labels_of(pod)[k] for k in keys}}
    return {**constraint, "labelSelector": {**selector, "matchLabels": labels}}


def matcher(term: Mapping[str, Any], owner: Object) -> Matches:
    """Return what says whether a Pod is one that the term of *owner* speaks of."""
    spaces = term.get("namespaces") or ([] if "namespaceSelector" in term else [name_of(owner).namespace])
    everywhere = term.get("namespaceSelector") == {}
    try:
        selector = from_label_selector(term.get("labelSelector"))
    except SelectorError:
        selector = None
    if selector is None:
        return lambda _: False
    wanted = selector

    def matches(other: Object) -> bool:
        return (everywhere or name_of(other).namespace in spaces) and wanted.matches(labels_of(other))

    return matches
