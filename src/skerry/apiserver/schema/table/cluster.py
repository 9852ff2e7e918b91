"""Rows of the smaller groups: access, networking, storage, policy, leases, certificates, what extends the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from skerry.apiserver.schema.autoscalers import V1, as_v2
from skerry.apiserver.schema.table.cells import NONE, UNKNOWN, UNSET, age, joined, name_of, selector
from skerry.model.conditions import get_condition, is_true
from skerry.model.objects import Object, annotations_of
from skerry.model.times import human_duration
from skerry.model.volumes import IS_DEFAULT_CLASS


def role_binding(obj: Object, now: datetime) -> list[Any]:
    ref = obj.get("roleRef") or {}
    found: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for s in obj.get("subjects") or ():
        name = f"{s.get('namespace', '')}/{s.get('name', '')}" if s.get("kind") == "ServiceAccount" else s.get("name", "")
        found.setdefault(s.get("kind", ""), []).append(name)
    people = [", ".join(found[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [name_of(obj), f"{ref.get('kind', '')}/{ref.get('name', '')}", age(obj, now), *people]


def lease(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), (obj.get("spec") or {}).get("holderIdentity") or "", age(obj, now)]


def runtime_class(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), obj.get("handler", ""), age(obj, now)]


def priority_class(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), obj.get("value", 0), bool(obj.get("globalDefault")), age(obj, now), obj.get("preemptionPolicy", "")]


def endpoint_slice(obj: Object, now: datetime) -> list[Any]:
    ports = [str(p.get("port") or "*") for p in obj.get("ports") or ()]
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    shown = [joined(ports, at_most=3, nothing=UNSET), joined(addresses, at_most=3, nothing=UNSET)]
    return [name_of(obj), obj.get("addressType", ""), *shown, age(obj, now)]


def ingress(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    rules = spec.get("rules") or ()
    named = [i for i, r in enumerate(rules) if r.get("host")][:3]
    more = f" + {len(rules) - 3} more..." if len(named) == 3 and named[-1] < len(rules) - 1 else ""
    shown = joined([rules[i]["host"] for i in named], nothing="*") + more
    given = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    address = ",".join(i.get("ip") or i.get("hostname") or "" for i in given)
    ports = "80, 443" if spec.get("tls") else "80"
    return [name_of(obj), spec.get("ingressClassName") or NONE, shown, address, ports, age(obj, now)]


def ingress_class(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    p = spec.get("parameters")
    shown = NONE
    if p:
        shown = f"{p.get('kind', '')}{'.' + p['apiGroup'] if p.get('apiGroup') else ''}/{p.get('name', '')}"
    return [name_of(obj), spec.get("controller", ""), shown, age(obj, now)]


def network_policy(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), selector((obj.get("spec") or {}).get("podSelector")), age(obj, now)]


def pod_disruption_budget(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    limits = [_amount(spec.get("minAvailable")), _amount(spec.get("maxUnavailable"))]
    return [name_of(obj), *limits, status.get("disruptionsAllowed", 0), age(obj, now)]


def _amount(value: Any) -> str:
    return "N/A" if value is None else str(value)


def horizontal_pod_autoscaler(obj: Object, now: datetime) -> list[Any]:
    if obj.get("apiVersion") == V1:
        obj = as_v2(obj)
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ref = spec.get("scaleTargetRef") or {}
    reference = f"{ref.get('kind', '')}/{ref.get('name', '')}"
    low = str(spec["minReplicas"]) if spec.get("minReplicas") is not None else UNSET
    row = [name_of(obj), reference, _targets(spec, status), low, spec.get("maxReplicas", 0)]
    return [*row, status.get("currentReplicas", 0), age(obj, now)]


def _targets(spec: dict[str, Any], status: dict[str, Any]) -> str:
    """Return `cpu: 20%/80%, 3/10 (avg) + 1 more...`: each metric's value and target; values are in the order of the metrics."""
    wanted, measured = spec.get("metrics") or (), status.get("currentMetrics") or ()
    shown = [_target(m, measured[i] if i < len(measured) else {}) for i, m in enumerate(wanted)]
    more = f" + {len(shown) - _SHOWN_TARGETS} more..." if len(shown) > _SHOWN_TARGETS else ""
    return ", ".join(shown[:_SHOWN_TARGETS]) + more if shown else NONE


_SHOWN_TARGETS = 2


def _target(metric: dict[str, Any], measured: dict[str, Any]) -> str:
    source = _METRIC_SOURCES.get(metric.get("type", ""))
    if source is None:
        return "<unknown type>"
    wanted = metric.get(source) or {}
    target, now = wanted.get("target") or {}, (measured.get(source) or {}).get("current") or {}
    named = f"{wanted.get('name', '')}: " if source in ("resource", "containerResource") else ""
    if target.get("averageValue") is not None:
        suffix = " (avg)" if source in ("external", "object") else ""
        return f"{named}{now.get('averageValue') or UNKNOWN}/{target['averageValue']}{suffix}"
    if named:
        return f"{named}{_percent(now, UNKNOWN)}/{_percent(target, '<auto>')}"
    return f"{now.get('value') or UNKNOWN}/{target.get('value') or '<auto>'}"


_METRIC_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _percent(found: dict[str, Any], nothing: str) -> str:
    return nothing if found.get("averageUtilization") is None else f"{found['averageUtilization']}%"


def storage_class(obj: Object, now: datetime) -> list[Any]:
    notes = annotations_of(obj)
    name = f"{name_of(obj)} (default)" if any(notes.get(key) == "true" for key in IS_DEFAULT_CLASS) else name_of(obj)
    row = [name, obj.get("provisioner", ""), obj.get("reclaimPolicy", "Delete"), obj.get("volumeBindingMode", "Immediate")]
    return [*row, bool(obj.get("allowVolumeExpansion")), age(obj, now)]


def csi_driver(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    modes = joined(spec.get("volumeLifecycleModes") or ())
    tokens = joined([t.get("audience", "") for t in spec.get("tokenRequests") or ()], nothing=UNSET)
    flags = [bool(spec.get(n)) for n in ("attachRequired", "podInfoOnMount", "storageCapacity")]
    return [name_of(obj), *flags, tokens, bool(spec.get("requiresRepublish")), modes, age(obj, now)]


def csi_node(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), len((obj.get("spec") or {}).get("drivers") or ()), age(obj, now)]


def csi_storage_capacity(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), obj.get("storageClassName", ""), obj.get("capacity") or UNSET]


def volume_attachment(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    volume = (spec.get("source") or {}).get("persistentVolumeName") or ""
    attached = bool((obj.get("status") or {}).get("attached"))
    return [name_of(obj), spec.get("attacher", ""), volume, spec.get("nodeName", ""), attached, age(obj, now)]


def certificate_signing_request(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    seconds = spec.get("expirationSeconds")
    asked = human_duration(timedelta(seconds=seconds)) if seconds else NONE
    return [name_of(obj), age(obj, now), spec.get("signerName") or NONE, spec.get("username", ""), asked, _csr_condition(status)]


def _csr_condition(status: dict[str, Any]) -> str:
    conditions = status.get("conditions")
    words = [w for w in ("Approved", "Denied") if get_condition(conditions, w)] or ["Pending"]
    if get_condition(conditions, "Failed"):
        words.append("Failed")
    if status.get("certificate"):
        words.append("Issued")
    return ",".join(words)


def webhooks(obj: Object, now: datetime) -> list[Any]:
    return [name_of(obj), len(obj.get("webhooks") or ()), age(obj, now)]


def admission_policy(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    param = spec.get("paramKind")
    shown = f"{param.get('apiVersion', '')}/{param.get('kind', '')}" if param else UNSET
    return [name_of(obj), len(spec.get("validations") or ()), shown, age(obj, now)]


def admission_binding(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    ref = spec.get("paramRef")
    shown = "/".join(p for p in (ref.get("namespace"), ref.get("name")) if p) if ref else UNSET
    return [name_of(obj), spec.get("policyName", ""), shown, age(obj, now)]


def api_service(obj: Object, now: datetime) -> list[Any]:
    service = (obj.get("spec") or {}).get("service")
    where = f"{service.get('namespace')}/{service.get('name')}" if service else "Local"
    conditions = (obj.get("status") or {}).get("conditions")
    found = get_condition(conditions, "Available") or {}
    available = "True" if is_true(conditions, "Available") else f"{found.get('status', 'Unknown')} ({found.get('reason', '')})"
    return [name_of(obj), where, available, age(obj, now)]


def flow_schema(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    method = (spec.get("distinguisherMethod") or {}).get("type") or NONE
    level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
    missing = (get_condition((obj.get("status") or {}).get("conditions"), "Dangling") or {}).get("status", "?")
    return [name_of(obj), level, spec.get("matchingPrecedence", 0), method, age(obj, now), missing]


def priority_level(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    limited = spec.get("limited") or {}
    queuing = (limited.get("limitResponse") or {}).get("queuing") or {}
    numbers = [queuing.get(n, NONE) for n in ("queues", "handSize", "queueLengthLimit")]
    return [name_of(obj), spec.get("type", ""), limited.get("nominalConcurrencyShares", NONE), *numbers, age(obj, now)]


_BINDINGS = "Name / Role / Age / Users* / Groups* / ServiceAccounts*"
_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
_HPA = "Name / Reference / Targets / MinPods / MaxPods / Replicas / Age"
TABLES = {
    f"rolebindings.{_RBAC}": (_BINDINGS, role_binding),
    f"clusterrolebindings.{_RBAC}": (_BINDINGS, role_binding),
    "leases.coordination.k8s.io": ("Name / Holder / Age", lease),
    "runtimeclasses.node.k8s.io": ("Name / Handler / Age", runtime_class),
    "priorityclasses.scheduling.k8s.io": ("Name / Value:integer / Global-Default:boolean / Age / PreemptionPolicy", priority_class),
    "endpointslices.discovery.k8s.io": ("Name / AddressType / Ports / Endpoints / Age", endpoint_slice),
    "ingresses.networking.k8s.io": ("Name / Class / Hosts / Address / Ports / Age", ingress),
    "ingressclasses.networking.k8s.io": ("Name / Controller / Parameters / Age", ingress_class),
    "networkpolicies.networking.k8s.io": ("Name / Pod-Selector / Age", network_policy),
    "poddisruptionbudgets.policy": ("Name / Min Available / Max Unavailable / Allowed Disruptions:integer / Age", pod_disruption_budget),
    "horizontalpodautoscalers.autoscaling": (_HPA, horizontal_pod_autoscaler),
    "storageclasses.storage.k8s.io": ("Name / Provisioner / ReclaimPolicy / VolumeBindingMode / AllowVolumeExpansion / Age", storage_class),
    "csidrivers.storage.k8s.io": (
        "Name / AttachRequired:boolean / PodInfoOnMount:boolean / StorageCapacity:boolean / TokenRequests / RequiresRepublish:boolean"
        " / Modes / Age",
        csi_driver,
    ),
    "csinodes.storage.k8s.io": ("Name / Drivers:integer / Age", csi_node),
    "csistoragecapacities.storage.k8s.io": ("Name / StorageClassName / Capacity", csi_storage_capacity),
    "volumeattachments.storage.k8s.io": ("Name / Attacher / PV / Node / Attached:boolean / Age", volume_attachment),
    "certificatesigningrequests.certificates.k8s.io": (
        "Name / Age / SignerName / Requestor / RequestedDuration / Condition",
        certificate_signing_request,
    ),
    f"validatingwebhookconfigurations.{_ADMISSION}": ("Name / Webhooks:integer / Age", webhooks),
    f"mutatingwebhookconfigurations.{_ADMISSION}": ("Name / Webhooks:integer / Age", webhooks),
    f"validatingadmissionpolicies.{_ADMISSION}": ("Name / Validations:integer / ParamKind / Age", admission_policy),
    f"validatingadmissionpolicybindings.{_ADMISSION}": ("Name / PolicyName / ParamRef / Age", admission_binding),
    "apiservices.apiregistration.k8s.io": ("Name / Service / Available / Age", api_service),
    "flowschemas.flowcontrol.apiserver.k8s.io": (
        "Name / PriorityLevel / MatchingPrecedence / DistinguisherMethod / Age / MissingPL",
        flow_schema,
    ),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": (
        "Name / Type / NominalConcurrencyShares / Queues / HandSize / QueueLengthLimit / Age",
        priority_level,
    ),
}
