"""OpenAPI v3 holds what kubectl looks for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from skerry.apiserver.schema import OpenApi, custom_resources
from skerry.model.objects import Object
from tests.unit.schema.pipeline import a_crd, catalogue

CRD = a_crd({"type": "object", "description": "What is wanted.", "properties": {"ios": {"x-kubernetes-int-or-string": True}}})


def _api(*crds: Object) -> OpenApi:
    return OpenApi([*catalogue().resources(), *(r for c in crds for r in custom_resources(c))], map(msgspec.json.encode, crds))


def _document(place: str, *crds: Object) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(b"".join(_api(*crds).pieces(place)))
    return decoded


def test_every_group_and_version_that_is_served_has_a_hash() -> None:
    hashes = _api(CRD).hashes()

    assert {"api/v1", "apis/apps/v1", "apis/example.com/v1"} <= set(hashes)
    assert "apis/nope.example.com/v1" not in hashes


def test_a_hash_changes_with_the_crd_and_only_with_it() -> None:
    other = a_crd({"type": "object"})

    hashes = _api(CRD).hashes()

    assert hashes == _api(CRD).hashes()
    assert hashes["apis/example.com/v1"] != _api(other).hashes()["apis/example.com/v1"]
    assert hashes["apis/apps/v1"] == _api().hashes()["apis/apps/v1"]


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("apis/apps/v1", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"),
        ("api/v1", "/api/v1/nodes/{name}"),
        ("apis/example.com/v1", "/apis/example.com/v1/namespaces/{namespace}/wis/{name}"),
    ],
)
def test_writes_offer_field_validation(place: str, path: str) -> None:
    item = _document(place, CRD)["paths"][path]

    assert [p["name"] for p in item["patch"]["parameters"]] == ["dryRun", "fieldManager", "fieldValidation", "force"]
    assert "fieldValidation" in [p["name"] for p in item["put"]["parameters"]]
    assert item["patch"]["x-kubernetes-group-version-kind"]["kind"] in ("Deployment", "Node", "Wi")


def test_a_custom_kind_keeps_its_descriptions_and_gets_metadata() -> None:
    schema = _document("apis/example.com/v1", CRD)["components"]["schemas"]["com.example.v1.Wi"]

    assert schema["properties"]["spec"]["description"] == "What is wanted."
    assert schema["properties"]["spec"]["properties"]["ios"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert "$ref" in schema["properties"]["metadata"]["allOf"][0]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "example.com", "kind": "Wi", "version": "v1"}]


def test_every_reference_in_every_document_can_be_followed() -> None:
    api = _api(CRD)
    for place in api.hashes():
        decoded = msgspec.json.decode(b"".join(api.pieces(place)))
        schemas = decoded["components"]["schemas"]
        waiting: list[Any] = [decoded]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                if isinstance(value.get("$ref"), str):
                    assert value["$ref"].removeprefix("#/components/schemas/") in schemas
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)
