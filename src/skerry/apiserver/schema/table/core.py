"""Rows of the core group, apart from Pods and workloads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from skerry.apiserver.schema.table.cells import NONE, UNKNOWN, UNSET, age, containers, joined, labels, name_of, since
from skerry.model.conditions import get_condition
from skerry.model.objects import Object, labels_of
from skerry.model.volumes import storage_class_of

_ROLE = "node-role.kubernetes.io/"


def node(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = get_condition(status.get("conditions"), "Ready")
    words = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if spec.get("unschedulable"):
        words.append("SchedulingDisabled")
    found = labels_of(obj)
    roles = sorted(
        {k.removeprefix(_ROLE) for k in found if k.startswith(_ROLE) and k != _ROLE} | {found.get("kubernetes.io/role", "")} - {""}
    )
    info = status.get("nodeInfo") or {}
    return [
        name_of(obj),
        ",".join(words),
        joined(roles),
        age(obj, now),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _address(status: dict[str, Any], kind: str) -> str:
    return next((a.get("address", "") for a in status.get("addresses") or () if a.get("type") == kind), NONE)


def namespace(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), (obj.get("status") or {}).get("phase", ""), age(obj, now)]


def config_map(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj, now)]


def secret(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), obj.get("type", ""), len(obj.get("data") or ()), age(obj, now)]


def service_account(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), len(obj.get("secrets") or ()), age(obj, now)]


def service(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    kind = spec.get("type") or "ClusterIP"
    address = (spec.get("clusterIPs") or [spec.get("clusterIP")])[0] or NONE
    return [name_of(obj), kind, address, _external(obj, spec, kind), _ports(spec), age(obj, now), labels(spec.get("selector"))]


def _external(obj: Object, spec: dict[str, Any], kind: str) -> str:
    own = list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        return str(spec.get("externalName") or "")
    if kind != "LoadBalancer":
        return joined(own)
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    given = [i.get("ip") or i.get("hostname") or "" for i in ingress]
    return joined([*given, *own], nothing="<pending>")


def _ports(spec: dict[str, Any]) -> str:
    found = spec.get("ports") or ()
    return joined(
        f"{p.get('port')}:{p['nodePort']}/{p.get('protocol')}" if p.get("nodePort") else f"{p.get('port')}/{p.get('protocol')}"
        for p in found
    )


def event(obj: Object, now: datetime) -> list[Any]:
    involved = obj.get("involvedObject") or obj.get("regarding") or {}
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    series = obj.get("series")
    if series:
        last, count = series.get("lastObservedTime") or last, series.get("count") or count
    target = str(involved.get("kind", "")).lower() + (f"/{involved['name']}" if involved.get("name") else "")
    return [
        since(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        target,
        involved.get("fieldPath", ""),
        _source(obj),
        str(obj.get("message") or obj.get("note") or "").strip(),
        since(first, now),
        count,
        name_of(obj),
    ]


def _source(obj: Object) -> str:
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {host}" if component and host else component or host


def endpoints(obj: Object, now: datetime) -> list[Any]:
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [a.get("ip", "") for a in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        found += (
            [f"[{a}]:{p.get('port')}" if ":" in a else f"{a}:{p.get('port')}" for p in ports for a in addresses] if ports else addresses
        )
    return [name_of(obj), joined(found, at_most=3), age(obj, now)]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(found: Any) -> str:
    return ",".join(_MODES[m] for m in _MODES if m in (found or ()))


def persistent_volume(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    claim = spec.get("claimRef")
    deleted = (obj.get("metadata") or {}).get("deletionTimestamp")
    return [
        name_of(obj),
        (spec.get("capacity") or {}).get("storage", "0"),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if deleted else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        storage_class_of(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def persistent_volume_claim(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    bound = bool(spec.get("volumeName"))
    deleted = (obj.get("metadata") or {}).get("deletionTimestamp")
    return [
        name_of(obj),
        "Terminating" if deleted else status.get("phase", ""),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        storage_class_of(obj),
        spec.get("volumeAttributesClassName") or UNSET,
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def resource_quota(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    limits = [k for k in sorted(hard) if k.startswith("limits")]
    requests = [k for k in sorted(hard) if not k.startswith("limits")]
    texts = [", ".join(f"{k}: {used.get(k, '0')}/{hard[k]}" for k in keys) for keys in (requests, limits)]
    return [name_of(obj), age(obj, now), *texts]


def pod_template(obj: Object, now: datetime) -> list[Any]:
    template = obj.get("template") or {}
    names, images = containers(template.get("spec"))
    return [name_of(obj), names, images, labels((template.get("metadata") or {}).get("labels"))]


def component_status(obj: Object, now: datetime) -> list[Any]:
    found = get_condition(obj.get("conditions"), "Healthy") or {}
    status = {"True": "Healthy", "False": "Unhealthy"}.get(str(found.get("status")), "Unknown")
    return [name_of(obj), status, found.get("message", ""), found.get("error", "")]


_EVENTS = "Last Seen / Type / Reason / Object / Subobject* / Source* / Message / First Seen* / Count* / Name*"
TABLES = {
    "nodes": (
        "Name / Status / Roles / Age / Version / Internal-IP* / External-IP* / OS-Image* / Kernel-Version* / Container-Runtime*",
        node,
    ),
    "namespaces": ("Name / Status / Age", namespace),
    "configmaps": ("Name / Data / Age", config_map),
    "secrets": ("Name / Type / Data / Age", secret),
    "serviceaccounts": ("Name / Secrets / Age", service_account),
    "services": ("Name / Type / Cluster-IP / External-IP / Port(s) / Age / Selector*", service),
    "events": (_EVENTS, event),
    "events.events.k8s.io": (_EVENTS, event),
    "endpoints": ("Name / Endpoints / Age", endpoints),
    "persistentvolumes": (
        "Name / Capacity / Access Modes / Reclaim Policy / Status / Claim / StorageClass / VolumeAttributesClass / Reason / Age"
        " / VolumeMode*",
        persistent_volume,
    ),
    "persistentvolumeclaims": (
        "Name / Status / Volume / Capacity / Access Modes / StorageClass / VolumeAttributesClass / Age / VolumeMode*",
        persistent_volume_claim,
    ),
    "resourcequotas": ("Name / Age / Request / Limit", resource_quota),
    "podtemplates": ("Name / Containers / Images / Pod Labels", pod_template),
    "componentstatuses": ("Name / Status / Message / Error", component_status),
}
