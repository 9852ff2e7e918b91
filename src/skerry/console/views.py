"""What pages show of objects: small, flat, and equal when nothing visible changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.model.conditions import get_condition
from skerry.model.objects import Name, Object, dig, labels_of, metadata, name_of
from skerry.model.profiles import MAX_EXTENDS
from skerry.model.resources import SITE_LABEL

View = dict[str, Any]

VALUE_LIMIT = 64
"""Properties of one device in a view; a page that lists devices shows a few."""

_RUNTIME_LABEL = "runtime.skerry.dev/"


def condition(obj: Object, kind: str) -> View:
    """Return one condition as a page shows it; `status` is Unknown when it is not there."""
    found = get_condition(dig(obj, "status", "conditions"), kind) or {}
    shown = {
        "status": found.get("status", "Unknown"),
        "reason": found.get("reason", ""),
        "message": found.get("message", ""),
        "since": found.get("lastTransitionTime", ""),
    }
    generation = found.get("observedGeneration")
    return {**shown, "generation": generation} if generation is not None else shown


def node_view(node: Object, *, pods: int, running: int) -> View:
    info = dig(node, "status", "nodeInfo", default={})
    addresses = dig(node, "status", "addresses", default=[])
    labels = labels_of(node)
    problems = [
        {"type": c["type"], "message": c.get("message", "")}
        for c in dig(node, "status", "conditions", default=[])
        if c.get("type") != "Ready" and c.get("status") == ("True" if _says_bad(str(c.get("type"))) else "False")
    ]
    return {
        "name": name_of(node).name,
        "site": labels.get(SITE_LABEL, ""),
        "ready": condition(node, "Ready"),
        "cordoned": bool(dig(node, "spec", "unschedulable", default=False)),
        "created": metadata(node).get("creationTimestamp", ""),
        "version": info.get("kubeletVersion", ""),
        "system": info.get("osImage", ""),
        "architecture": info.get("architecture", ""),
        "address": next((a.get("address", "") for a in addresses if a.get("type") == "InternalIP"), ""),
        "runtimes": sorted(k.removeprefix(_RUNTIME_LABEL) for k, v in labels.items() if k.startswith(_RUNTIME_LABEL) and v == "true"),
        "problems": problems,
        "pods": pods,
        "runningPods": running,
    }


def _says_bad(kind: str) -> bool:
    """Whether a node's condition tells of trouble when it is True, as Kubernetes' own do; all others tell of it when False."""
    return kind.endswith(("Pressure", "Unavailable"))


def site_view(site: Object) -> View:
    return {
        "name": name_of(site).name,
        "displayName": dig(site, "spec", "displayName", default=""),
        "address": dig(site, "spec", "location", "address", default=""),
        "longestOutage": dig(site, "spec", "longestOutage", default=""),
    }


def units(profile: Name, profiles: Mapping[Name, Object], *, depth: int = MAX_EXTENDS) -> dict[str, str]:
    """Return the unit of each property that has one, those of the profile's bases included; a base that is missing has none."""
    spec = (profiles.get(profile) or {}).get("spec") or {}
    bases = spec.get("extends") or [] if depth else []
    found = {k: v for b in bases for k, v in units(Name(profile.namespace, b), profiles, depth=depth - 1).items()}
    return {**found, **{name: p["unit"] for name, p in (spec.get("properties") or {}).items() if p.get("unit")}}


def device_view(device: Object, *, site: str, units: Mapping[str, str]) -> View:
    """Return a device with the summary in its status, whose values get their units from its profile."""
    namespace, name = name_of(device)
    spec, status = device.get("spec") or {}, device.get("status") or {}
    connection = spec.get("connection") or {}
    return {
        "namespace": namespace,
        "name": name,
        "profile": spec.get("profile", ""),
        "node": status.get("nodeName", ""),
        "site": site,
        "protocol": next((k for k in sorted(connection) if k != "credentials"), ""),
        "connected": condition(device, "Connected"),
        "inSync": condition(device, "InSync"),
        "generation": metadata(device).get("generation", 0),
        "observedGeneration": status.get("observedGeneration", 0),
        "lastSeen": status.get("lastSeen", ""),
        "desired": spec.get("desired") or {},
        "properties": {k: _with_unit(p, units.get(k, "")) for k, p in _first(status.get("properties") or {}).items()},
        "created": metadata(device).get("creationTimestamp", ""),
    }


def twin_view(twin: Object) -> View:
    namespace, name = name_of(twin)
    status = twin.get("status") or {}
    return {
        "namespace": namespace,
        "name": name,
        "lastSeen": status.get("lastSeen", ""),
        "connected": condition(twin, "Connected"),
        "inSync": condition(twin, "InSync"),
        "observedGeneration": status.get("observedGeneration", 0),
        "properties": _first(status.get("properties") or {}),
    }


def _with_unit(prop: Any, unit: str) -> Any:
    return {**prop, "unit": unit} if unit and isinstance(prop, dict) else prop


def _first(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {k: properties[k] for k in sorted(properties)[:VALUE_LIMIT]}
