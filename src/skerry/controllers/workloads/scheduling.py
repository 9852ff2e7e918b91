"""Which node a Pod goes to: filters that exclude nodes, each with Kubernetes' reason, then the order of those left. Pure.

With many nodes not all are compared: the search ends with `ENOUGH` that fit, and begins each time where the last one ended.
Sources: k8s.io/kubernetes/pkg/scheduler/framework/plugins (reasons), /pkg/apis/core/v1/helper (tolerations).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from skerry.controllers.workloads.affinity import matches_term, preference
from skerry.controllers.workloads.nodestate import ZERO, NodeState, host_ports, node_state, requests
from skerry.controllers.workloads.podaffinity import Neighbours, SpaceLabels, neighbours
from skerry.model.objects import Object, controller_of, dig, uid_of

__all__ = ["NodeState", "Placed", "Unschedulable", "node_state", "requests", "schedule", "tolerates", "untolerated"]

DEFAULT_SCHEDULER = "default-scheduler"
PROCESS_HANDLER = "process"
"""The runtime whose Pods have their node's address: a port that they declare is taken on the node."""
ENOUGH = 100
"""Nodes that fit and are compared; Kubernetes' least number."""
Volumes = Callable[[NodeState], str]
"""Says why the Pod's volumes cannot be had on a node, "" when they can."""


class Placed(msgspec.Struct, frozen=True):
    node: str


class Unschedulable(msgspec.Struct, frozen=True):
    """No node fits; `message` is what the Event and the condition say. `full` are nodes where fewer Pods would help."""

    message: str
    full: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unschedulable) and self.message == other.message

    def __hash__(self) -> int:
        return hash(self.message)


class Asked(msgspec.Struct, frozen=True):
    """What a Pod asks of a node, read once."""

    pod: Object
    runtime_class: Object | None
    amounts: Mapping[str, Any]
    ports: frozenset[tuple[str, int]]
    tolerations: Sequence[Mapping[str, Any]]
    offers: Mapping[str, str]
    selector: Mapping[str, str]
    terms: Sequence[Mapping[str, Any]] | None
    node: str
    names: frozenset[str] | None = None
    """The only nodes that the required affinity can mean (a DaemonSet's Pods): all others need no second look."""
    volumes: Volumes | None = None

    @classmethod
    def of(cls, pod: Object, runtime_class: Object | None, process_classes: frozenset[str], volumes: Volumes | None) -> Asked:
        spec = pod.get("spec") or {}
        required = dig(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
        return cls(
            pod,
            runtime_class,
            requests(pod),
            frozenset(host_ports(pod, process_classes)),
            [*(spec.get("tolerations") or ()), *dig(runtime_class, "scheduling", "tolerations", default=[])],
            dig(runtime_class, "scheduling", "nodeSelector", default={}),
            spec.get("nodeSelector") or {},
            None if required is None else required.get("nodeSelectorTerms") or (),
            spec.get("nodeName") or "",
            None if required is None else _names(required.get("nodeSelectorTerms") or ()),
            volumes,
        )

    def offered(self, state: NodeState) -> bool:
        return all(state.labels.get(k) == v for k, v in self.offers.items())

    def selected(self, state: NodeState) -> bool:
        """Say whether the node is one of those that the Pod's selector and required affinity name."""
        labels = state.labels
        if self.names is not None and state.name not in self.names:
            return False
        if any(labels.get(k) != v for k, v in self.selector.items()):
            return False
        return self.terms is None or any(matches_term(term, state.node) for term in self.terms)

    def tolerated(self, state: NodeState) -> bool:
        """Say whether the Pod tolerates the node's taints."""
        return not state.taints or next(_untolerated(state.taints, self.tolerations), None) is None

    def obstacle(self, state: NodeState) -> str:
        """Return the first reason for which fewer Pods on the node would not help, "" when there is none."""
        if state.cordoned and not any(tolerates(t, _CORDON) for t in self.tolerations):
            return "node(s) were unschedulable"
        if self.node and self.node != state.name:
            return "node(s) didn't match the requested node name"
        if state.taints and (taint := next(_untolerated(state.taints, self.tolerations), None)) is not None:
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
        if not self.offered(state):
            return f"node(s) didn't offer runtime class {dig(self.pod, 'spec', 'runtimeClassName')}"
        if not self.selected(state):
            return "node(s) didn't match Pod's node affinity/selector"
        return self.volumes(state) if self.volumes is not None else ""

    def shortages(self, state: NodeState) -> list[str]:
        """Return what there is too little of: fewer Pods on the node would help."""
        if self.ports and state.ports & self.ports:
            return ["node(s) didn't have free ports for the requested pod ports"]
        have, used = state.have, state.used
        found = ["Too many pods"] if len(state.pods) + 1 > have.get("pods", ZERO) else []
        found += [f"Insufficient {r}" for r, asked in self.amounts.items() if asked and asked + used.get(r, ZERO) > have.get(r, ZERO)]
        return found


def _names(terms: Sequence[Mapping[str, Any]]) -> frozenset[str] | None:
    found: set[str] = set()
    for term in terms:
        fields = [f for f in term.get("matchFields") or () if f.get("key") == "metadata.name" and f.get("operator") == "In"]
        if not fields:
            return None
        found.update(fields[0].get("values") or ())
    return frozenset(found)


_CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def schedule(
    pod: Object,
    nodes: Sequence[NodeState],
    runtime_class: Object | None = None,
    *,
    process_classes: frozenset[str] = frozenset(),
    volumes: Volumes | None = None,
    start: int = 0,
    spaces: SpaceLabels = lambda _: {},
) -> Placed | Unschedulable:
    """Return the node for *pod*. *runtime_class* is the object that `spec.runtimeClassName` names, None when it names none.

    *start* is where among many nodes the search begins; *spaces* gives the labels of namespaces.
    """
    if not nodes:
        return Unschedulable("no nodes available to schedule pods")
    asked = Asked.of(pod, runtime_class, process_classes, volumes)
    if asked.offers and not any(asked.offered(n) for n in nodes):
        name = dig(pod, "spec", "runtimeClassName")
        return Unschedulable(f"0/{len(nodes)} nodes are available: no node offers runtime class {name}.")
    around = neighbours(pod, nodes, asked, spaces)
    start %= len(nodes)
    fitting, reasons, full = _search(asked, around, [*nodes[start:], *nodes[:start]] if start else nodes)
    if not fitting:
        text = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
        return Unschedulable(f"0/{len(nodes)} nodes are available: {text}.", tuple(full))
    return Placed(_best(pod, fitting, nodes, around).name)


def _search(asked: Asked, around: Neighbours, nodes: Sequence[NodeState]) -> tuple[list[NodeState], Counter[str], list[str]]:
    reasons: Counter[str] = Counter()
    fitting: list[NodeState] = []
    full: list[str] = []
    quiet = around.silent
    for state in nodes:
        why = asked.obstacle(state) or (None if quiet else around.obstacle(state.labels))
        if why:
            reasons[why] += 1
            continue
        short = asked.shortages(state)
        if short:
            reasons.update(short)
            full.append(state.name)
            continue
        fitting.append(state)
        if len(fitting) >= ENOUGH:
            break
    return fitting, reasons, full


def untolerated(node: Object, tolerations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the taints that keep new Pods away and that none of *tolerations* tolerates."""
    return list(_untolerated(dig(node, "spec", "taints", default=[]), tolerations))


def _untolerated(taints: Sequence[Mapping[str, Any]], tolerations: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for taint in taints:
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not any(tolerates(t, taint) for t in tolerations):
            yield taint


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint.get("key")):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def _best(pod: Object, fitting: Sequence[NodeState], nodes: Sequence[NodeState], around: Neighbours) -> NodeState:
    """Return the best of the nodes that fit. Likes first, then spreading over nodes and Sites, then room."""
    owner = str((controller_of(pod) or {}).get("uid") or uid_of(pod))
    by_site: Counter[str] = Counter()
    for state in nodes:
        here = state.owners.get(owner)
        if here:
            by_site[state.site] += here
    tolerations = dig(pod, "spec", "tolerations", default=[])

    def order(state: NodeState) -> tuple[Any, ...]:
        soft = sum(t.get("effect") == "PreferNoSchedule" and not any(tolerates(x, t) for x in tolerations) for t in state.taints)
        return (
            -preference(pod, state.node) - around.liking(state.labels),
            soft,
            around.crowd(state.labels),
            state.owners.get(owner, 0),
            by_site[state.site],
            state.fullness,
            len(state.pods),
            state.name,
        )

    return min(fitting, key=order)
