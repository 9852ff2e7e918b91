"""The status of a StatefulSet, which `kubectl rollout status` reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from skerry.controllers.workloads.pods import available_in_s, is_ready
from skerry.controllers.workloads.statefulsets.identity import REVISION, replicas
from skerry.controllers.workloads.statefulsets.plan import Revisions, by_ordinal, ordinals
from skerry.model.objects import Object, dig, labels_of, metadata


def status(
    statefulset: Object, pods: Sequence[Object], revisions: Revisions, *, now: datetime, collisions: int = 0
) -> tuple[Object, float | None]:
    """Return the status, and the seconds after which it changes by time alone (minReadySeconds), or None."""
    ours = list(by_ordinal(statefulset, pods).values())
    ready = [p for p in ours if dig(p, "status", "phase") == "Running" and is_ready(p) and not metadata(p).get("deletionTimestamp")]
    min_ready_s = int(dig(statefulset, "spec", "minReadySeconds", default=0))
    waits = [w for w in (available_in_s(p, min_ready_s=min_ready_s, now=now) for p in ready) if w is not None]
    living = [p for p in ours if not metadata(p).get("deletionTimestamp")]
    current = sum(labels_of(p).get(REVISION) == revisions.current for p in living)
    updated = sum(labels_of(p).get(REVISION) == revisions.update for p in living)
    done = _is_complete(statefulset, ours, ready, updated)
    counts = {"readyReplicas": len(ready), "currentReplicas": updated if done else current, "updatedReplicas": updated}
    found: Object = {
        "replicas": len(ours),
        "availableReplicas": sum(w == 0 for w in waits),
        "collisionCount": collisions,
        "currentRevision": revisions.update if done else revisions.current,
        "updateRevision": revisions.update,
        "observedGeneration": metadata(statefulset).get("generation", 0),
        **{k: v for k, v in counts.items() if v},
    }
    return found, min((w for w in waits if w > 0), default=None)


def _is_complete(statefulset: Object, pods: Sequence[Object], ready: Sequence[Object], updated: int) -> bool:
    rolling = dig(statefulset, "spec", "updateStrategy", "type", default="RollingUpdate") == "RollingUpdate"
    wanted = replicas(statefulset)
    in_place = len(by_ordinal(statefulset, pods).keys() & set(ordinals(statefulset)))
    return rolling and updated == len(ready) == len(pods) == in_place == wanted
