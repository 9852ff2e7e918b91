"""OpenAPI v3 as kubectl reads it: an index, and one document for each group and version.

`explain` wants the schemas (found by `x-kubernetes-group-version-kind`); `create`, `apply` and `edit` want to see the query
parameter `fieldValidation` on the kind's PATCH, so paths are drawn from what is served. Documents are immutable under their
hash, which the index carries: it follows from what a document is drawn from, and the document need not be made for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from skerry import __version__
from skerry.apiserver.schema.crd_openapi import custom_schemas, published_schema
from skerry.apiserver.schema.descriptions import Texts
from skerry.apiserver.schema.facts import FACTS, Facts, reference
from skerry.apiserver.schema.openapi_parts import Make, Parts, members
from skerry.apiserver.schema.openapi_paths import paths_of
from skerry.apiserver.schema.resources import ServedResource

_REF = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


class OpenApi:
    """The documents for what is served now and the CRDs' bytes, of which it keeps views: forget it after use."""

    def __init__(self, resources: Sequence[ServedResource], crds: Iterable[bytes] = (), facts: Facts = FACTS) -> None:
        self._facts = facts
        self._served: dict[str, list[ServedResource]] = {}
        for r in resources:
            self._served.setdefault(_place(r.group, r.version), []).append(r)
        self._schemas = custom_schemas(crds)

    def hashes(self) -> dict[str, str]:
        """Return the hash of every document (`api/v1`, `apis/GROUP/VERSION`), in order."""
        return {place: self._hash(place) for place in sorted(self._served)}

    def _hash(self, place: str) -> str:
        digest = hashlib.sha512(f"2 {__version__} {place}".encode())
        for r in self._served[place]:
            digest.update(repr(r).encode())
            if r.custom:
                digest.update(self._schemas.get((r.group, r.version, r.kind), b""))
        return digest.hexdigest().upper()[:64]

    def pieces(self, place: str) -> Iterator[bytes]:
        """Yield the document of a place that has a hash, as JSON."""
        parts = self.parts([place])
        yield b'{"openapi":"3.0.0","info":{"title":"Kubernetes","version":"v1.32.0"},"paths":'
        yield from members((path, msgspec.json.encode(item)) for path, item in parts.paths)
        yield b',"components":{"schemas":'
        yield from members((name, msgspec.json.encode(make())) for name, make in parts.definitions)
        yield b"}}"

    def parts(self, places: Iterable[str] | None = None) -> Parts:
        """Return what the documents of some places, or of all, are made of."""
        schemas = _Schemas(self._facts)
        paths: list[Iterator[tuple[str, dict[str, Any]]]] = []
        for place in sorted(self._served) if places is None else places:
            served = self._served[place]
            paths.append(_paths(served, self._names(served, schemas)))
        for name in ("DeleteOptions", "Status", "Patch"):
            schemas.builtin(_META + name)
        return Parts((path for each in paths for path in each), iter(sorted(schemas.found.items())))

    def _names(self, served: Sequence[ServedResource], schemas: _Schemas) -> dict[str, str]:
        """Return the definition of every kind, having found it and what it refers to."""
        names: dict[str, str] = {}
        for r in served:
            names[r.kind] = self._custom(r, schemas) if r.custom else self._builtin(r.group, r.version, r.kind, schemas)
            self._list(r, names[r.kind], schemas)
            for s in r.subresources:
                if s.kind not in names:
                    names[s.kind] = self._builtin(s.group, s.version, s.kind, schemas)
        return names

    def _builtin(self, group: str, version: str, kind: str, schemas: _Schemas) -> str:
        name = self._facts.kinds.get((group, version, kind), "")
        schemas.builtin(name)
        return name

    def _custom(self, r: ServedResource, schemas: _Schemas) -> str:
        name = definition_name(r.group, r.version, r.kind)
        schema = self._schemas.get((r.group, r.version, r.kind), msgspec.Raw(b"{}"))
        schemas.found[name] = partial(published_schema, schema, r.group, r.version, r.kind)
        schemas.builtin(f"{_META}ObjectMeta")
        return name

    def _list(self, r: ServedResource, item: str, schemas: _Schemas) -> None:
        if "list" not in r.verbs or not item:
            return
        if not r.custom:
            self._builtin(r.group, r.version, r.list_kind, schemas)
            return
        schemas.builtin(f"{_META}ListMeta")
        schemas.found[definition_name(r.group, r.version, r.list_kind)] = partial(_list_schema, r, item)


class _Schemas:
    """The definitions that a document needs, by name, each with what makes it."""

    def __init__(self, facts: Facts) -> None:
        self._facts, self._texts = facts, Texts()
        self.found: dict[str, Make] = {}

    def builtin(self, name: str) -> None:
        """Find a definition of Kubernetes ("" is none) and all that it refers to."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name in self.found or not name:
                continue
            self.found[name] = partial(self._described, name)
            waiting.extend(_references(self._facts.definition(name)))

    def _described(self, name: str) -> dict[str, Any]:
        definition = self._facts.definition(name)
        self._texts.describe(name, definition)
        return definition


def _paths(served: Sequence[ServedResource], names: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for r in served:
        yield from paths_of(r, names).items()


def _list_schema(r: ServedResource, item: str) -> dict[str, Any]:
    return {
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
