"""Defaults of pod specs, in Pods and in templates. A template gets no more than the spec's own defaults."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.schema.rules.common import amount
from skerry.model.objects import Object

Map = dict[str, Any]

_READ_ONLY_MODE = 420  # 0644
_LISTS = ("containers", "initContainers", "ephemeralContainers")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_VOLUME_MODES = ("secret", "configMap", "projected", "downwardAPI")
_SOURCE_DEFAULTS: dict[str, Map] = {
    "hostPath": {"type": ""},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": False},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def pod(obj: Object) -> None:
    """Complete a Pod: the spec, what only real Pods get, and the status of one that has just been made."""
    spec = obj["spec"]
    pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for name in ("containers", "initContainers"):
        for container in spec.get(name) or ():
            _requests_from_limits(container.get("resources") or {})
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    status = obj.setdefault("status", {})
    status.setdefault("phase", "Pending")
    if "qosClass" not in status:
        status["qosClass"] = qos_class(spec)
    _numbered_ips(status, "podIP", "podIPs")


def pod_template(obj: Object) -> None:
    """Complete a PodTemplate."""
    template_spec(obj.get("template"))


def template_spec(template: Any) -> None:
    """Complete the spec inside a template."""
    if isinstance(template, dict) and isinstance(template.get("spec"), dict):
        pod_spec(template["spec"])


def pod_spec(spec: Map) -> None:
    """Complete a PodSpec in place."""
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    host_network = bool(spec.get("hostNetwork"))
    for name in _LISTS:
        for container in spec.get(name) or ():
            _container(container, host_network=host_network, ephemeral=name == "ephemeralContainers")
    for volume in spec.get("volumes") or ():
        volume_source(volume)


def _container(container: Map, *, host_network: bool, ephemeral: bool) -> None:
    if "imagePullPolicy" not in container:
        container["imagePullPolicy"] = "Always" if _moves(container.get("image") or "") else "IfNotPresent"
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if host_network and not ephemeral:
            port.setdefault("hostPort", port.get("containerPort"))
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")
    for name in _PROBES:
        if container.get(name) is not None:
            _probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _http_get(hook.get("httpGet"))


def _moves(image: str) -> bool:
    """Return whether the image has no tag, or `latest`: its content may change under the name."""
    if "@" in image:
        return False
    _, _, last = image.rpartition("/")
    _, colon, tag = last.partition(":")
    return not colon or tag == "latest"


def _probe(probe: Map) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    _http_get(probe.get("httpGet"))
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")


def _http_get(action: Map | None) -> None:
    if action is not None:
        action.setdefault("path", "/")
        action.setdefault("scheme", "HTTP")


def volume_source(volume: Map) -> None:
    """Complete a volume; one without a source is an emptyDir."""
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
        return
    for name in _VOLUME_MODES:
        source = volume.get(name)
        if source is not None:
            source.setdefault("defaultMode", _READ_ONLY_MODE)
            _projections(source.get("sources") or ())
            _field_refs(source.get("items") if name == "downwardAPI" else None)
    claim = ((volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}).get("spec")
    if claim is not None:
        claim.setdefault("volumeMode", "Filesystem")
    for name in _SOURCE_DEFAULTS.keys() & volume.keys():
        if volume[name] is not None:
            volume[name].update({**_SOURCE_DEFAULTS[name], **volume[name]})


def _projections(sources: Any) -> None:
    for source in sources:
        token = source.get("serviceAccountToken")
        if token is not None:
            token.setdefault("expirationSeconds", 3600)
        _field_refs((source.get("downwardAPI") or {}).get("items"))


def _field_refs(items: Any) -> None:
    for item in items or ():
        if item.get("fieldRef") is not None:
            item["fieldRef"].setdefault("apiVersion", "v1")


def _requests_from_limits(resources: Map) -> None:
    limits = resources.get("limits")
    if limits:
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            if name != "hugepages" and name not in requests:
                requests[name] = amount


def qos_class(spec: Map) -> str:
    """Return Guaranteed, Burstable or BestEffort from the cpu and memory of all containers."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    guaranteed = bool(containers)
    anything = False
    for container in containers:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            asked, limit = _amount(requests.get(name)), _amount(limits.get(name))
            anything = anything or bool(asked) or bool(limit)
            guaranteed = guaranteed and bool(limit) and asked == limit
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _amount(text: Any) -> Any:
    return amount(text) if text is not None else None


def _numbered_ips(status: Map, one: str, many: str) -> None:
    if status.get(one) and not status.get(many):
        status[many] = [{"ip": status[one]}]
    elif status.get(many) and not status.get(one):
        status[one] = status[many][0].get("ip")
