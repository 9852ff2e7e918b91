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
    return OpenApi([*catalogue().resources(), *(r for c in crds for r in custom_resources(c))], crds)


def _document(place: str, *crds: Object) -> dict[str, Any]:
    found = _api(*crds).document(place)
    assert found is not None
    decoded: dict[str, Any] = msgspec.json.decode(found.body)
    return decoded


def test_the_index_names_every_group_and_version_with_its_hash() -> None:
    paths = _api(CRD).index()["paths"]

    assert {"api/v1", "apis/apps/v1", "apis/example.com/v1"} <= set(paths)
    assert paths["api/v1"]["serverRelativeURL"].startswith("/openapi/v3/api/v1?hash=")


def test_a_hash_changes_with_the_crd_and_only_with_it() -> None:
    other = a_crd({"type": "object"})

    assert _api(CRD).hash("apis/example.com/v1") == _api(CRD).hash("apis/example.com/v1")
    assert _api(CRD).hash("apis/example.com/v1") != _api(other).hash("apis/example.com/v1")
    assert _api(CRD).hash("apis/apps/v1") == _api().hash("apis/apps/v1")


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
    for place in api.index()["paths"]:
        document = api.document(place)
        assert document is not None
        decoded = msgspec.json.decode(document.body)
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


def test_what_is_not_served_has_no_document() -> None:
    assert _api().document("apis/nope.example.com/v1") is None
