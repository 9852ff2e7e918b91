"""What a ReplicaSet needs done, as values: Pods to adopt, release, create and delete, and the status that follows. Pure.

Only Pods that are deleted or have ended are replaced. A Pod of a node that is not heard is neither: it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import msgspec

from skerry.controllers.workloads.pods import available_in_s, deletion_order, is_active, is_ready, matches_all, selection
from skerry.model.conditions import with_condition
from skerry.model.objects import Object, controller_of, dig, metadata, owner_reference, uid_of

BURST = 500
"""Pods created or deleted in one round, as in Kubernetes."""


class Adopt(msgspec.Struct, frozen=True):
    pod: Object


class Release(msgspec.Struct, frozen=True):
    pod: Object


class Create(msgspec.Struct, frozen=True):
    count: int


class Delete(msgspec.Struct, frozen=True):
    pod: Object


Step = Adopt | Release | Create | Delete


def plan(replicaset: Object, pods: Sequence[Object], others: Callable[[], Iterable[Object]] = tuple) -> list[Step]:
    """Return the steps from *pods* (ours, and those of nobody in the namespace) to what the ReplicaSet wants.

    *others* gives the Pods of its owner's other ReplicaSets. Planning again after the steps were carried out returns none.
    """
    if metadata(replicaset).get("deletionTimestamp"):
        return []
    claims = _claims(replicaset, pods)
    ours = [p for p in claimed(replicaset, pods) if is_active(p)]
    missing = int(dig(replicaset, "spec", "replicas", default=1)) - len(ours)
    if missing > 0:
        return [*claims, Create(min(missing, BURST))]
    if missing == 0:
        return list(claims)
    return [*claims, *(Delete(p) for p in deletion_order(ours, others())[: min(-missing, BURST)])]


def claimed(replicaset: Object, pods: Sequence[Object]) -> list[Object]:
    """Return the Pods that belong to the ReplicaSet once the claims of its plan were carried out."""
    is_selected = selection(replicaset)
    return [p for p in pods if is_selected(p) and (_is_owned(replicaset, p) or _is_free(p))]


def _claims(replicaset: Object, pods: Sequence[Object]) -> list[Adopt | Release]:
    is_selected = selection(replicaset)
    found: list[Adopt | Release] = []
    for pod in pods:
        if _is_owned(replicaset, pod):
            if not is_selected(pod):
                found.append(Release(pod))
        elif _is_free(pod) and is_selected(pod):
            found.append(Adopt(pod))
    return found


def _is_free(pod: Object) -> bool:
    return controller_of(pod) is None and is_active(pod)


def _is_owned(replicaset: Object, pod: Object) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner["uid"] == uid_of(replicaset)


def status(replicaset: Object, pods: Sequence[Object], *, now: datetime, failure: str = "") -> tuple[Object, float | None]:
    """Return the status, and the seconds after which it changes by time alone (minReadySeconds), or None.

    *failure* says why Pods could not be created or deleted in this round.
    """
    ours = [p for p in claimed(replicaset, pods) if is_active(p)]
    min_ready_s = int(dig(replicaset, "spec", "minReadySeconds", default=0))
    waits = [w for w in (available_in_s(p, min_ready_s=min_ready_s, now=now) for p in ours) if w is not None]
    labels = dig(replicaset, "spec", "template", "metadata", "labels", default={})
    counts = {
        "fullyLabeledReplicas": sum(matches_all(labels, p) for p in ours),
        "readyReplicas": sum(is_ready(p) for p in ours),
        "availableReplicas": sum(w == 0 for w in waits),
    }
    found: Object = {"replicas": len(ours), **{k: v for k, v in counts.items() if v}}
    found["observedGeneration"] = metadata(replicaset).get("generation", 0)
    reason = "FailedDelete" if len(ours) > int(dig(replicaset, "spec", "replicas", default=1)) else "FailedCreate"
    conditions = _failure_condition(replicaset, reason, failure, now)
    if conditions:
        found["conditions"] = conditions
    return found, min((w for w in waits if w > 0), default=None)


def _failure_condition(replicaset: Object, reason: str, failure: str, now: datetime) -> list[Object]:
    old = dig(replicaset, "status", "conditions", default=[])
    if failure:
        return with_condition(old, "ReplicaFailure", True, reason=reason, message=failure, now=now)
    return [c for c in old if c.get("type") != "ReplicaFailure"]


def adoption_patch(replicaset: Object, pod: Object) -> Object:
    """Return the merge patch that makes *replicaset* the controller of *pod*, if it is still the same Pod."""
    owners = [*(metadata(pod).get("ownerReferences") or []), owner_reference(replicaset)]
    return {"metadata": {"uid": uid_of(pod), "resourceVersion": metadata(pod)["resourceVersion"], "ownerReferences": owners}}


def release_patch(replicaset: Object, pod: Object) -> Object:
    """Return the merge patch that takes *replicaset* out of the owners of *pod*."""
    owners = [o for o in metadata(pod).get("ownerReferences") or [] if o.get("uid") != uid_of(replicaset)]
    return {"metadata": {"uid": uid_of(pod), "resourceVersion": metadata(pod)["resourceVersion"], "ownerReferences": owners}}
