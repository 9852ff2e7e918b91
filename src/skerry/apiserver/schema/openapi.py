"""OpenAPI v3 as kubectl reads it: an index, and one document for each group and version.

`explain` wants the schemas (found by `x-kubernetes-group-version-kind`); `create`, `apply` and `edit` want to see the query
parameter `fieldValidation` on the kind's PATCH, so paths are drawn from what is served. Documents are immutable under their
hash, which the index carries. They are large and asked for rarely: a document is built when it is asked for, and kept encoded.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from skerry.apiserver.schema.crd_openapi import published_schema
from skerry.apiserver.schema.descriptions import described
from skerry.apiserver.schema.facts import FACTS, Facts, reference
from skerry.apiserver.schema.openapi_paths import paths_of
from skerry.apiserver.schema.resources import ServedResource
from skerry.model.objects import Object

MEDIA = "application/json"
MAX_KEPT = 16
"""Encoded documents (compressed, 5 to 60 KB each) that are kept; kubectl asks for one or two."""

_REF = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


class Document(msgspec.Struct, frozen=True):
    """One document; `hash` is what the index and the ETag say."""

    body: bytes
    hash: str


class OpenApi:
    """The documents for what is served now; make a new one when a CRD was installed, changed or removed."""

    def __init__(self, resources: Sequence[ServedResource], crds: Iterable[Object] = (), facts: Facts = FACTS) -> None:
        self._facts = facts
        self._served: dict[str, list[ServedResource]] = {}
        for r in resources:
            self._served.setdefault(_place(r.group, r.version), []).append(r)
        self._schemas = {(c["spec"]["group"], v["name"], c["spec"]["names"]["kind"]): v for c in crds for v in c["spec"]["versions"]}
        self._hashes: dict[str, str] = {}
        self._kept: dict[str, bytes] = {}

    def index(self) -> Object:
        """Return what `/openapi/v3` answers."""
        return {"paths": {p: {"serverRelativeURL": f"/openapi/v3/{p}?hash={self.hash(p)}"} for p in sorted(self._served)}}

    def hash(self, place: str) -> str:
        """Return the hash of `apis/apps/v1`; it follows from what the document is drawn from, which need not be built for it."""
        found = self._hashes.get(place)
        if found is None:
            digest = hashlib.sha512(f"1 {place}".encode())
            for r in self._served[place]:
                digest.update(repr(r).encode())
                version = self._schemas.get((r.group, r.version, r.kind)) if r.custom else None
                digest.update(msgspec.json.encode(version, order="sorted") if version else b"")
            found = self._hashes[place] = digest.hexdigest().upper()[:64]
        return found

    def document(self, place: str) -> Document | None:
        """Return the document of `api/v1` or `apis/GROUP/VERSION`; None when nothing is served there."""
        if place not in self._served:
            return None
        packed = self._kept.get(place)
        if packed is None:
            packed = zlib.compress(msgspec.json.encode(self._build(place)), 1)
            if len(self._kept) >= MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[place] = packed
        return Document(zlib.decompress(packed), self.hash(place))

    def documents(self) -> Iterator[Object]:
        """Yield the document of every group and version; nothing of it is kept."""
        return map(self._build, sorted(self._served))

    def _build(self, place: str) -> Object:
        served = self._served[place]
        schemas: dict[str, Any] = {}
        names: dict[str, str] = {}
        for r in served:
            names[r.kind] = self._custom(r, schemas) if r.custom else self._builtin(r.group, r.version, r.kind, schemas)
            self._list(r, names[r.kind], schemas)
            for s in r.subresources:
                if s.kind not in names:
                    names[s.kind] = self._builtin(s.group, s.version, s.kind, schemas)
        for name in ("DeleteOptions", "Status", "Patch"):
            self._with_parts(_META + name, schemas)
        own = [name for name in schemas if name.startswith("io.k8s.")]
        described([schemas[name] for name in own], own)
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.32.0"},
            "paths": {path: item for r in served for path, item in paths_of(r, names).items()},
            "components": {"schemas": dict(sorted(schemas.items()))},
        }

    def _builtin(self, group: str, version: str, kind: str, schemas: dict[str, Any]) -> str:
        name = self._facts.kinds.get((group, version, kind), "")
        if name:
            self._with_parts(name, schemas)
        return name

    def _with_parts(self, name: str, schemas: dict[str, Any]) -> None:
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name in schemas or not name:
                continue
            definition = self._facts.definition(name)
            schemas[name] = definition
            waiting.extend(_references(definition))

    def _custom(self, r: ServedResource, schemas: dict[str, Any]) -> str:
        name = definition_name(r.group, r.version, r.kind)
        version = self._schemas.get((r.group, r.version, r.kind)) or {}
        schemas[name] = published_schema((version.get("schema") or {}).get("openAPIV3Schema") or {}, r.group, r.version, r.kind)
        self._with_parts(f"{_META}ObjectMeta", schemas)
        return name

    def _list(self, r: ServedResource, item: str, schemas: dict[str, Any]) -> None:
        if "list" not in r.verbs or not item:
            return
        if not r.custom:
            self._builtin(r.group, r.version, r.list_kind, schemas)
            return
        self._with_parts(f"{_META}ListMeta", schemas)
        schemas[definition_name(r.group, r.version, r.list_kind)] = {
            "type": "object",
            "description": f"{r.list_kind} is a list of {r.kind}",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "items": {"type": "array", "items": {"$ref": _REF + item}},
                "metadata": {"allOf": [{"$ref": f"{_REF}{_META}ListMeta"}]},
            },
            "x-kubernetes-group-version-kind": [{"group": r.group, "kind": r.list_kind, "version": r.version}],
        }


def _place(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def definition_name(group: str, version: str, kind: str) -> str:
    """Return `dev.skerry.v1alpha1.Device` for a custom kind."""
    return ".".join([*reversed(group.split(".")), version, kind])


def _references(schema: Any) -> list[str]:
    found: list[str] = []
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if isinstance(value.get("$ref"), str):  # JSONSchemaProps has a property of that name
                found.append(reference(dict(value)))
            waiting.extend(v for v in value.values() if isinstance(v, (Mapping, list)))
        elif isinstance(value, list):
            waiting.extend(v for v in value if isinstance(v, (Mapping, list)))
    return found
