"""Which node a Pod goes to: filters that exclude nodes, each with Kubernetes' reason, then the order of those left. Pure.

Sources: k8s.io/kubernetes/pkg/scheduler/framework/plugins (reasons), /pkg/apis/core/v1/helper (tolerations).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from skerry.controllers.workloads.affinity import matches_term, preference
from skerry.controllers.workloads.podaffinity import Placement, obstacle, shy
from skerry.model import quantity
from skerry.model.objects import Object, controller_of, dig, labels_of, metadata, uid_of
from skerry.model.resources import SITE_LABEL

DEFAULT_SCHEDULER = "default-scheduler"
PROCESS_HANDLER = "process"
"""The runtime whose Pods have their node's address: a port that they declare is taken on the node."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node and what already is on it."""

    node: Object
    pods: Sequence[Object] = ()
    used: Mapping[str, Decimal] = field(default_factory=dict)
    ports: frozenset[tuple[str, int]] = frozenset()

    @property
    def name(self) -> str:
        return str(metadata(self.node)["name"])


@dataclass(frozen=True, slots=True)
class Placed:
    node: str


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """No node fits; `message` is what the Event and the condition say."""

    message: str


def node_state(node: Object, pods: Iterable[Object], process_classes: frozenset[str] = frozenset()) -> NodeState:
    """Return *node* with the Pods on it counted, ended ones left out."""
    living = [p for p in pods if dig(p, "status", "phase") not in ("Succeeded", "Failed")]
    used: dict[str, Decimal] = {}
    for pod in living:
        for resource, amount in requests(pod).items():
            used[resource] = used.get(resource, Decimal(0)) + amount
    ports = frozenset(p for pod in living for p in host_ports(pod, process_classes))
    return NodeState(node, living, used, ports)


def requests(pod: Object) -> dict[str, Decimal]:
    """Return what the Pod asks for: the sum of its containers, at least the largest init container, and the overhead."""
    total: dict[str, Decimal] = {}
    for container in dig(pod, "spec", "containers", default=[]):
        for resource, amount in _asked(container).items():
            total[resource] = total.get(resource, Decimal(0)) + amount
    for container in dig(pod, "spec", "initContainers", default=[]):
        for resource, amount in _asked(container).items():
            total[resource] = max(total.get(resource, Decimal(0)), amount)
    for resource, text in dig(pod, "spec", "overhead", default={}).items():
        total[resource] = total.get(resource, Decimal(0)) + quantity.parse(text)
    return total


def _asked(container: Mapping[str, Any]) -> dict[str, Decimal]:
    return {k: quantity.parse(v) for k, v in dig(container, "resources", "requests", default={}).items()}


def host_ports(pod: Object, process_classes: frozenset[str]) -> list[tuple[str, int]]:
    """Return the ports that the Pod takes on its node, as (protocol, number)."""
    everything = dig(pod, "spec", "runtimeClassName") in process_classes or dig(pod, "spec", "hostNetwork", default=False)
    ports = [p for c in dig(pod, "spec", "containers", default=[]) for p in c.get("ports") or ()]
    taken = ((p.get("protocol", "TCP"), p.get("hostPort") or (p.get("containerPort") if everything else 0)) for p in ports)
    return [(protocol, int(port)) for protocol, port in taken if port]


def schedule(
    pod: Object, nodes: Sequence[NodeState], runtime_class: Object | None = None, *, process_classes: frozenset[str] = frozenset()
) -> Placed | Unschedulable:
    """Return the node for *pod*. *runtime_class* is the object that `spec.runtimeClassName` names, None when it names none."""
    if not nodes:
        return Unschedulable("no nodes available to schedule pods")
    offering = [n for n in nodes if _offers(n, runtime_class)]
    if not offering:
        name = dig(pod, "spec", "runtimeClassName")
        return Unschedulable(f"0/{len(nodes)} nodes are available: no node offers runtime class {name}.")
    reasons: Counter[str] = Counter()
    fitting: list[NodeState] = []
    placements = [Placement(n.node, n.pods) for n in nodes]
    shy_ones = shy(placements)
    for state in nodes:
        found = _obstacles(pod, state, runtime_class, process_classes)
        if not found and (between := obstacle(pod, state.node, placements, shy_ones)):
            found = [between]
        reasons.update(found)
        if not found:
            fitting.append(state)
    if not fitting:
        text = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
        return Unschedulable(f"0/{len(nodes)} nodes are available: {text}.")
    siblings = _count_siblings(pod, nodes)
    return Placed(min(fitting, key=lambda n: _order(pod, n, siblings)).name)


def _offers(state: NodeState, runtime_class: Object | None) -> bool:
    wanted = dig(runtime_class, "scheduling", "nodeSelector", default={})
    labels = labels_of(state.node)
    return all(labels.get(k) == v for k, v in wanted.items())


def _obstacles(pod: Object, state: NodeState, runtime_class: Object | None, process_classes: frozenset[str]) -> list[str]:
    """Return why *pod* cannot go there: the first reason found, or all resources that are short."""
    node = state.node
    tolerations = [*dig(pod, "spec", "tolerations", default=[]), *dig(runtime_class, "scheduling", "tolerations", default=[])]
    if dig(node, "spec", "unschedulable", default=False) and not _tolerates_cordon(tolerations):
        return ["node(s) were unschedulable"]
    named = dig(pod, "spec", "nodeName")
    if named and named != state.name:
        return ["node(s) didn't match the requested node name"]
    taint = untolerated(node, tolerations)
    if taint is not None:
        return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"]
    if not _offers(state, runtime_class):
        return [f"node(s) didn't offer runtime class {dig(pod, 'spec', 'runtimeClassName')}"]
    if not _selected(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    if state.ports & set(host_ports(pod, process_classes)):
        return ["node(s) didn't have free ports for the requested pod ports"]
    return _shortages(pod, state)


def _tolerates_cordon(tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return any(tolerates(t, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}) for t in tolerations)


def untolerated(node: Object, tolerations: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the first taint that keeps new Pods away and that none of *tolerations* tolerates."""
    for taint in dig(node, "spec", "taints", default=[]):
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not any(tolerates(t, taint) for t in tolerations):
            found: Mapping[str, Any] = taint
            return found
    return None


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint.get("key")):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def _selected(pod: Object, node: Object) -> bool:
    labels = labels_of(node)
    if any(labels.get(k) != v for k, v in dig(pod, "spec", "nodeSelector", default={}).items()):
        return False
    required = dig(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(matches_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def _shortages(pod: Object, state: NodeState) -> list[str]:
    have = {k: quantity.parse(v) for k, v in dig(state.node, "status", "allocatable", default={}).items()}
    found = ["Too many pods"] if len(state.pods) + 1 > have.get("pods", Decimal(0)) else []
    for resource, amount in requests(pod).items():
        free = have.get(resource, Decimal(0)) - state.used.get(resource, Decimal(0))
        if amount > free:
            found.append(f"Insufficient {resource}")
    return found


@dataclass(frozen=True, slots=True)
class _Siblings:
    """How many Pods of the same owner there are, by node and by Site."""

    by_node: Mapping[str, int]
    by_site: Mapping[str, int]


def _count_siblings(pod: Object, nodes: Sequence[NodeState]) -> _Siblings:
    owner = (controller_of(pod) or {}).get("uid") or uid_of(pod)
    by_node: Counter[str] = Counter()
    by_site: Counter[str] = Counter()
    for state in nodes:
        count = sum((controller_of(p) or {}).get("uid") == owner for p in state.pods)
        by_node[state.name] = count
        by_site[_site(state)] += count
    return _Siblings(by_node, by_site)


def _site(state: NodeState) -> str:
    return labels_of(state.node).get(SITE_LABEL, "")


def _order(pod: Object, state: NodeState, siblings: _Siblings) -> tuple[Any, ...]:
    """Return the sort key of a node that fits: smaller is better. Likes first, then spreading, then room."""
    soft_taints = sum(t.get("effect") == "PreferNoSchedule" for t in dig(state.node, "spec", "taints", default=[]))
    return (
        -preference(pod, state.node),
        soft_taints,
        siblings.by_node[state.name],
        siblings.by_site[_site(state)],
        _fullness(state),
        len(state.pods),
        state.name,
    )


def _fullness(state: NodeState) -> Decimal:
    have = dig(state.node, "status", "allocatable", default={})
    shares = [state.used.get(r, Decimal(0)) / quantity.parse(have[r]) for r in ("cpu", "memory") if r in have and quantity.parse(have[r])]
    return max(shares, default=Decimal(0))
