"""What a DaemonSet needs done: one Pod on each node that may have one. Pure.

A node that is not heard keeps its Pod as it is: it is not taken down for a new version, and it does not count against
`maxUnavailable`, or one site that is cut off would stop a rollout everywhere. It gets the new version when it is back.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from skerry.controllers.workloads.affinity import matches_term
from skerry.controllers.workloads.deployment_plan import template_hash
from skerry.controllers.workloads.pods import available_in_s, is_active, is_finished, is_ready, pod_from_template
from skerry.controllers.workloads.rolling import limits
from skerry.controllers.workloads.scheduling import untolerated
from skerry.model.conditions import is_true
from skerry.model.objects import Object, annotations_of, dig, labels_of, metadata, name_of

HASH_LABEL = "controller-revision-hash"
GENERATION_LABEL = "pod-template-generation"
_GENERATION = "deprecated.daemonset.template.generation"

TOLERATIONS: tuple[Mapping[str, str], ...] = tuple(
    {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect}
    for name, effect in (
        ("not-ready", "NoExecute"),
        ("not-ready", "NoSchedule"),
        ("unreachable", "NoExecute"),
        ("unreachable", "NoSchedule"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
)
"""What every Pod of a DaemonSet tolerates, as in Kubernetes (and its nodes' NoSchedule of the first two besides)."""

_HOST_NETWORK = {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"}


class CreateOn(msgspec.Struct, frozen=True):
    """Create a Pod for this node; the scheduler binds it there."""

    node: str


class Delete(msgspec.Struct, frozen=True):
    pod: Object


Step = CreateOn | Delete


def plan(daemonset: Object, nodes: Sequence[Object], pods: Sequence[Object], *, now: datetime) -> list[Step]:
    """Return the steps for *pods*, those that the DaemonSet controls; once they have had their effect there are none."""
    if metadata(daemonset).get("deletionTimestamp"):
        return []
    mark, placed = revision(daemonset), by_node(pods)
    places = {name_of(n).name: (n, *place(daemonset, n)) for n in nodes}
    wanted = {name: node for name, (node, runs, _) in places.items() if runs}
    steps: list[Step] = []
    for name, there in placed.items():
        stays = name in places and places[name][2]
        kept = _kept(daemonset, there, mark) if stays else []
        steps += [Delete(p) for p in there if not any(p is k for k in kept) and not metadata(p).get("deletionTimestamp")]
    steps += [CreateOn(name) for name in sorted(wanted) if not placed.get(name)]
    # One that ended may have to wait before it is replaced: the others do not wait for it.
    only_ended = all(isinstance(s, Delete) and is_finished(s.pod) for s in steps)
    return [*steps, *_roll(daemonset, wanted, placed, mark, now)] if only_ended else steps


def by_node(pods: Sequence[Object]) -> dict[str, list[Object]]:
    """Return the Pods by the node that they are, or will be, on."""
    found: dict[str, list[Object]] = {}
    for pod in pods:
        found.setdefault(node_of(pod), []).append(pod)
    return found


def node_of(pod: Object) -> str:
    bound = dig(pod, "spec", "nodeName")
    path = (
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "nodeSelectorTerms",
        0,
        "matchFields",
        0,
        "values",
        0,
    )
    return str(bound or dig(pod, "spec", *path, default=""))


def surge(daemonset: Object, nodes: int) -> int:
    """Return on how many nodes the new Pod may come before the old one goes."""
    if dig(daemonset, "spec", "updateStrategy", "type", default="RollingUpdate") != "RollingUpdate":
        return 0
    return limits(nodes, dig(daemonset, "spec", "updateStrategy", "rollingUpdate", "maxSurge", default=0), 0).surge


def _is_new(pod: Object, mark: str) -> bool:
    return labels_of(pod).get(HASH_LABEL) == mark


def _kept(daemonset: Object, pods: Sequence[Object], mark: str) -> list[Object]:
    """Return the Pods to keep of those on one node: one, or while one comes before the other goes, one of each version."""
    if not surge(daemonset, 100):
        groups = [list(pods)]
    else:
        groups = [[p for p in pods if _is_new(p, mark)], [p for p in pods if not _is_new(p, mark)]]
    return [keep for group in groups if (keep := _oldest(group)) is not None]


def _oldest(pods: Sequence[Object]) -> Object | None:
    """Return the Pod to keep of several on one node; one that has ended is replaced, one that is ending is waited for."""
    living = [p for p in pods if not is_finished(p)]
    return min(living, key=lambda p: (bool(metadata(p).get("deletionTimestamp")), metadata(p).get("creationTimestamp") or ""), default=None)


def place(daemonset: Object, node: Object) -> tuple[bool, bool]:
    """Return whether the node shall have a Pod, and whether one that is there may stay.

    The template's selectors have to choose it. A taint NoSchedule that is not tolerated keeps new Pods away; NoExecute ends those there.
    """
    spec = dig(daemonset, "spec", "template", "spec", default={})
    labels = labels_of(node)
    if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
        return False, False
    terms = dig(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    if terms is not None and not any(matches_term(t, node) for t in terms):
        return False, False
    if spec.get("nodeName") not in (None, "", name_of(node).name):
        return False, False
    tainted = dig(node, "spec", "taints")
    effects = {t.get("effect") for t in untolerated(node, _tolerations(spec))} if tainted else set()
    return not effects, "NoExecute" not in effects


def _tolerations(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = spec.get("tolerations") or []
    ours = [*TOLERATIONS, *([_HOST_NETWORK] if spec.get("hostNetwork") else [])]
    return [*given, *(t for t in ours if t not in given)]


def revision(daemonset: Object) -> str:
    return template_hash(daemonset["spec"]["template"])


def _roll(daemonset: Object, wanted: Mapping[str, Object], placed: Mapping[str, list[Object]], mark: str, now: datetime) -> list[Step]:
    """Return the old Pods to take down now, as many as `maxUnavailable` leaves room for."""
    if dig(daemonset, "spec", "updateStrategy", "type", default="RollingUpdate") != "RollingUpdate":
        return []
    heard = {n: placed.get(n, []) for n in sorted(wanted) if is_true(dig(wanted[n], "status", "conditions"), "Ready")}
    more = surge(daemonset, len(wanted))
    if more:
        return _overlap(daemonset, heard, more, mark, now)
    least = dig(daemonset, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable", default=1)
    room = max(1, limits(len(wanted), 0, least).unavailable)
    down = [n for n, pods in heard.items() if not any(_is_available(daemonset, p, now) for p in pods)]
    old = {n: p for n, pods in heard.items() for p in pods if is_active(p) and not _is_new(p, mark)}
    broken = [old[n] for n in down if n in old]
    good = [p for n, p in old.items() if n not in down]
    return [Delete(p) for p in (*broken, *good[: max(0, room - len(down))])]


def _overlap(daemonset: Object, heard: Mapping[str, list[Object]], more: int, mark: str, now: datetime) -> list[Step]:
    """Return the new Pods to put beside old ones, as many as `maxSurge` allows, and the old Pods whose successor is available."""
    goes: list[Step] = []
    broken: list[str] = []
    waiting: list[str] = []
    for node, pods in heard.items():
        living = [p for p in pods if is_active(p)]
        old, new = ([p for p in living if _is_new(p, mark) is kind] for kind in (False, True))
        if not old:
            continue
        if not new:
            (waiting if any(_is_available(daemonset, p, now) for p in old) else broken).append(node)
        elif any(_is_available(daemonset, p, now) for p in new):
            goes += [Delete(p) for p in old]
        else:
            more -= 1
    return [*goes, *(CreateOn(node) for node in (*broken, *waiting[: max(0, more)]))]


def _is_available(daemonset: Object, pod: Object, now: datetime) -> bool:
    min_ready_s = int(dig(daemonset, "spec", "minReadySeconds", default=0))
    return is_active(pod) and available_in_s(pod, min_ready_s=min_ready_s, now=now) == 0


def pod_for(daemonset: Object, node: str) -> Object:
    """Return the Pod for *node*: the scheduler may bind it there only."""
    pod = pod_from_template(daemonset, daemonset["spec"]["template"])
    labels = pod["metadata"].setdefault("labels", {})
    labels[HASH_LABEL] = revision(daemonset)
    generation = annotations_of(daemonset).get(_GENERATION)
    if generation:
        labels[GENERATION_LABEL] = generation
    spec = pod["spec"]
    spec["tolerations"] = [dict(t) for t in _tolerations(spec)]
    affinity: dict[str, Any] = copy.deepcopy(spec.get("affinity") or {})
    here = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}
    affinity.setdefault("nodeAffinity", {})["requiredDuringSchedulingIgnoredDuringExecution"] = here
    spec["affinity"] = affinity
    return pod


def status(daemonset: Object, nodes: Sequence[Object], pods: Sequence[Object], *, now: datetime) -> tuple[Object, float | None]:
    """Return the status, and the seconds after which it changes by time alone (minReadySeconds), or None."""
    wanted = {name_of(n).name for n in nodes if place(daemonset, n)[0]}
    active = [p for p in pods if is_active(p)]
    of_nodes = by_node([p for p in active if node_of(p) in wanted])
    here = [min(pods, key=lambda p: metadata(p).get("creationTimestamp") or "") for pods in of_nodes.values()]
    min_ready_s = int(dig(daemonset, "spec", "minReadySeconds", default=0))
    waits = [w for w in (available_in_s(p, min_ready_s=min_ready_s, now=now) for p in here) if w is not None]
    available = sum(w == 0 for w in waits)
    found: Object = {
        "desiredNumberScheduled": len(wanted),
        "currentNumberScheduled": len({node_of(p) for p in here}),
        "numberMisscheduled": sum(node_of(p) not in wanted for p in active),
        "numberReady": sum(is_ready(p) for p in here),
        "observedGeneration": metadata(daemonset).get("generation", 0),
    }
    mark = revision(daemonset)
    updated = sum(_is_new(p, mark) for p in here)
    more = {"updatedNumberScheduled": updated, "numberAvailable": available, "numberUnavailable": max(0, len(wanted) - available)}
    return {**found, **{k: v for k, v in more.items() if v}}, min((w for w in waits if w > 0), default=None)
