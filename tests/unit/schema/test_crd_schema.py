"""What is wrong with the schema of a CustomResourceDefinition, in the words of apiextensions."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.apiserver.schema.formats import FORMATS
from skerry.apiserver.schema.rules.crd_schema import crd_schema
from skerry.model.errors import Cause
from tests.unit.schema.pipeline import a_wi, custom, texts

STRINGS = {"type": "array", "items": {"type": "string"}}
KEYED = {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}


def _map(items: Any, *keys: str) -> dict[str, Any]:
    return {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys), "items": items}


def _said(schema: Any) -> list[str]:
    causes: list[Cause] = []
    crd_schema(schema, "S", causes)
    return texts(causes)


def _said_of(field: Any) -> list[str]:
    return [s.replace("S.properties[f]", "F") for s in _said({"type": "object", "properties": {"f": field}})]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({}, "F.type: Required value: must not be empty for specified object fields"),
        ({"type": "array", "items": {}}, "F.items.type: Required value: must not be empty for specified array items"),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            "F.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without "
            "x-kubernetes-preserve-unknown-fields",
        ),
        (
            {"type": "string", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
            'F.type: Invalid value: "string": must be object if x-kubernetes-embedded-resource is true',
        ),
        (
            {"type": "object", "x-kubernetes-preserve-unknown-fields": False},
            "F.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
        ),
        (
            {"x-kubernetes-int-or-string": True, "x-kubernetes-preserve-unknown-fields": True},
            "F.x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true",
        ),
        (
            {"type": "string", "x-kubernetes-list-type": "set"},
            'F.type: Invalid value: "string": must be array if x-kubernetes-list-type is specified',
        ),
        (
            STRINGS | {"x-kubernetes-map-type": "atomic"},
            'F.type: Invalid value: "array": must be object if x-kubernetes-map-type is specified',
        ),
        (
            {"type": "object", "x-kubernetes-map-type": "x"},
            'F.x-kubernetes-map-type: Unsupported value: "x": supported values: "atomic", "granular"',
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}},
            "F.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set",
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "nullable": True}},
            "F.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set",
        ),
        (
            STRINGS | {"x-kubernetes-list-map-keys": ["k"]},
            "F.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty",
        ),
        (
            _map({"type": "string"}, "k"),
            'F.items.type: Invalid value: "string": must be object if parent array\'s x-kubernetes-list-type is map',
        ),
        (
            _map(KEYED, "z"),
            'F.x-kubernetes-list-map-keys: Invalid value: []string{"z"}: entries must all be names of item properties',
        ),
        (
            _map(KEYED, "k", "k"),
            'F.x-kubernetes-list-map-keys: Invalid value: []string{"k", "k"}: must not contain duplicate entries',
        ),
        (
            {"type": "object", "anyOf": [{"properties": {"x": {"pattern": "a"}}}]},
            "F.properties[x]: Required value: because it is defined in F.anyOf[0].properties[x]",
        ),
        ({"type": "string", "not": {"default": "a"}}, "F.not.default: Forbidden: must be undefined to be structural"),
        ({"type": "string", "oneOf": [{"nullable": True}]}, "F.oneOf[0].nullable: Forbidden: must be false to be structural"),
        (
            {"type": "string", "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]},
            "F.allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "properties": {"x": {"type": "string"}}, "default": {"y": 1}},
            'F.default: Invalid value: map[string]interface {}{"y":1}: must not have unknown fields',
        ),
        (
            {"type": "integer", "default": 5, "x-kubernetes-validations": [{"rule": "self < 3"}]},
            'F.default: Invalid value: "integer": failed rule: self < 3',
        ),
    ],
)
def test_what_apiextensions_refuses_is_refused_in_its_words(field: Any, said: str) -> None:
    assert _said_of(field) == [said]


@pytest.mark.parametrize(
    "field",
    [
        {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"x-kubernetes-int-or-string": True, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}]},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": True},
        {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object", "x-kubernetes-map-type": "atomic"}},
        {"type": "object", "properties": {"x": {"type": "string"}}, "oneOf": [{"required": ["x"]}, {"not": {"required": ["y"]}}]},
        {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}}, "not": {"items": {"required": ["x"]}}},
    ],
)
def test_what_apiextensions_takes_is_taken(field: Any) -> None:
    assert _said_of(field) == []


def test_the_root_says_nothing_of_metadata_but_names() -> None:
    named = {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}}
    labelled = {"type": "object", "properties": {"labels": {"type": "object"}}}

    assert _said({"type": "object", "properties": {"metadata": named}}) == []
    assert _said({"type": "object", "properties": {"metadata": labelled}}) == [
        "S.properties[metadata]: Forbidden: must not specify anything other than name and generateName, "
        "but metadata is implicitly specified"
    ]
    named["properties"]["name"]["default"] = "abc"  # type: ignore[index]
    assert _said({"type": "object", "properties": {"metadata": named}}) == [
        "S.properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata"
    ]


EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        ({"apiVersion": "a/b/c", "kind": "K"}, 'spec.e.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c'),
        ({"apiVersion": "v1", "kind": 5}, "spec.e.kind: Invalid value: 5: must be a string"),
        (
            {"apiVersion": "v1", "kind": "K", "metadata": {"name": "a/b"}},
            "spec.e.metadata.name: Invalid value: \"a/b\": may not contain '/'",
        ),
        ({"apiVersion": "v1", "kind": "K", "metadata": 5}, "spec.e.metadata: Invalid value: 5: must be the metadata of an object"),
    ],
)
def test_an_embedded_resource_has_a_type_and_metadata_like_any_other(inner: Any, said: str) -> None:
    schema = custom({"type": "object", "properties": {"e": EMBEDDED}})

    assert texts(schema.validate(a_wi({"e": inner}))) == [said]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("isbn", "978-3-16-148410-0", "978-3-16-148410-1"),
        ("isbn10", "3-16-148410-X", "3-16-148410-1"),
        ("isbn13", "9783161484100", "3-16-148410-X"),
        ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ("ssn", "123-45-6789", "123-456-789"),
        ("bsonobjectid", "507f1f77bcf86cd799439011", "507f"),
        ("hexcolor", "#fFf000", "#ff"),
        ("rgbcolor", "rgb(0, 12,255)", "rgb(256,0,0)"),
    ],
)
def test_formats_that_few_use(name: str, good: str, bad: str) -> None:
    assert FORMATS[name](good) is True
    assert FORMATS[name](bad) is False


def _lists(inner: Any, *limits: int | None) -> Any:
    for limit in limits:
        inner = {"type": "array", "items": inner} | ({} if limit is None else {"maxItems": limit})
    return inner


def test_how_often_a_rule_runs_is_bounded_by_what_one_request_holds() -> None:
    rule = [{"rule": "!has(self.a) || has(self.b)"}]
    item = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "x-kubernetes-validations": rule}

    assert _said_of(_lists(item, None, None)) == []
    assert any("estimated rule cost exceeds budget" in text for text in _said_of(_lists(item, 3000, 3000)))
