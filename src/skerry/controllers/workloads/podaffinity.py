"""Rules between Pods: affinity, anti-affinity and spread, required and preferred. Pure.

A domain is all nodes with the same value of a topology key. Who is where is counted once for a Pod, by domain; each node is then a
look into these counts. A term that cannot be understood excludes every node. Of Pods that are there, only what they require of others
counts, not what they prefer.
Source: k8s.io/kubernetes/pkg/scheduler/framework/plugins/interpodaffinity, podtopologyspread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from skerry.controllers.workloads.nodestate import REQUIRED, NodeState
from skerry.model.objects import Object, dig, labels_of, metadata, name_of
from skerry.model.selectors import SelectorError, from_label_selector

PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
Labels = Mapping[str, str]
SpaceLabels = Callable[[str], Labels]
"""Gives the labels of a namespace."""


class Eligible(Protocol):
    """Says which nodes count for spreading."""

    def selected(self, state: NodeState) -> bool: ...

    def tolerated(self, state: NodeState) -> bool: ...


class Term(msgspec.Struct, frozen=True):
    """Which Pods a term speaks of, and `mark`, which is the same for terms that speak of the same Pods."""

    mark: str
    matches: Callable[[Object], bool]

    def here(self, state: NodeState) -> tuple[int, int]:
        """Return how many such Pods are on the node, and how many of them are not ending. Counted once while nothing changes there."""
        return state.recall(self.mark, lambda: _count(self.matches, state.pods))


def _count(matches: Callable[[Object], bool], pods: Iterable[Object]) -> tuple[int, int]:
    found = [p for p in pods if matches(p)]
    return len(found), sum(not metadata(p).get("deletionTimestamp") for p in found)


class _Near(msgspec.Struct, frozen=True):
    """A term that asks for company: in these domains there is some."""

    key: str
    domains: frozenset[str]
    first: bool
    """The first of its kind may start a group: it looks for itself and finds nobody anywhere."""


class _Spread(msgspec.Struct, frozen=True):
    key: str
    counts: Mapping[str, int]
    itself: int
    skew: int
    least: int
    """The fewest in any domain; 0 while there are fewer domains than are asked for."""


class Neighbours(msgspec.Struct, frozen=True):
    """What the Pods that are there mean for one that comes."""

    near: Sequence[_Near] = ()
    apart: frozenset[tuple[str, str]] = frozenset()
    unwelcome: frozenset[tuple[str, str]] = frozenset()
    even: Sequence[_Spread] = ()
    wishes: Mapping[tuple[str, str], int] = msgspec.field(default_factory=dict)
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
Place = tuple[str, str]
"""A domain: the topology key and its value."""


def neighbours(pod: Object, states: Sequence[NodeState], eligible: Eligible, spaces: SpaceLabels) -> Neighbours:
    """Count for *pod* who is where, and what those who are there would have of it."""
    unwelcome, wishes = _of_others(pod, states, spaces)
    affinity, constraints = dig(pod, "spec", "affinity", default={}), dig(pod, "spec", "topologySpreadConstraints", default=[])
    if not (affinity.get("podAffinity") or affinity.get("podAntiAffinity") or constraints):
        return Neighbours(unwelcome=unwelcome, wishes=wishes) if unwelcome or wishes else _ALONE
    hard = [c for c in constraints if c.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"]
    soft = [c for c in constraints if c not in hard]
    apart = (_domains(_key(t), term_of(t, pod, spaces), states) for t in _terms(affinity, "podAntiAffinity"))
    for place, weight in _own_wishes(affinity, pod, states, spaces):
        wishes[place] = wishes.get(place, 0) + weight
    return Neighbours(
        near=_near(_terms(affinity, "podAffinity"), pod, states, spaces),
        apart=frozenset().union(*apart),
        unwelcome=unwelcome,
        even=_spreads(hard, pod, states, eligible),
        wishes=wishes,
        soft=_spreads(soft, pod, states, eligible),
    )


def _terms(affinity: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = dig(affinity, kind, REQUIRED, default=[])
    return found


def _key(term: Mapping[str, Any]) -> str:
    return str(term.get("topologyKey"))


def _domains(key: str, term: Term, states: Iterable[NodeState]) -> frozenset[Place]:
    """Return the key and value of each domain in which a Pod is that the term speaks of."""
    return frozenset((key, s.labels[key]) for s in states if key in s.labels and term.here(s)[0])


def _near(terms: Sequence[Mapping[str, Any]], pod: Object, states: Sequence[NodeState], spaces: SpaceLabels) -> list[_Near]:
    """Return the company that is asked for: Pods that all of the *terms* speak of, as in Kubernetes."""
    if not terms:
        return []
    each = [term_of(t, pod, spaces) for t in terms]
    company = Term(str([t.mark for t in each]), lambda other: all(t.matches(other) for t in each))
    first = company.matches(pod) and not any(company.here(s)[0] for s in states)
    return [_Near(_key(t), frozenset(value for _, value in _domains(_key(t), company, states)), first) for t in terms]


def _of_others(pod: Object, states: Iterable[NodeState], spaces: SpaceLabels) -> tuple[frozenset[Place], dict[Place, int]]:
    """Return the domains from which Pods that are there keep *pod* away, and how much those there would like to have it."""
    unwelcome: set[Place] = set()
    wishes: dict[Place, int] = {}
    like = f"{name_of(pod).namespace} {sorted(labels_of(pod).items())}"
    for state in states:
        if state.social:
            away, liked = state.recall(like, lambda state=state: _of_those(pod, state, spaces))  # type: ignore[misc]
            unwelcome |= away
            for place, weight in liked.items():
                wishes[place] = wishes.get(place, 0) + weight
    return frozenset(unwelcome), wishes


def _of_those(pod: Object, state: NodeState, spaces: SpaceLabels) -> tuple[set[Place], dict[Place, int]]:
    away: set[Place] = set()
    liked: dict[Place, int] = {}
    for other in state.social:
        affinity = dig(other, "spec", "affinity", default={})
        for weight, term in _stances(affinity):
            value = state.labels.get(_key(term))
            if value is None or not term_of(term, other, spaces).matches(pod):
                continue
            if weight is None:
                away.add((_key(term), value))
            else:
                liked[_key(term), value] = liked.get((_key(term), value), 0) + weight
    return away, liked


def _stances(affinity: Mapping[str, Any]) -> Iterator[tuple[int | None, Mapping[str, Any]]]:
    """Yield each term of a Pod that runs with what it weighs for one that comes; None keeps it away."""
    for term in _terms(affinity, "podAntiAffinity"):
        yield None, term
    for term in _terms(affinity, "podAffinity"):
        yield 1, term
    yield from _preferred(affinity)


def _preferred(affinity: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        for wish in dig(affinity, kind, PREFERRED, default=[]):
            yield sign * int(wish.get("weight") or 0), wish.get("podAffinityTerm") or {}


def _own_wishes(affinity: Mapping[str, Any], pod: Object, states: Sequence[NodeState], spaces: SpaceLabels) -> Iterator[tuple[Place, int]]:
    for weight, term in _preferred(affinity):
        for place in _domains(_key(term), term_of(term, pod, spaces), states):
            yield place, weight


def _spreads(constraints: Sequence[Mapping[str, Any]], pod: Object, states: Iterable[NodeState], eligible: Eligible) -> list[_Spread]:
    """Return the constraints, counted; only nodes that have the label of each of them count."""
    keys = {_key(c) for c in constraints}
    complete = [s for s in states if keys <= s.labels.keys()] if keys else []
    return [_spread(c, pod, complete, eligible) for c in constraints]


def _spread(constraint: Mapping[str, Any], pod: Object, states: Iterable[NodeState], eligible: Eligible) -> _Spread:
    key, term = _key(constraint), term_of(_with_keys(constraint, pod), pod, _no_labels)
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor":
        states = filter(eligible.selected, states)
    if constraint.get("nodeTaintsPolicy") == "Honor":
        states = filter(eligible.tolerated, states)
    counts: dict[str, int] = {}
    for state in states:
        counts[state.labels[key]] = counts.get(state.labels[key], 0) + term.here(state)[1]
    few = len(counts) < int(constraint.get("minDomains") or 1)
    least = 0 if few else min(counts.values(), default=0)
    return _Spread(key, counts, int(term.matches(pod)), int(constraint.get("maxSkew", 1)), least)


def _with_keys(constraint: Mapping[str, Any], pod: Object) -> Mapping[str, Any]:
    """Return the constraint with `matchLabelKeys` turned into terms: only Pods with the same values count."""
    keys = [k for k in constraint.get("matchLabelKeys") or () if k in labels_of(pod)]
    if not keys:
        return constraint
    selector = constraint.get("labelSelector") or {}
    labels = {**(selector.get("matchLabels") or {}), **{k: labels_of(pod)[k] for k in keys}}
    return {**constraint, "labelSelector": {**selector, "matchLabels": labels}}


def _no_labels(namespace: str) -> Labels:
    return {}


def term_of(term: Mapping[str, Any], owner: Object, spaces: SpaceLabels) -> Term:
    """Return which Pods the term of *owner* speaks of: in the namespaces that it names or selects, else in its owner's."""
    try:
        wanted, selected = from_label_selector(term.get("labelSelector")), from_label_selector(term.get("namespaceSelector"))
    except SelectorError:
        wanted = selected = None
    if wanted is None:
        return Term("", lambda _: False)
    named = frozenset(term.get("namespaces") or (() if selected is not None else (name_of(owner).namespace,)))
    chosen = wanted

    def matches(other: Object) -> bool:
        namespace = name_of(other).namespace
        here = namespace in named or (selected is not None and selected.matches(spaces(namespace)))
        return here and chosen.matches(labels_of(other))

    return Term(str((wanted, selected, sorted(named))), matches)
