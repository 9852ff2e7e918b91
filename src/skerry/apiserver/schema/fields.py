"""What field selectors can select by: each kind's field labels, as text, the way the store indexes them.

A label that a kind does not have is refused by its caller ("field label not supported: x"); a value that is absent is "".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from skerry.model.objects import Object

METADATA_FIELDS = ("metadata.name", "metadata.namespace")

_Read = Callable[[Object], Any]


def _at(*path: str) -> _Read:
    if len(path) == 1:
        (only,) = path
        return lambda obj: obj.get(only)
    first, last = path

    def read(obj: Object) -> Any:
        found = obj.get(first)
        return found.get(last) if found.__class__ is dict else None

    return read


def _pod_ips(obj: Object) -> str:
    return ",".join(ip.get("ip", "") for ip in (obj.get("status") or {}).get("podIPs") or ())


def _source(obj: Object) -> Any:
    return (obj.get("source") or {}).get("component") or obj.get("reportingComponent")


def _host_network(obj: Object) -> str:
    return "true" if (obj.get("spec") or {}).get("hostNetwork") else "false"


_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_REPLICAS = {"status.replicas": _at("status", "replicas")}

_LABELS: dict[str, dict[str, _Read]] = {
    "pods": {
        "spec.nodeName": _at("spec", "nodeName"),
        "spec.restartPolicy": _at("spec", "restartPolicy"),
        "spec.schedulerName": _at("spec", "schedulerName"),
        "spec.serviceAccountName": _at("spec", "serviceAccountName"),
        "spec.hostNetwork": _host_network,
        "status.phase": _at("status", "phase"),
        "status.podIP": _at("status", "podIP"),
        "status.podIPs": _pod_ips,
        "status.nominatedNodeName": _at("status", "nominatedNodeName"),
    },
    "nodes": {"spec.unschedulable": _at("spec", "unschedulable")},
    "namespaces": {"status.phase": _at("status", "phase")},
    "secrets": {"type": _at("type")},
    "services": {"spec.clusterIP": _at("spec", "clusterIP"), "spec.type": _at("spec", "type")},
    "events": {
        **{f"involvedObject.{name}": _at("involvedObject", name) for name in _INVOLVED},
        "reason": _at("reason"),
        "reportingComponent": _at("reportingComponent"),
        "source": _source,
        "type": _at("type"),
    },
    "events.events.k8s.io": {
        **{f"regarding.{name}": _at("regarding", name) for name in _INVOLVED},
        "reason": _at("reason"),
        "reportingController": _at("reportingController"),
        "type": _at("type"),
    },
    "replicasets.apps": _REPLICAS,
    "replicationcontrollers": _REPLICAS,
    "jobs.batch": {"status.successful": _at("status", "succeeded")},
    "certificatesigningrequests.certificates.k8s.io": {"spec.signerName": _at("spec", "signerName")},
}
_BOOLEANS = frozenset(("spec.unschedulable",))
_NUMBERS = frozenset(("status.replicas", "status.successful"))


def supported_fields(resource_key: str, crd_selectable_fields: Sequence[str] = ()) -> frozenset[str]:
    """Return the field labels of `plural.group`; *crd_selectable_fields* are JSON paths such as `.spec.colour`."""
    return frozenset((*METADATA_FIELDS, *_LABELS.get(resource_key, ()), *(p.removeprefix(".") for p in crd_selectable_fields)))


def field_labels(resource_key: str, obj: Object, crd_selectable_fields: Sequence[str] = ()) -> dict[str, str]:
    """Return the value of every field label of *obj*."""
    meta = obj.get("metadata") or {}
    found = {"metadata.name": meta.get("name") or "", "metadata.namespace": meta.get("namespace") or ""}
    known = _LABELS.get(resource_key)
    if known is not None:
        for label, read in known.items():
            value = read(obj)
            found[label] = value if value.__class__ is str else _text(label, value)
    for path in crd_selectable_fields:
        label = path.removeprefix(".")
        found[label] = _text(label, _dig(obj, label))
    return found


def _text(label: str, value: Any) -> str:
    if value is None:
        return "false" if label in _BOOLEANS else "0" if label in _NUMBERS else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else ""


def _dig(obj: Any, label: str) -> Any:
    for step in label.split("."):
        if obj.__class__ is not dict:
            return None
        obj = obj.get(step)
    return obj
