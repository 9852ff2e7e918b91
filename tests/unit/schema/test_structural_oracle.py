"""Our validator against jsonschema-rs: random structural schemas, random values, the same verdict."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.apiserver.schema.values import compile_validation
from skerry.model.errors import Cause

Schema = dict[str, Any]

_NAMES = st.sampled_from(["a", "b", "c", "d"])
_TEXTS = st.text("abAB1-", max_size=5)
_NUMBERS = st.integers(-4, 4) | st.sampled_from([0.5, -1.5, 2.0, 3.25])


def _limits(low: str, high: str, most: int = 4) -> st.SearchStrategy[Schema]:
    return st.fixed_dictionaries({}, optional={low: st.integers(0, most), high: st.integers(0, most)})


_STRINGS = st.builds(
    lambda limits, rest: {"type": "string", **limits, **rest},
    _limits("minLength", "maxLength"),
    st.fixed_dictionaries(
        {},
        optional={
            "pattern": st.sampled_from(["^[a-z]+$", "a", "^$", "[^b]-", "^(a|b){2,3}$", r"^\w*$"]),
            "enum": st.lists(_TEXTS, min_size=1, max_size=3),
        },
    ),
)
_INTEGERS = st.builds(
    lambda rest: {"type": "integer", **rest},
    st.fixed_dictionaries({}, optional={"minimum": st.integers(-3, 3), "maximum": st.integers(-3, 3), "multipleOf": st.integers(1, 3)}),
)
_PLAIN = st.sampled_from(
    [{"type": "boolean"}, {"type": "number"}, {"type": "number", "minimum": 0.5}, {"type": "string", "nullable": True}]
)


def _arrays(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.builds(lambda items, limits: {"type": "array", "items": items, **limits}, inner, _limits("minItems", "maxItems", 3))


def _objects(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    properties = st.dictionaries(_NAMES, inner, min_size=1, max_size=3)
    branches = st.lists(st.builds(lambda n: {"required": [n]}, _NAMES), min_size=1, max_size=2)
    rest = st.fixed_dictionaries(
        {},
        optional={
            "required": st.lists(_NAMES, max_size=2, unique=True),
            "oneOf": branches,
            "anyOf": branches,
            "allOf": branches,
            "not": branches.map(lambda b: b[0]),
        },
    )
    full = st.builds(
        lambda p, limits, r: {"type": "object", "properties": p, **limits, **r}, properties, _limits("minProperties", "maxProperties"), rest
    )
    maps = st.builds(lambda i: {"type": "object", "additionalProperties": i}, inner)
    return full | maps


_SCHEMAS = st.recursive(_STRINGS | _INTEGERS | _PLAIN, lambda inner: _arrays(inner) | _objects(inner), max_leaves=6)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


def _json_schema(schema: Any) -> Any:
    """Return the schema in JSON Schema's words: only `nullable` is spelt differently."""
    if isinstance(schema, list):
        return [_json_schema(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    found = {k: _json_schema(v) if k != "enum" else v for k, v in schema.items() if k != "nullable"}
    return {"anyOf": [{"type": "null"}, found]} if schema.get("nullable") is True else found


def _ours(schema: Schema, value: Any) -> bool:
    causes: list[Cause] = []
    check = compile_validation(schema)
    if check is not None:
        check(value, None, causes)
    return not causes


@settings(max_examples=300, deadline=None)
@given(_SCHEMAS, _VALUES)
def test_the_verdict_is_that_of_another_validator(schema: Schema, value: Any) -> None:
    theirs = jsonschema_rs.Draft7Validator(_json_schema(schema)).is_valid(value)

    assert _ours(schema, value) is theirs
