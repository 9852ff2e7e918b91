"""What an APIService means, what is wrong with one, and which ones a server has for its own groups. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from skerry.apiserver.schema.objectmeta import dns_1035_error
from skerry.model.errors import Cause, invalid_value, required
from skerry.model.names import dns_subdomain_error
from skerry.model.objects import Object

APISERVICES = "apiservices.apiregistration.k8s.io"
AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
_PRIORITIES = {
    "": 18000, "apiregistration.k8s.io": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600, "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200,
    "policy": 17100, "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500, "node.k8s.io": 16300,
    "discovery.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100,
}  # fmt: skip
"""Kubernetes' order of its groups."""
_CUSTOM_PRIORITY, _VERSION_PRIORITY = 1000, 100


class Remote(msgspec.Struct, frozen=True):
    """A group version that another server serves, and how it is reached."""

    name: str
    group: str
    version: str
    namespace: str
    service: str
    port: int
    ca: str
    insecure: bool
    priority: int
    version_priority: int

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}"


def remote_of(obj: Object) -> Remote | None:
    """Return the other server that an APIService names; None for a local one."""
    spec = obj.get("spec") or {}
    service = spec.get("service")
    if not service:
        return None
    return Remote(
        name=obj["metadata"]["name"],
        group=spec.get("group") or "",
        version=spec.get("version") or "",
        namespace=service.get("namespace") or "",
        service=service.get("name") or "",
        port=int(service.get("port") or 443),
        ca=spec.get("caBundle") or "",
        insecure=bool(spec.get("insecureSkipTLSVerify")),
        priority=int(spec.get("groupPriorityMinimum") or 0),
        version_priority=int(spec.get("versionPriority") or 0),
    )


def group_rank(group: str) -> tuple[int, str]:
    """Return where a group of ours stands among the groups: Kubernetes' own in its order, then all others, each by name."""
    return -_PRIORITIES.get(group, _CUSTOM_PRIORITY), group


def local_service(group: str, version: str, *, custom: bool) -> Object:
    """Return the APIService of a group version that is served here."""
    labels = {AUTOMANAGED: "true" if custom else "onstart"}
    spec = {"group": group, "version": version, "groupPriorityMinimum": _PRIORITIES.get(group, _CUSTOM_PRIORITY)}
    spec |= {"versionPriority": _VERSION_PRIORITY if custom else 1 if not group else 15}
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.{group}", "labels": labels},
        "spec": {k: v for k, v in spec.items() if v != ""},
    }


def condition(status: str, reason: str, message: str, at: str) -> dict[str, str]:
    return {"type": "Available", "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


LOCAL = ("True", "Local", "Local APIServices are always available")


def missing(served: Mapping[str, Iterable[str]], custom: Iterable[str], there: Iterable[str]) -> list[Object]:
    """Return the local APIServices that have to be made; *served* is group -> versions, *custom* the groups of CRDs."""
    known, own = set(there), set(custom)
    wanted = [(g, v) for g, versions in served.items() for v in versions]
    return [local_service(g, v, custom=g in own) for g, v in wanted if f"{v}.{g}" not in known]


def superfluous(served: Mapping[str, Iterable[str]], there: Iterable[Object]) -> list[str]:
    """Return the names of APIServices that the server made for what it serves no more."""
    wanted = {f"{v}.{g}" for g, versions in served.items() for v in versions}
    mine = (o for o in there if AUTOMANAGED in (o["metadata"].get("labels") or {}) and not (o.get("spec") or {}).get("service"))
    return [o["metadata"]["name"] for o in mine if o["metadata"]["name"] not in wanted]


def judge(obj: Object) -> list[Cause]:
    """Return what is wrong with an APIService."""
    spec: Mapping[str, Any] = obj.get("spec") or {}
    group, version = spec.get("group") or "", spec.get("version") or ""
    causes = []
    if obj["metadata"].get("name") != f"{version}.{group}":
        why = f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
        causes.append(invalid_value("metadata.name", obj["metadata"].get("name"), why))
    if not group and version != "v1":
        causes.append(required("spec.group", "only v1 may have an empty group and it better be legacy kube"))
    elif group and (wrong := dns_subdomain_error(group)):
        causes.append(invalid_value("spec.group", group, wrong))
    if wrong := dns_1035_error(version):
        causes.append(invalid_value("spec.version", version, wrong))
    for field, most in (("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)):
        value = spec.get(field) or 0
        if not 0 < value <= most:
            causes.append(invalid_value(f"spec.{field}", value, f"must be positive and less than {most}"))
    return causes + _connection(spec)


def _connection(spec: Mapping[str, Any]) -> list[Cause]:
    service, bundle, insecure = spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify")
    if not service:
        shown = (
            ("caBundle", f"{len(bundle or '') // 4 * 3} bytes", "a caBundle"),
            ("insecureSkipTLSVerify", True, "insecureSkipTLSVerify"),
        )
        return [invalid_value(f"spec.{f}", found, f"local APIServices may not have {what}") for f, found, what in shown if spec.get(f)]
    causes = [required(f"spec.service.{f}") for f in ("namespace", "name") if not service.get(f)]
    if not 1 <= service.get("port", 443) <= 65535:
        causes.append(invalid_value("spec.service.port", service["port"], "port is not valid: must be between 1 and 65535, inclusive"))
    if insecure and bundle:
        causes.append(invalid_value("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present"))
    if bundle:
        try:
            base64.b64decode(bundle, validate=True)
        except (binascii.Error, ValueError):
            causes.append(invalid_value("spec.caBundle", "<bytes>", "must be base64 of PEM"))
    return causes


def discovered(resources: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of an APIResourceList in the aggregated form."""
    found: dict[str, dict[str, Any]] = {}
    for entry in resources:
        name, _, below = str(entry.get("name") or "").partition("/")
        kind = {"group": entry.get("group") or "", "version": entry.get("version") or "", "kind": entry.get("kind") or ""}
        verbs = entry.get("verbs") or []
        if below:
            if name in found:
                found[name].setdefault("subresources", []).append({"subresource": below, "responseKind": kind, "verbs": verbs})
            continue
        found[name] = {
            "resource": name,
            "responseKind": kind,
            "scope": "Namespaced" if entry.get("namespaced") else "Cluster",
            "singularResource": entry.get("singularName") or "",
            "verbs": verbs,
            **{k: entry[k] for k in ("shortNames", "categories") if entry.get(k)},
        }
    return list(found.values())
