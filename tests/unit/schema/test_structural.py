"""Custom kinds: pruning, defaulting and validation by a CRD's structural schema."""

from __future__ import annotations

import pytest

from skerry.apiserver.schema.values import MAX_CAUSES
from skerry.model.errors import ApiError
from skerry.model.objects import Object
from tests.unit.schema.pipeline import a_wi, custom, texts

Schema = Object


def _pruned(schema: Schema, spec: object) -> tuple[object, list[str]]:
    wi = a_wi(spec)
    unknown = custom(schema).prune_unknown(wi)
    return wi["spec"], unknown


def _defaulted(schema: Schema, spec: object) -> object:
    wi = a_wi(spec)
    custom(schema).default(wi)
    return wi["spec"]


def _wrong(schema: Schema, spec: object) -> list[str]:
    return texts(custom(schema).validate(a_wi(spec)))


OPEN = {
    "type": "object",
    "x-kubernetes-preserve-unknown-fields": True,
    "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}},
}


def test_unknown_fields_of_preserved_objects_stay_but_known_ones_are_pruned_below() -> None:
    kept, unknown = _pruned(OPEN, {"x": 1, "a": {"b": "", "y": 1}})

    assert kept == {"x": 1, "a": {"b": ""}}
    assert unknown == ["spec.a.y"]


def test_lists_and_maps_are_pruned_inside() -> None:
    schema = {
        "type": "object",
        "properties": {
            "l": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
            "m": {"type": "object", "additionalProperties": {"type": "object", "properties": {"k": {"type": "string"}}}},
        },
    }

    kept, unknown = _pruned(schema, {"l": [{"k": "1", "z": 1}, 5], "m": {"one": {"k": "1", "z": 1}}, "n": 1})

    assert kept == {"l": [{"k": "1"}, 5], "m": {"one": {"k": "1"}}}
    assert unknown == ["spec.l[0].z", "spec.m.one.z", "spec.n"]


def test_an_object_without_properties_keeps_nothing() -> None:
    assert _pruned({"type": "object"}, {"x": 1}) == ({}, ["spec.x"])


def test_an_embedded_resource_keeps_its_type_and_metadata() -> None:
    schema = {"type": "object", "properties": {"e": {"type": "object", "x-kubernetes-embedded-resource": True}}}
    embedded = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "zz": 1}, "spec": {}}

    kept, unknown = _pruned(schema, {"e": embedded})

    assert kept == {"e": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}}
    assert unknown == ["spec.e.metadata.zz", "spec.e.spec"]


def test_metadata_is_read_as_kubernetes_reads_it() -> None:
    with pytest.raises(ApiError, match=r"cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"):
        custom({"type": "object"}).prune_unknown({**a_wi({}), "metadata": {"name": "w", "labels": {"a": True}}})


def test_defaults_reach_into_lists_but_do_not_make_parents() -> None:
    inner = {"type": "object", "properties": {"d": {"type": "integer", "default": 7}}}
    schema = {
        "type": "object",
        "properties": {
            "l": {"type": "array", "items": inner},
            "absent": inner,
            "made": {**inner, "default": {}},
            "m": {"type": "object", "additionalProperties": inner},
        },
    }

    found = _defaulted(schema, {"l": [{}, {"d": 1}], "m": {"k": {}}})

    assert found == {"l": [{"d": 7}, {"d": 1}], "m": {"k": {"d": 7}}, "made": {"d": 7}}


def test_a_null_is_dropped_then_defaulted_unless_it_is_allowed() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer", "default": 3}, "n": {"type": "string", "nullable": True}, "b": {"type": "string"}},
    }

    assert _defaulted(schema, {"a": None, "n": None, "b": None}) == {"a": 3, "n": None}


def test_objects_do_not_share_their_defaults() -> None:
    schema = {"type": "object", "properties": {"l": {"type": "array", "items": {"type": "string"}, "default": ["x"]}}}
    compiled = custom(schema)
    first, second = a_wi({}), a_wi({})
    compiled.default(first)
    first["spec"]["l"].append("y")

    compiled.default(second)

    assert second["spec"]["l"] == ["x"]


def _field(schema: Schema) -> Schema:
    return {"type": "object", "properties": {"f": schema}}


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        ({"type": "string"}, 1, 'spec.f: Invalid value: "integer": spec.f in body must be of type string: "integer"'),
        ({"type": "integer"}, 1.5, 'spec.f: Invalid value: "number": spec.f in body must be of type integer: "number"'),
        ({"type": "integer"}, True, 'spec.f: Invalid value: "boolean": spec.f in body must be of type integer: "boolean"'),
        ({"type": "boolean"}, "no", 'spec.f: Invalid value: "string": spec.f in body must be of type boolean: "string"'),
        ({"type": "string"}, None, 'spec.f: Invalid value: "null": spec.f in body must be of type string: "null"'),
        ({"type": "string", "enum": ["a", "b"]}, "c", 'spec.f: Unsupported value: "c": supported values: "a", "b"'),
        ({"type": "string", "minLength": 2}, "x", 'spec.f: Invalid value: "x": spec.f in body should be at least 2 chars long'),
        ({"type": "string", "maxLength": 2}, "äöü", "spec.f: Too long: may not be more than 2 bytes"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "A", "spec.f: Invalid value: \"A\": spec.f in body should match '^[a-z]+$'"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "a\n", "spec.f: Invalid value: \"a\n\": spec.f in body should match '^[a-z]+$'"),
        ({"type": "string", "format": "ipv4"}, "1.2.3", 'spec.f: Invalid value: "1.2.3": spec.f in body must be of type ipv4: "1.2.3"'),
        ({"type": "integer", "maximum": 3}, 4, "spec.f: Invalid value: 4: spec.f in body should be less than or equal to 3"),
        (
            {"type": "number", "minimum": 0, "exclusiveMinimum": True},
            0,
            "spec.f: Invalid value: 0: spec.f in body should be greater than 0",
        ),
        ({"type": "number", "multipleOf": 0.1}, 0.25, "spec.f: Invalid value: 0.25: spec.f in body should be a multiple of 0.1"),
        ({"type": "integer", "format": "int32"}, 2**31, "spec.f: Invalid value: 2147483648: spec.f in body must be of type int32"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a", "b"], "spec.f: Too many: 2: must have at most 1 items"),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            [],
            "spec.f: Invalid value: 0: spec.f in body should have at least 1 items",
        ),
        (
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "maxProperties": 0},
            {"a": 1},
            "spec.f: Too many: 1: must have at most 0 items",
        ),
        (
            {"x-kubernetes-int-or-string": True},
            [1],
            'spec.f: Invalid value: "array": spec.f in body must be of type integer,string: "array"',
        ),
        ({"type": "object", "required": ["k"]}, {}, "spec.f.k: Required value"),
    ],
)
def test_each_rule_says_what_kubernetes_says(schema: Schema, value: object, words: str) -> None:
    assert _wrong(_field(schema), {"f": value}) == [words]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 3.0),
        ({"type": "number"}, 3),
        ({"type": "string", "nullable": True}, None),
        ({"x-kubernetes-int-or-string": True}, "5%"),
        ({"type": "string", "format": "no-such-format"}, "x"),
        ({"type": "number", "multipleOf": 0.1}, 0.3),
        ({"type": "string", "maxLength": 3}, "äöü"),
        ({"type": "array", "items": {"type": "integer"}, "x-kubernetes-list-type": "set"}, [1, 2]),
    ],
)
def test_what_kubernetes_accepts_is_accepted(schema: Schema, value: object) -> None:
    assert _wrong(_field(schema), {"f": value}) == []


def test_lists_that_are_maps_have_unique_keys_with_defaults_counted() -> None:
    items = {
        "type": "object",
        "required": ["port"],
        "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}},
    }
    schema = _field({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"], "items": items})

    assert _wrong(schema, {"f": [{"port": 1}, {"port": 1, "protocol": "UDP"}]}) == []
    assert _wrong(schema, {"f": [{"port": 1}, {"port": 1, "protocol": "TCP"}]}) == [
        'spec.f[1]: Duplicate value: map[string]interface {}{"port":1, "protocol":"TCP"}'
    ]


def test_alternatives_are_counted() -> None:
    schema = _field(
        {
            "type": "object",
            "properties": {"p": {"type": "string"}, "q": {"type": "string"}},
            "oneOf": [{"required": ["p"]}, {"required": ["q"]}],
        }
    )

    assert _wrong(schema, {"f": {"p": "1"}}) == []
    assert _wrong(schema, {"f": {"p": "1", "q": "1"}}) == [
        '<nil>: Invalid value: "": "spec.f" must validate one and only one schema (oneOf). Found 2 valid alternatives'
    ]
    assert _wrong(schema, {"f": {}})[0] == (
        '<nil>: Invalid value: "": "spec.f" must validate one and only one schema (oneOf). Found none valid'
    )


def test_rules_that_were_not_reached_are_mentioned() -> None:
    rule = [{"rule": "self.a > 0"}]
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": rule}

    assert [t.partition(":")[0] for t in _wrong(schema, {})] == ["spec.a", "<nil>"]


def test_a_hostile_list_does_not_make_megabytes_of_errors() -> None:
    schema = _field({"type": "array", "items": {"type": "string"}})

    assert len(_wrong(schema, {"f": [1] * 10_000})) <= MAX_CAUSES + 1


TIGHT = {"type": "object", "required": ["r"], "properties": {"n": {"type": "integer", "maximum": 5}, "o": {"type": "string"}}}


def test_what_was_wrong_before_does_not_stop_other_changes() -> None:
    schema = custom({"type": "object", "properties": {"part": TIGHT, "free": {"type": "string"}}})
    old = a_wi({"part": {"n": 9}})

    assert schema.validate({**a_wi({"part": {"n": 9}, "free": "x"})}, old) == []
    assert texts(schema.validate(a_wi({"part": {"n": 8}}), old)) == [
        "spec.part.r: Required value",
        "spec.part.n: Invalid value: 8: spec.part.n in body should be less than or equal to 5",
    ]
    assert texts(schema.validate(a_wi({"part": {"n": 9, "o": "x"}}), old)) == ["spec.part.r: Required value"]
    assert len(schema.validate(a_wi({"part": {"n": 9}}))) == 2
