"""Paths of OpenAPI, drawn from what is served: verbs, the kind that each is about, and the parameters that clients look for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.apiserver.schema.resources import ServedResource, Subresource

_REF = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_OBJECT_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_PATCH_TYPES = ("application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json")
_METHODS = {
    "get": "get",
    "list": "get",
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
    "deletecollection": "delete",
}
_ACTIONS = {"create": "post", "update": "put"}

_TEXT = {"type": "string", "uniqueItems": True}
_TRUE_OR_FALSE = {"type": "boolean", "uniqueItems": True}
_WRITES = [
    {"in": "query", "name": "dryRun", "schema": _TEXT},
    {"in": "query", "name": "fieldManager", "schema": _TEXT},
    {"in": "query", "name": "fieldValidation", "schema": _TEXT},
]
_FORCE = {"in": "query", "name": "force", "schema": _TRUE_OR_FALSE}
_LISTS = [
    {"in": "query", "name": name, "schema": kind}
    for name, kind in (
        ("allowWatchBookmarks", _TRUE_OR_FALSE),
        ("continue", _TEXT),
        ("fieldSelector", _TEXT),
        ("labelSelector", _TEXT),
        ("limit", {"type": "integer", "uniqueItems": True}),
        ("resourceVersion", _TEXT),
        ("resourceVersionMatch", _TEXT),
        ("sendInitialEvents", _TRUE_OR_FALSE),
        ("timeoutSeconds", {"type": "integer", "uniqueItems": True}),
        ("watch", _TRUE_OR_FALSE),
    )
]
_DELETES = [
    {"in": "query", "name": "dryRun", "schema": _TEXT},
    {"in": "query", "name": "gracePeriodSeconds", "schema": {"type": "integer", "uniqueItems": True}},
    {"in": "query", "name": "propagationPolicy", "schema": _TEXT},
]
_PARAMETERS = {
    "list": _LISTS,
    "create": _WRITES,
    "update": _WRITES,
    "patch": [*_WRITES, _FORCE],
    "delete": _DELETES,
    "deletecollection": [*_DELETES, *_LISTS],
}


def paths_of(r: ServedResource, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the path items of a resource; *names* maps each kind to its component schema ("" when there is none)."""
    base = f"/apis/{r.group}/{r.version}" if r.group else f"/api/{r.version}"
    scope = "/namespaces/{namespace}" if r.namespaced else ""
    collection = f"{base}{scope}/{r.plural}"
    one = f"{collection}/{{name}}"
    found = {
        collection: _item(r, ("list", "create", "deletecollection"), names, namespaced=r.namespaced),
        one: _item(r, ("get", "update", "patch", "delete"), names, namespaced=r.namespaced, named=True),
    }
    if r.namespaced and "list" in r.verbs:
        found[f"{base}/{r.plural}"] = _item(r, ("list",), names, namespaced=False)
    for s in r.subresources:
        found[f"{one}/{s.name}"] = _subresource(r, s, names)
    return {path: item for path, item in found.items() if any(m in item for m in ("get", "post", "put", "patch", "delete"))}


def _item(r: ServedResource, verbs: tuple[str, ...], names: Mapping[str, str], *, namespaced: bool, named: bool = False) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for verb in verbs:
        if verb in r.verbs:
            item[_METHODS[verb]] = _operation(verb, r.group, r.version, r.kind, names.get(r.kind, ""), custom=r.custom)
    return _with_place(item, namespaced=namespaced, named=named)


def _subresource(r: ServedResource, s: Subresource, names: Mapping[str, str]) -> dict[str, Any]:
    item = {}
    for verb in s.verbs:
        if verb in _METHODS:
            item[_METHODS[verb]] = _operation(verb, s.group, s.version, s.kind, names.get(s.kind, ""), custom=r.custom)
    return _with_place(item, namespaced=r.namespaced, named=True)


def _with_place(item: dict[str, Any], *, namespaced: bool, named: bool) -> dict[str, Any]:
    place = [
        {"in": "path", "name": n, "required": True, "schema": _TEXT} for n, wanted in (("name", named), ("namespace", namespaced)) if wanted
    ]
    if item and place:
        item["parameters"] = place
    return item


def _operation(verb: str, group: str, version: str, kind: str, schema: str, *, custom: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "responses": {"200": {"description": "OK"}, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": version},
    }
    if schema and verb not in ("delete", "deletecollection", "list"):
        content = {"application/json": {"schema": {"$ref": _REF + schema}}}
        found["responses"]["200"]["content"] = content
    if verb in _PARAMETERS:
        found["parameters"] = _PARAMETERS[verb]
    if verb in ("create", "update") and schema:
        found["requestBody"] = _body(_OBJECT_TYPES[: 2 if custom else 3], schema)
    elif verb == "patch":
        found["requestBody"] = _body(_PATCH_TYPES[: 2 if custom else 3], f"{_META}Patch")
    return found


def _body(types: tuple[str, ...], schema: str) -> dict[str, Any]:
    return {"content": {t: {"schema": {"$ref": _REF + schema}} for t in types}, "required": True}
