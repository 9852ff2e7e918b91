"""What a StatefulSet needs done next. Pure.

`OrderedReady` does one thing at a time, in the order of the ordinals, and waits for each Pod to be available. A Pod is
replaced only when it has ended or is gone: on a node that is not heard it stays as it is, and those after it wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from skerry.controllers.workloads.pods import available_in_s, is_finished
from skerry.controllers.workloads.rolling import limits
from skerry.controllers.workloads.statefulsets.identity import REVISION, first_ordinal, ordinal_of, replicas
from skerry.model.objects import Object, dig, labels_of, metadata


class Create(msgspec.Struct, frozen=True):
    """Create the Pod of this ordinal (its claims first) from the template of *revision*."""

    ordinal: int
    revision: str


class Delete(msgspec.Struct, frozen=True):
    """Delete a Pod; *condemned* says that its ordinal goes for good, *ended* that it is made anew because it ended."""

    pod: Object
    condemned: bool = False
    ended: bool = False


Step = Create | Delete


class Revisions(msgspec.Struct, frozen=True):
    """The names of the revision that Pods come from and the one that they go to."""

    current: str
    update: str


def plan(statefulset: Object, pods: Sequence[Object], revisions: Revisions, *, now: datetime) -> list[Step]:
    """Return the next steps for the Pods that the StatefulSet controls; when it is as wanted there are none."""
    if metadata(statefulset).get("deletionTimestamp"):
        return []
    have = by_ordinal(statefulset, pods)
    wanted = ordinals(statefulset)
    condemned = [have[o] for o in sorted(have, reverse=True) if o not in wanted]
    steps, waiting = _fill(statefulset, have, wanted, revisions, now)
    if waiting:
        return steps
    going, waiting = _scale_down(statefulset, condemned, now)
    steps += going
    if waiting or steps:
        return steps
    return _roll(statefulset, have, wanted, revisions, now)


def by_ordinal(statefulset: Object, pods: Sequence[Object]) -> dict[int, Object]:
    found = {ordinal_of(statefulset, p): p for p in pods}
    return {o: p for o, p in found.items() if o is not None}


def ordinals(statefulset: Object) -> range:
    first = first_ordinal(statefulset)
    return range(first, first + replicas(statefulset))


def is_available(statefulset: Object, pod: Object, now: datetime) -> bool:
    """Whether the Pod runs, is not being deleted, and has been ready for long enough."""
    min_ready_s = int(dig(statefulset, "spec", "minReadySeconds", default=0))
    running = dig(pod, "status", "phase") == "Running" and not metadata(pod).get("deletionTimestamp")
    return running and available_in_s(pod, min_ready_s=min_ready_s, now=now) == 0


def in_order(statefulset: Object) -> bool:
    return bool(dig(statefulset, "spec", "podManagementPolicy", default="OrderedReady") == "OrderedReady")


def _fill(statefulset: Object, have: Mapping[int, Object], wanted: range, revisions: Revisions, now: datetime) -> tuple[list[Step], bool]:
    """Return what makes every ordinal have a Pod that lives, and whether all else waits for it."""
    steps: list[Step] = []
    for ordinal in wanted:
        pod = have.get(ordinal)
        if pod is None:
            steps.append(Create(ordinal, _revision_for(statefulset, ordinal, have, revisions)))
        elif is_finished(pod) and not metadata(pod).get("deletionTimestamp"):
            steps.append(Delete(pod, ended=True))
        elif is_available(statefulset, pod, now) or not in_order(statefulset):
            continue
        if in_order(statefulset):
            return steps, True
    return steps, False


def _revision_for(statefulset: Object, ordinal: int, have: Mapping[int, Object], revisions: Revisions) -> str:
    """Return the revision of a Pod that is made now: below the partition, and during a rollout below it, the current one."""
    if revisions.current == revisions.update:
        return revisions.update
    if _strategy(statefulset) != "RollingUpdate":
        # OnDelete: whoever is deleted comes back new; one that was never there begins new, too.
        return revisions.update
    partition = _partition(statefulset)
    return revisions.current if ordinal < first_ordinal(statefulset) + partition else revisions.update


def _strategy(statefulset: Object) -> str:
    return str(dig(statefulset, "spec", "updateStrategy", "type", default="RollingUpdate"))


def _partition(statefulset: Object) -> int:
    return int(dig(statefulset, "spec", "updateStrategy", "rollingUpdate", "partition", default=0))


def _scale_down(statefulset: Object, condemned: Sequence[Object], now: datetime) -> tuple[list[Step], bool]:
    """Return the deletion of Pods whose ordinal goes, highest first; in order one after the other has gone.

    In order a Pod that is not available waits for those below it that are not, as in Kubernetes.
    """
    going = [Delete(p, condemned=True) for p in condemned if not metadata(p).get("deletionTimestamp")]
    if not in_order(statefulset):
        return list(going), bool(going)
    away = [p for p in condemned if not is_available(statefulset, p, now)]
    if len(going) < len(condemned) or (len(away) > 1 and away[0] is condemned[0]):
        return [], True
    return list(going[:1]), bool(going)


def _roll(statefulset: Object, have: Mapping[int, Object], wanted: range, revisions: Revisions, now: datetime) -> list[Step]:
    """Return the Pods of another revision to delete now, highest ordinal first, as many as may be missing at a time."""
    if _strategy(statefulset) != "RollingUpdate":
        return []
    lowest = first_ordinal(statefulset) + _partition(statefulset)
    most = dig(statefulset, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
    living = [o for o in reversed(wanted) if o in have and not metadata(have[o]).get("deletionTimestamp")]
    outdated = [o for o in living if o >= lowest and labels_of(have[o]).get(REVISION) != revisions.update]
    away = {o for o in wanted if o not in have or not is_available(statefulset, have[o], now)}
    if most is None:
        # One after the other: each waits for those above it and for no other.
        return [Delete(have[o]) for o in outdated[:1] if not any(a > o for a in away)]
    # One that is away already is missed by nobody: it goes first, and the others wait for it.
    broken = [o for o in outdated if o in away]
    room = max(1, limits(replicas(statefulset), 0, most).unavailable) - len(away)
    return [Delete(have[o]) for o in broken[:1] or outdated[: max(0, room)]]
