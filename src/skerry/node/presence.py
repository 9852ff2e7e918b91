"""What the node says of itself: its Node object, its conditions and its Lease. Pure.

Nothing here decides over work: a full disk or a doubtful hub is told, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

import skerry
from skerry.model.conditions import with_condition
from skerry.model.objects import Object, dig
from skerry.model.times import rfc3339, rfc3339_micro
from skerry.node.host import HostFacts, HostState
from skerry.node.runtimes.contract import Enforcement

KUBELET_VERSION = f"v1.32.0+skerry{skerry.__version__}"
MAX_PODS = 110
"""What a kubelet takes by default; a process Pod costs 1 MB of overhead, so memory is rarely the limit."""
LEASE_S = 40
LEASES_NAMESPACE = "kube-node-lease"
MEMORY_PRESSURE_BYTES = 50 * 2**20
DISK_PRESSURE_SHARE = 0.05
DISK_PRESSURE_BYTES = 100 * 2**20
PIDS_PRESSURE_SHARE = 0.95


class Presence(msgspec.Struct, frozen=True):
    """All that the Node object is made of.

    `doubt` is why the hub is not fully believed, `trouble` what is wrong with its memory; "" when all is well.
    """

    name: str
    address: str
    labels: Mapping[str, str]
    facts: HostFacts
    state: HostState
    runtimes: Sequence[str]
    enforcement: Enforcement
    doubt: str = ""
    trouble: str = ""
    problems: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Why a runtime cannot be used here, by its name; it is then not offered."""


def node_labels(p: Presence) -> dict[str, str]:
    """Return the labels that the node sets on itself; those of the hub (`skerry.dev/...`) are the hub's alone."""
    own = {
        "kubernetes.io/hostname": p.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": p.facts.architecture,
        **{f"runtime.skerry.dev/{r}": "true" for r in p.runtimes if not p.problems.get(r)},
    }
    return {**{k: v for k, v in p.labels.items() if not k.startswith("skerry.dev/")}, **own}


def node_object(p: Presence) -> Object:
    """Return the Node to create."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": p.name, "labels": node_labels(p)}, "spec": {}}


def capacity(p: Presence) -> dict[str, str]:
    return {
        "cpu": str(p.facts.cpus),
        "memory": f"{p.facts.memory_bytes // 1024}Ki",
        "ephemeral-storage": f"{p.state.disk_bytes // 1024}Ki",
        "pods": str(MAX_PODS),
    }


def node_status(p: Presence, before: Sequence[Mapping[str, Any]], *, now: datetime) -> dict[str, Any]:
    """Return the status to write; *before* is the conditions that the API has."""
    return {
        "capacity": capacity(p),
        "allocatable": capacity(p),
        "addresses": [{"type": "InternalIP", "address": p.address}, {"type": "Hostname", "address": p.name}],
        "conditions": node_conditions(p, before, now=now),
        "nodeInfo": {
            "machineID": p.facts.machine_id,
            "systemUUID": p.facts.machine_id,
            "bootID": p.facts.boot_id,
            "kernelVersion": p.facts.kernel,
            "osImage": p.facts.os_image,
            "containerRuntimeVersion": f"{p.runtimes[0]}://{skerry.__version__}",
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": p.facts.architecture,
        },
    }


def node_conditions(p: Presence, before: Sequence[Mapping[str, Any]], *, now: datetime) -> list[dict[str, Any]]:
    """Return our conditions, each with a fresh heartbeat."""
    s, e = p.state, p.enforcement
    disk_low = s.disk_available < max(DISK_PRESSURE_BYTES, 0) or s.disk_available < s.disk_bytes * DISK_PRESSURE_SHARE
    rows: list[tuple[str, bool, str, str]] = [
        _pressure("MemoryPressure", s.memory_available < MEMORY_PRESSURE_BYTES, "Memory", f"{s.memory_available >> 20} MiB are available"),
        _pressure("DiskPressure", disk_low, "Disk", f"{s.disk_available >> 20} of {s.disk_bytes >> 20} MiB are free for the state folder"),
        _pressure(
            "PIDPressure", s.processes > s.processes_max * PIDS_PRESSURE_SHARE, "PID", f"{s.processes} of {s.processes_max} processes"
        ),
        ("ProcessLimitsEnforced", e.complete, "CgroupsUsable" if e.complete else "CgroupsMissing", e.message),
        *((f"{r.capitalize()}RuntimeUsable", not p.problems.get(r), *_why(p.problems.get(r, ""))) for r in p.runtimes),
        ("HubTrusted", not p.doubt, "SameClusterAndEpoch" if not p.doubt else "HubDoubted", p.doubt),
        ("MemoryIntact", not p.trouble, "Readable" if not p.trouble else "Damaged", p.trouble),
        ("Ready", True, "KubeletReady", "skerry node is ready"),
    ]
    found: list[dict[str, Any]] = [dict(c) for c in before if c.get("type") in {r[0] for r in rows}]
    for kind, holds, reason, message in rows:
        found = with_condition(found, kind, holds, reason=reason, message=message, now=now)
    return [{**c, "lastHeartbeatTime": rfc3339(now)} for c in found]


def _why(problem: str) -> tuple[str, str]:
    return ("SandboxImpossible", problem) if problem else ("SandboxTried", "")


def _pressure(kind: str, pressed: bool, what: str, message: str) -> tuple[str, bool, str, str]:
    if pressed:
        return kind, True, f"NodeHas{what}Pressure" if what != "Memory" else "NodeHasInsufficientMemory", message
    reason = {"Memory": "NodeHasSufficientMemory", "Disk": "NodeHasNoDiskPressure", "PID": "NodeHasSufficientPID"}[what]
    return kind, False, reason, ""


def without_heartbeat(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to differ for a status to be worth writing before its time: no heartbeats, no counts in messages."""
    conditions = [{k: c.get(k) for k in ("type", "status", "reason")} for c in status.get("conditions") or ()]
    return {**{k: v for k, v in status.items() if k in ("capacity", "addresses", "nodeInfo")}, "conditions": conditions}


def lease_object(node: str, before: Object | None, *, now: datetime) -> Object:
    """Return the Lease, renewed."""
    spec = {
        **dig(before or {}, "spec", default={}),
        "holderIdentity": node,
        "leaseDurationSeconds": LEASE_S,
        "renewTime": rfc3339_micro(now),
    }
    meta = (before or {}).get("metadata") or {"name": node, "namespace": LEASES_NAMESPACE}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
