"""OpenAPI v2 of everything that is served, for tools that know no v3: one document, drawn from those of v3. Pure, and slow.

What v2 cannot say is left out (oneOf, anyOf, not, nullable), as Kubernetes leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import msgspec

from skerry.apiserver.schema.openapi_parts import Make, Parts, members

_V3, _V2 = "#/components/schemas/", "#/definitions/"
_DROPPED = frozenset(("oneOf", "anyOf", "not", "nullable", "allOf", "$ref"))
_NESTED = ("items", "additionalProperties")
_METHODS = ("get", "put", "post", "delete", "patch")
_PRODUCES = ["application/json", "application/yaml"]


HEAD: Mapping[str, Any] = {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.32.0"}}


def parts_of(parts: Parts) -> Parts:
    """Return the parts of a v2 document for those of v3."""
    paths = ((path, _path(item)) for path, item in parts.paths)
    return Parts(paths, ((name, partial(_definition, make)) for name, make in parts.definitions))


def pieces(head: Mapping[str, Any], parts: Parts) -> Iterator[bytes]:
    """Yield a v2 document as JSON."""
    yield msgspec.json.encode(head)[:-1]
    yield b',"paths":'
    yield from members((path, msgspec.json.encode(item)) for path, item in parts.paths)
    yield b',"definitions":'
    yield from members((name, msgspec.json.encode(make())) for name, make in parts.definitions)
    yield b"}"


def _definition(make: Make) -> dict[str, Any]:
    return schema_of(make())


def schema_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as v2 says it."""
    found = {k: v for k, v in schema.items() if k not in _DROPPED}
    target = _reference(schema)
    if target:
        return {"$ref": target, **{k: v for k, v in found.items() if k == "description"}}
    if found.get("format") == "int-or-string" or (found.get("x-kubernetes-int-or-string") and "type" not in found):
        found |= {"type": "string", "format": "int-or-string"} if "format" in found else {}
    for key in _NESTED:
        if isinstance(found.get(key), Mapping):
            found[key] = schema_of(found[key])
    if isinstance(found.get("properties"), Mapping):
        found["properties"] = {k: schema_of(v) for k, v in found["properties"].items()}
    return found


def _reference(schema: Mapping[str, Any]) -> str:
    parts = [schema, *schema.get("allOf", ())]
    found = next((p["$ref"] for p in parts if isinstance(p.get("$ref"), str)), "")
    return str(found).replace(_V3, _V2)


def _path(item: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {method: _operation(item[method]) for method in _METHODS if method in item}
    if item.get("parameters"):
        found["parameters"] = [_parameter(p) for p in item["parameters"]]
    return found


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody") or {}
    content: Mapping[str, Any] = body.get("content") or {}
    parameters = [_parameter(p) for p in operation.get("parameters") or ()]
    if content:
        schema = schema_of(next(iter(content.values()))["schema"])
        parameters.insert(0, {"in": "body", "name": "body", "required": True, "schema": schema})
    found: dict[str, Any] = {"consumes": list(content) or ["*/*"], "produces": _PRODUCES}
    if parameters:
        found["parameters"] = parameters
    found["responses"] = {code: _response(r) for code, r in operation["responses"].items()}
    return found | {k: v for k, v in operation.items() if k.startswith("x-")}


def _response(response: Mapping[str, Any]) -> dict[str, Any]:
    content = response.get("content") or {}
    found = {"description": response["description"]}
    return {**found, "schema": schema_of(next(iter(content.values()))["schema"])} if content else found


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    return {**{k: v for k, v in parameter.items() if k != "schema"}, **parameter["schema"]}
