"""OpenAPI v2 says what v3 says, as far as it can; its protobuf form holds the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from skerry.apiserver.schema import OpenApi, custom_resources, gnostic, openapi_v2
from skerry.apiserver.schema.openapi_parts import Parts
from skerry.apiserver.schema.openapi_v2 import schema_of
from tests.unit.schema.pipeline import a_crd, catalogue

CRD = a_crd(
    {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "nullable": True}}}}}
)


def parts() -> Parts:
    api = OpenApi([*catalogue().resources(), *custom_resources(CRD)], [msgspec.json.encode(CRD)])
    return openapi_v2.parts_of(api.parts())


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(b"".join(openapi_v2.pieces(openapi_v2.HEAD, parts())))
    return found


def fields(data: bytes) -> list[tuple[int, Any]]:
    """Read one level of a message with a reader of the test's own."""
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 2:
            length = varint()
            found.append((tag >> 3, data[at : at + length]))
            at += length
        elif tag & 7 == 1:
            found.append((tag >> 3, data[at : at + 8]))
            at += 8
        else:
            found.append((tag >> 3, varint()))
    return found


def named(data: bytes, number: int) -> dict[str, bytes]:
    """Return gnostic's list of pairs as a map."""
    pairs = [dict(fields(value)) for field, value in fields(data) if field == number]
    return {pair[1].decode(): pair[2] for pair in pairs}


def test_every_reference_leads_somewhere(whole: dict[str, Any]) -> None:
    missing = [r for r in references(whole) if r.removeprefix("#/definitions/") not in whole["definitions"]]

    assert missing == []
    assert len(whole["definitions"]) > 400


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [r for v in value.values() for r in references(v)]
    return [r for v in value for r in references(v)] if isinstance(value, list) else []


def test_a_patch_takes_field_validation_and_a_kind_says_its_name(whole: dict[str, Any]) -> None:
    patch = whole["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]

    assert "fieldValidation" in [p["name"] for p in patch["parameters"]]
    assert patch["parameters"][0]["in"] == "body"
    assert whole["definitions"]["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"] == [
        {"group": "apps", "kind": "Deployment", "version": "v1"}
    ]


@pytest.mark.parametrize(
    ("v3", "v2"),
    [
        (
            {"allOf": [{"$ref": "#/components/schemas/a.B"}], "default": {}, "description": "d"},
            {"$ref": "#/definitions/a.B", "description": "d"},
        ),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}, {"type": "string", "format": "int-or-string"}),
        ({"type": "array", "items": {"nullable": True, "type": "string"}}, {"type": "array", "items": {"type": "string"}}),
    ],
)
def test_what_v2_cannot_say_is_left_out(v3: dict[str, Any], v2: dict[str, Any]) -> None:
    assert schema_of(v3) == v2


def test_the_protobuf_form_holds_paths_definitions_and_extensions(whole: dict[str, Any]) -> None:
    top = fields(b"".join(gnostic.pieces(openapi_v2.HEAD, parts())))
    definitions, paths = (named(b"".join(v for number, v in top if number == field), inner) for field, inner in ((9, 1), (8, 2)))

    assert top[0] == (1, b"2.0")
    assert list(definitions) == list(whole["definitions"])
    assert list(paths) == list(whole["paths"])
    custom = dict(fields(definitions[custom_name(whole)]))
    assert msgspec.json.decode(dict(fields(dict(fields(custom[31]))[2]))[2])[0]["version"] == "v1"


def custom_name(whole: dict[str, Any]) -> str:
    """Return the definition of the CRD's kind."""
    return next(str(n) for n in whole["definitions"] if n.startswith("com.example.") and not n.endswith("List"))
