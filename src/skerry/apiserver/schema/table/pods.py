"""The row of a Pod: its status in one word takes some reasoning, which is all here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from skerry.apiserver.schema.table.cells import NONE, age, name_of, since
from skerry.model.conditions import is_true
from skerry.model.objects import Object

Map = dict[str, Any]


def pod(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    reason, ready, restarts, last = _progress(spec, status)
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in ("Failed", "Succeeded"):
            reason = "Terminating"
    total = len(spec.get("containers") or ()) + sum(_restartable(c) for c in spec.get("initContainers") or ())
    restarted = f"{restarts} ({since(last, now)} ago)" if restarts and last else str(restarts)
    ips = status.get("podIPs") or ()
    address = ips[0].get("ip") if ips else status.get("podIP")
    return [
        name_of(obj),
        f"{ready}/{total}",
        reason,
        restarted,
        age(obj, now),
        address or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(spec, status),
    ]


def _restartable(container: Map) -> bool:
    return container.get("restartPolicy") == "Always"


def _progress(spec: Map, status: Map) -> tuple[str, int, int, str]:
    """Return (status word, ready containers, restarts, time of the last one)."""
    reason = status.get("reason") or status.get("phase") or ""
    conditions = status.get("conditions")
    for c in conditions or ():
        if c.get("type") == "PodScheduled" and c.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    waiting, ready, restarts, last = _initialising(spec, status)
    if waiting and not is_true(conditions, "Initialized"):
        return waiting, ready, restarts, last
    sidecars = {c.get("name") for c in spec.get("initContainers") or () if _restartable(c)}
    kept = [s for s in status.get("initContainerStatuses") or () if s.get("name") in sidecars]
    restarts = sum(s.get("restartCount", 0) for s in kept)
    last = max([_finished(s) for s in kept], default="")
    running = False
    for s in reversed(status.get("containerStatuses") or ()):
        restarts += s.get("restartCount", 0)
        last = max(last, _finished(s))
        word = _word(s)
        if word:
            reason = word
        elif s.get("ready") and "running" in (s.get("state") or {}):
            running = True
            ready += 1
    if reason == "Completed" and running:
        reason = "Running" if is_true(conditions, "Ready") else "NotReady"
    return reason, ready, restarts, last


def _finished(container: Map) -> str:
    return str(((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or "")


def _word(container: Map) -> str:
    state = container.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason"):
        return str(waiting["reason"])
    return _ended(ended) if ended is not None else ""


def _ended(ended: Map) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _initialising(spec: Map, status: Map) -> tuple[str, int, int, str]:
    """Return what the first unfinished init container waits for ("" when all are done)."""
    by_name = {c.get("name"): c for c in spec.get("initContainers") or ()}
    ready = restarts = 0
    last = ""
    for i, s in enumerate(status.get("initContainerStatuses") or ()):
        restarts += s.get("restartCount", 0)
        last = max(last, _finished(s))
        state = s.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if _restartable(by_name.get(s.get("name")) or {}) and s.get("started"):
            ready += bool(s.get("ready"))
            continue
        if ended is not None:
            return f"Init:{_ended(ended)}", ready, restarts, last
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}", ready, restarts, last
        return f"Init:{i}/{len(by_name)}", ready, restarts, last
    return "", ready, restarts, last


def _gates(spec: Map, status: Map) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return NONE
    done = sum(is_true(status.get("conditions"), g.get("conditionType", "")) for g in gates)
    return f"{done}/{len(gates)}"


TABLES = {"pods": ("Name / Ready / Status / Restarts / Age / IP* / Node* / Nominated Node* / Readiness Gates*", pod)}
