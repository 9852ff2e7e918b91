"""A node and what is on it, counted once so that a thousand nodes can be asked for each Pod. Pure.

Source: k8s.io/kubernetes/pkg/scheduler/framework (NodeInfo), /pkg/api/v1/resource (requests of a Pod).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar

from skerry.model import quantity
from skerry.model.objects import Object, controller_of, dig, labels_of, metadata
from skerry.model.resources import SITE_LABEL

ZERO = Decimal(0)
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
amount = lru_cache(maxsize=4096)(quantity.parse)
"""The same few quantities are asked for again and again."""
REMEMBERED = 64
"""Answers about its Pods that a node's state keeps: as many as there are kinds of Pods that ask the same."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node and what already is on it."""

    node: Object
    pods: Sequence[Object] = ()
    used: Mapping[str, Decimal] = field(default_factory=dict)
    ports: frozenset[tuple[str, int]] = frozenset()
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    have: Mapping[str, Decimal] = field(default_factory=dict)
    taints: Sequence[Mapping[str, Any]] = ()
    cordoned: bool = False
    social: Sequence[Object] = ()
    """The Pods here that would have others near or away."""
    owners: Mapping[str, int] = field(default_factory=dict)
    """How many Pods each controller has here."""
    fullness: Decimal = ZERO
    """The larger of the shares of CPU and memory that are asked for."""
    _known: dict[str, Any] = field(default_factory=dict, compare=False)

    def recall(self, key: str, work: Callable[[], T]) -> T:
        """Return what *work* gives, worked out once: a node about which something changes gets a new state."""
        if key in self._known:
            found: T = self._known[key]
            return found
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = found = work()
        return found

    @property
    def site(self) -> str:
        return self.labels.get(SITE_LABEL, "")


def node_state(node: Object, pods: Iterable[Object] = (), process_classes: frozenset[str] = frozenset()) -> NodeState:
    """Return *node* with the Pods on it counted, ended ones left out."""
    living = [p for p in pods if dig(p, "status", "phase") not in ("Succeeded", "Failed")]
    used: dict[str, Decimal] = {}
    for pod in living:
        for resource, asked in requests(pod).items():
            used[resource] = used.get(resource, ZERO) + asked
    have = {k: amount(v) for k, v in dig(node, "status", "allocatable", default={}).items()}
    owners = Counter(str(owner["uid"]) for p in living if (owner := controller_of(p)) is not None)
    return NodeState(
        node,
        living,
        used,
        frozenset(p for pod in living for p in host_ports(pod, process_classes)),
        name=str(metadata(node)["name"]),
        labels=labels_of(node),
        have=have,
        taints=dig(node, "spec", "taints", default=[]),
        cordoned=bool(dig(node, "spec", "unschedulable", default=False)),
        social=[p for p in living if any(dig(p, "spec", "affinity", kind) for kind in ("podAffinity", "podAntiAffinity"))],
        owners=owners,
        fullness=max((used.get(r, ZERO) / have[r] for r in ("cpu", "memory") if have.get(r)), default=ZERO),
    )


def requests(pod: Object) -> dict[str, Decimal]:
    """Return what the Pod asks for: its containers and sidecars together, at least the largest init container, and the overhead."""
    total: dict[str, Decimal] = {}
    for container in dig(pod, "spec", "containers", default=[]):
        _add(total, container)
    sidecars: dict[str, Decimal] = {}
    for container in dig(pod, "spec", "initContainers", default=[]):
        if container.get("restartPolicy") == "Always":
            _add(total, container)
            _add(sidecars, container)
            continue
        for resource, asked in _asked(container).items():
            total[resource] = max(total.get(resource, ZERO), asked + sidecars.get(resource, ZERO))
    for resource, text in dig(pod, "spec", "overhead", default={}).items():
        total[resource] = total.get(resource, ZERO) + amount(text)
    return total


def _add(total: dict[str, Decimal], container: Mapping[str, Any]) -> None:
    for resource, asked in _asked(container).items():
        total[resource] = total.get(resource, ZERO) + asked


def _asked(container: Mapping[str, Any]) -> dict[str, Decimal]:
    return {k: amount(v) for k, v in dig(container, "resources", "requests", default={}).items()}


def host_ports(pod: Object, process_classes: frozenset[str]) -> list[tuple[str, int]]:
    """Return the ports that the Pod takes on its node, as (protocol, number)."""
    everything = dig(pod, "spec", "runtimeClassName") in process_classes or dig(pod, "spec", "hostNetwork", default=False)
    ports = [p for c in dig(pod, "spec", "containers", default=[]) for p in c.get("ports") or ()]
    taken = ((p.get("protocol", "TCP"), p.get("hostPort") or (p.get("containerPort") if everything else 0)) for p in ports)
    return [(protocol, int(port)) for protocol, port in taken if port]
