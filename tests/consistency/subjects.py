"""The two resources of a trial, their paths and bodies, and how a version of them is read: built-in and custom.

A write's token stands in the object, so that each version tells which write made it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tests.consistency.history import Key, Version, Wanted

CONFIGMAPS, GAUGES = "configmaps", "gauges.trial.example.com"
RESOURCES = (CONFIGMAPS, GAUGES)
NAMESPACES = ("trial-a", "trial-b")
COLORS, MODES = ("red", "blue"), ("on", "off")
FINALIZER = "trial.example.com/hold"
_BASES = {CONFIGMAPS: ("/api/v1", "configmaps"), GAUGES: ("/apis/trial.example.com/v1", "gauges")}
KINDS = {
    CONFIGMAPS: {"apiVersion": "v1", "kind": "ConfigMap"},
    GAUGES: {"apiVersion": "trial.example.com/v1", "kind": "Gauge"},
}
_PARTS = {CONFIGMAPS: "data", GAUGES: "spec"}

CRD: Mapping[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gauges.trial.example.com"},
    "spec": {
        "group": "trial.example.com",
        "names": {"plural": "gauges", "singular": "gauge", "kind": "Gauge", "listKind": "GaugeList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".spec.mode"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            part: {"type": "object", "properties": {"token": {"type": "string"}, "mode": {"type": "string"}}}
                            for part in ("spec", "status")
                        },
                    }
                },
            }
        ],
    },
}


class View(NamedTuple):
    """What of an object the writes of a trial set."""

    token: str
    color: str
    mode: str
    finalizers: tuple[str, ...]
    status: str


def view(version: Version) -> View:
    content = version.content
    part, meta = content.get(_PARTS[version.key.resource]) or {}, content["metadata"]
    status = (content.get("status") or {}).get("token", "")
    color = (meta.get("labels") or {}).get("color", "")
    return View(part.get("token", ""), color, part.get("mode", ""), tuple(meta.get("finalizers") or ()), status)


def path(resource: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    base, plural = _BASES[resource]
    parts = [base, *(["namespaces", namespace] if namespace else []), plural, *([name] if name else [])]
    return "/".join(parts + ([subresource] if subresource else []))


def whole(key: Key, wanted: Wanted, *, revision: int = 0) -> dict[str, Any]:
    """Return the body of a create or a PUT."""
    meta: dict[str, Any] = {"name": key.name, "labels": {"color": wanted.color}}
    if wanted.finalizers:
        meta["finalizers"] = list(wanted.finalizers)
    if revision:
        meta["resourceVersion"] = str(revision)
    body: dict[str, Any] = {"metadata": meta, _PARTS[key.resource]: {"token": wanted.token, "mode": wanted.mode}}
    if key.resource == GAUGES:
        body |= KINDS[GAUGES]
    return body


def patch(key: Key, wanted: Wanted, *, revision: int = 0) -> dict[str, Any]:
    """Return the body of a merge patch."""
    meta: dict[str, Any] = {"labels": {"color": wanted.color}} if wanted.color is not None else {}
    if wanted.finalizers is not None:
        meta["finalizers"] = list(wanted.finalizers) or None
    if revision:
        meta["resourceVersion"] = str(revision)
    part = {k: v for k, v in (("token", wanted.token), ("mode", wanted.mode)) if v}
    return {**({"metadata": meta} if meta else {}), **({_PARTS[key.resource]: part} if part else {})}


class Reader:
    """Makes versions of bytes; the same bytes, and the same content, give the same version."""

    def __init__(self) -> None:
        self._by_bytes: dict[tuple[str, bytes], Version] = {}
        self._by_place: dict[tuple[Key, int], list[Version]] = {}

    def version(self, resource: str, raw: bytes) -> Version:
        found = self._by_bytes.get((resource, raw))
        if found is None:
            found = self._by_bytes[resource, raw] = self._shared(_decoded(resource, msgspec.json.decode(raw)))
        return found

    def _shared(self, fresh: Version) -> Version:
        known = self._by_place.setdefault((fresh.key, fresh.revision), [])
        for version in known:
            if version.content == fresh.content:
                return version
        known.append(fresh)
        return fresh


def _decoded(resource: str, content: dict[str, Any]) -> Version:
    content.pop("apiVersion", None)
    content.pop("kind", None)
    meta = content["metadata"]
    revision = int(meta.pop("resourceVersion"))
    return Version(Key(resource, meta.get("namespace", ""), meta["name"]), revision, content)


class _ListMeta(msgspec.Struct, rename={"resource_version": "resourceVersion", "token": "continue", "remaining": "remainingItemCount"}):
    resource_version: str
    token: str = ""
    remaining: int | None = None


class ListBody(msgspec.Struct):
    """A list, its items as bytes."""

    metadata: _ListMeta
    items: Sequence[msgspec.Raw]


class LineBody(msgspec.Struct):
    """One line of a watch."""

    type: str
    object: msgspec.Raw
