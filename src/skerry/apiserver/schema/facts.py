"""Kubernetes' published facts, read from `apiserver/data` when something first asks.

Memory is a budget of the hub: only the outer map is decoded (name -> slice of the one buffer, about 0.5 MB altogether);
a definition becomes Python values when its kind is compiled, and not before. The facts never change while we run.
"""

from __future__ import annotations

import gzip
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

_DATA = Path(__file__).parent.parent / "data"
_REF = "#/components/schemas/"
_LIMIT_BYTES = 16 << 20
"""Far above what we ship (0.25 MB): a damaged file must not fill the memory."""


class _Schemas(msgspec.Struct):
    schemas: dict[str, msgspec.Raw]


class _Wire(msgspec.Struct):
    messages: dict[str, msgspec.Raw]


class _Discovery(msgspec.Struct):
    resources: dict[str, list[dict[str, Any]]]


class WireField(msgspec.Struct, array_like=True, frozen=True):
    """One protobuf field; `flags` has P for a Go pointer or a field that is never omitted, I for an embedded message."""

    number: int
    name: str
    label: str
    type: str
    flags: str


_APIEXTENSIONS = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1."
_POINTERS = {
    "JSONSchemaProps": frozenset(
        (
            *("maximum", "minimum", "multipleOf", "maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"),
            *("xKubernetesPreserveUnknownFields", "xKubernetesListType", "xKubernetesMapType"),
        )
    ),
    "CustomResourceDefinitionStatus": frozenset(("conditions", "storedVersions")),
    "ServiceReference": frozenset(("path", "port")),
    "WebhookClientConfig": frozenset(("url",)),
    "ValidationRule": frozenset(("reason", "optionalOldSelf")),
    "CustomResourceSubresourceScale": frozenset(("labelSelectorPath",)),
    "CustomResourceDefinitionVersion": frozenset(("deprecationWarning",)),
    "k8s.io.api.discovery.v1.EndpointConditions": frozenset(("ready", "serving", "terminating")),
    "k8s.io.api.discovery.v1.EndpointPort": frozenset(("name", "protocol", "port", "appProtocol")),
    "k8s.io.kube_aggregator.pkg.apis.apiregistration.v1.ServiceReference": frozenset(("port",)),
}
"""Pointers and never omitted fields whose flags the published table lacks (Go types of 1.32); apiextensions without their prefix."""


class Facts:
    """Definitions by name. OpenAPI names are `io.k8s.api.core.v1.Pod`, wire names `k8s.io.api.core.v1.Pod`."""

    @cached_property
    def _schemas(self) -> dict[str, msgspec.Raw]:
        return msgspec.json.decode(_read("kubernetes-schemas.json.gz"), type=_Schemas).schemas

    @cached_property
    def _wire(self) -> dict[str, msgspec.Raw]:
        return msgspec.json.decode(_read("kubernetes-wire.json.gz"), type=_Wire).messages

    def discovery(self) -> dict[str, list[dict[str, Any]]]:
        """Return group/version -> APIResourceList entries, decoded anew: callers keep what they need."""
        return msgspec.json.decode(_read("kubernetes-discovery.json.gz"), type=_Discovery).resources

    def names(self) -> list[str]:
        """Return the names of all OpenAPI definitions."""
        return list(self._schemas)

    def definition(self, name: str) -> dict[str, Any]:
        """Return one OpenAPI definition, decoded anew; raises KeyError."""
        found: dict[str, Any] = msgspec.json.decode(self._schemas[name])
        return found

    def message(self, name: str) -> list[WireField] | None:
        """Return the protobuf fields of a message, or None when it is not known."""
        raw = self._wire.get(name)
        if raw is None:
            return None
        fields = msgspec.json.decode(raw, type=list[WireField])
        pointers = _POINTERS.get(name.removeprefix(_APIEXTENSIONS))
        if pointers:
            return [msgspec.structs.replace(f, flags="P") if f.name in pointers else f for f in fields]
        return fields

    def flags(self, name: str) -> dict[str, str]:
        """Return JSON name -> flags of the Go type behind an OpenAPI definition, embedded ones included."""
        return self._flags(wire_name(name))

    def _flags(self, message: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for field in self.message(message) or ():
            if "I" in field.flags:
                found |= self._flags(field.type)
            else:
                found[field.name] = field.flags
        return found

    @cached_property
    def kinds(self) -> dict[tuple[str, str, str], str]:
        """(group, version, kind) -> the name of its OpenAPI definition."""
        found: dict[tuple[str, str, str], str] = {}
        for name, raw in self._schemas.items():
            if b"x-kubernetes-group-version-kind" not in bytes(raw):
                continue
            gvks = msgspec.json.decode(raw, type=_Kinds).gvks
            for gvk in gvks if len(gvks) == 1 else ():  # DeleteOptions, Status, WatchEvent belong to every group
                found[gvk["group"], gvk["version"], gvk["kind"]] = name
        return found


class _Kinds(msgspec.Struct):
    gvks: list[dict[str, str]] = msgspec.field(name="x-kubernetes-group-version-kind", default_factory=list)


def wire_name(definition: str) -> str:
    """Return the protobuf message behind an OpenAPI definition."""
    return f"k8s.io.{definition.removeprefix('io.k8s.')}".replace("-", "_")


def reference(schema: dict[str, Any]) -> str:
    """Return the name of the definition that *schema* refers to (`$ref`, or `allOf` with one), or ""."""
    for part in (schema, *schema.get("allOf", ())):
        if isinstance(part.get("$ref"), str):
            return str(part["$ref"]).removeprefix(_REF)
    return ""


def _read(name: str) -> bytes:
    with gzip.open(_DATA / name) as file:
        body = file.read(_LIMIT_BYTES + 1)
    if len(body) > _LIMIT_BYTES:
        raise ValueError(f"{name} is larger than {_LIMIT_BYTES} bytes when expanded")
    return body


FACTS = Facts()
"""One for the process: the facts are constants, and reading them twice would only cost memory."""
