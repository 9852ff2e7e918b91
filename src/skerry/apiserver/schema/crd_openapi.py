"""A CRD's schema as OpenAPI publishes it: with apiVersion, kind and metadata, and its descriptions, so that `kubectl explain`
of a custom kind reads like that of a built-in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OBJECT_META = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_METADATA = {"description": "Standard object's metadata.", "allOf": [{"$ref": _OBJECT_META}]}
_API_VERSION = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the "
    "latest internal value, and may reject unrecognized values."
)
_KIND = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the "
    "client submits requests to. Cannot be updated. In CamelCase."
)


def published_schema(schema: Mapping[str, Any], group: str, version: str, kind: str) -> dict[str, Any]:
    """Return the component schema of a custom kind."""
    found = _published(schema)
    found["type"] = "object"
    found["properties"] = {
        **_type_meta(),
        "metadata": dict(_METADATA),
        **{k: v for k, v in found.get("properties", {}).items() if k not in ("apiVersion", "kind", "metadata")},
    }
    found["x-kubernetes-group-version-kind"] = [{"group": group, "kind": kind, "version": version}]
    return found


def _type_meta() -> dict[str, Any]:
    return {"apiVersion": {"type": "string", "description": _API_VERSION}, "kind": {"type": "string", "description": _KIND}}


def _published(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(schema)
    for keyword in ("items", "not", "additionalProperties"):
        if isinstance(found.get(keyword), Mapping):
            found[keyword] = _published(found[keyword])
    for keyword in ("allOf", "anyOf", "oneOf"):
        if found.get(keyword):
            found[keyword] = [_published(s) for s in found[keyword]]
    if isinstance(found.get("properties"), Mapping):
        found["properties"] = {k: _published(v) for k, v in found["properties"].items()}
    if found.get("x-kubernetes-embedded-resource"):
        found["properties"] = {**found.get("properties", {}), **_type_meta(), "metadata": dict(_METADATA)}
        found["required"] = [*(r for r in found.get("required", ()) if r not in ("kind", "apiVersion")), "kind", "apiVersion"]
    if found.get("x-kubernetes-int-or-string") and "oneOf" not in found and "anyOf" not in found:
        found["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    return found
