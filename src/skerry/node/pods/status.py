"""A Pod's status as the kubelet writes it, so that `kubectl get`, `describe` and `wait` read well. Pure.

Source: k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go (phase) and status/generate.go (conditions).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from skerry.model import quantity
from skerry.model.conditions import with_condition
from skerry.model.objects import Object, dig
from skerry.model.times import rfc3339
from skerry.node.pods.plan import UNSEEN, ContainerSeen, Seen, initialized, outcome
from skerry.node.pods.shape import PodShape, container_of, shape_of
from skerry.node.runtimes.contract import Container


class Waiting(msgspec.Struct, frozen=True):
    reason: str
    message: str = ""


class PodSeen(msgspec.Struct, frozen=True):
    """All that the status is made of. `waiting`: why a container does not run, by name. `refused`: why none ever will."""

    containers: Seen
    waiting: Mapping[str, Waiting] = msgspec.field(default_factory=dict)
    ending: bool = False


def pod_status(pod: Object, seen: PodSeen, *, address: str, runtime: str, since: datetime, now: datetime) -> dict[str, Any]:
    """Return the status to write. *since* is when the node first had the Pod."""
    shape = shape_of(pod)
    phase = _phase(pod, shape, seen)
    status: dict[str, Any] = {
        "phase": phase,
        "startTime": dig(pod, "status", "startTime") or rfc3339(since),
        "hostIP": address,
        "hostIPs": [{"ip": address}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": dig(pod, "status", "qosClass") or qos_class(pod),
        "conditions": _conditions(pod, shape, seen, phase, now),
        "containerStatuses": [_container(pod, c.name, shape, seen, runtime) for c in shape.main],
    }
    if shape.init:
        status["initContainerStatuses"] = [_container(pod, c.name, shape, seen, runtime, init=True) for c in shape.init]
    ephemeral = dig(pod, "spec", "ephemeralContainers", default=[])
    if ephemeral:
        status["ephemeralContainerStatuses"] = [_not_joining(c, runtime) for c in ephemeral]
    return status


def _not_joining(container: Mapping[str, Any], runtime: str) -> dict[str, Any]:
    """Return the status of a container that somebody wants to join the Pod: it never will, and the Pod goes on."""
    why = f"containers cannot join a Pod of the runtime {runtime}: use kubectl exec"
    waiting = {"waiting": {"reason": "NotSupported", "message": why}}
    named = {k: str(container.get(k) or "") for k in ("name", "image")}
    return {**named, "imageID": "", "ready": False, "restartCount": 0, "state": waiting, "lastState": {}}


def _phase(pod: Object, shape: PodShape, seen: PodSeen) -> str:
    known = dig(pod, "status", "phase")
    if known in ("Succeeded", "Failed"):
        return str(known)
    ended = outcome(shape, seen.containers)
    if ended is not None and not any(s.running for s in seen.containers.values()):
        return ended
    mains = [seen.containers.get(c.name, UNSEEN) for c in shape.main]
    if seen.ending and mains and all(not s.running for s in mains):
        codes = [s.exit_code for s in mains]
        return "Failed" if any(codes) or any(c is None for c in codes) else "Succeeded"
    if any(s.latest is None for s in mains):
        return "Pending"
    return "Running"


def _conditions(pod: Object, shape: PodShape, seen: PodSeen, phase: str, now: datetime) -> list[dict[str, Any]]:
    found: list[Any] = dig(pod, "status", "conditions", default=[])
    over = phase in ("Succeeded", "Failed")
    done = initialized(shape, seen.containers) or any(seen.containers.get(c.name, UNSEEN).attempts for c in shape.main)
    unready = [c.name for c in shape.main if not seen.containers.get(c.name, UNSEEN).ready]
    not_ready = f"containers with unready status: [{' '.join(unready)}]"
    incomplete = [c.name for c in shape.init if seen.containers.get(c.name, UNSEEN).exit_code != 0 and not c.sidecar]
    found = with_condition(found, "PodReadyToStartContainers", not over, reason="", now=now)
    if done or over:
        found = with_condition(found, "Initialized", True, reason="PodCompleted" if phase == "Succeeded" else "", now=now)
    else:
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        found = with_condition(found, "Initialized", False, reason="ContainersNotInitialized", message=message, now=now)
    for kind in ("ContainersReady", "Ready"):
        if over:
            reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
            found = with_condition(found, kind, False, reason=reason, now=now)
        elif unready:
            found = with_condition(found, kind, False, reason="ContainersNotReady", message=not_ready, now=now)
        else:
            found = with_condition(found, kind, True, reason="", now=now)
    ours = ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
    return [{k: v for k, v in c.items() if v != "" or k == "status"} for c in found if c.get("type") in ours]


def _container(pod: Object, name: str, shape: PodShape, seen: PodSeen, runtime: str, *, init: bool = False) -> dict[str, Any]:
    s = seen.containers.get(name, UNSEEN)
    latest = s.latest
    found: dict[str, Any] = {
        "name": name,
        "image": latest.image if latest else container_of(pod, name).get("image", ""),
        "imageID": latest.image_id if latest else "",
        "restartCount": latest.attempt if latest else 0,
        "ready": (s.exit_code == 0) if init and not s.running else s.ready,
        "started": s.running and s.started,
        "state": {},
        "lastState": {},
    }
    if latest is not None:
        found["containerID"] = f"{runtime}://{latest.id}"
    previous = s.attempts[-2] if len(s.attempts) > 1 else None
    waiting = seen.waiting.get(name)
    if s.running:
        assert latest is not None
        found["state"] = {"running": {"startedAt": _time(latest.started_at)}}
    elif latest is not None and waiting is None:
        found["state"] = _terminated(latest, runtime)
    else:
        found["state"] = {"waiting": _waiting(waiting or _not_yet(name, shape, seen))}
        previous = latest or previous
    if previous is not None:
        found["lastState"] = _terminated(previous, runtime)
    return found


def _not_yet(name: str, shape: PodShape, seen: PodSeen) -> Waiting:
    inits = {c.name for c in shape.init}
    return Waiting("PodInitializing" if inits and not initialized(shape, seen.containers) else "ContainerCreating")


def _waiting(found: Waiting) -> dict[str, str]:
    return {"reason": found.reason, **({"message": found.message} if found.message else {})}


def _terminated(c: Container, runtime: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "exitCode": c.exit_code,
        "reason": c.reason or "Error",
        "startedAt": _time(c.started_at),
        "finishedAt": _time(c.finished_at),
        "containerID": f"{runtime}://{c.id}",
    }
    if c.message:
        found["message"] = c.message
    return {"terminated": found}


def _time(at: float) -> str:
    return rfc3339(datetime.fromtimestamp(at, UTC))


def is_ready(seen: ContainerSeen) -> bool:
    return seen.running and seen.ready


def qos_class(pod: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort, as the API defines them."""
    requests, limits, guaranteed = False, False, True
    for c in (*(dig(pod, "spec", "containers", default=())), *(dig(pod, "spec", "initContainers", default=()))):
        want, cap = dig(c, "resources", "requests", default={}), dig(c, "resources", "limits", default={})
        requests, limits = requests or bool(want), limits or bool(cap)
        for name in ("cpu", "memory"):
            if name not in cap or quantity.parse(want.get(name, cap[name])) != quantity.parse(cap[name]):
                guaranteed = False
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
